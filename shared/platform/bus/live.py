"""Live events: to every process that listens, at once, and never kept."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.events import AnyEvent, EventInvalid, EventUnknown, event_from
from shared.platform.database import connect_raw
from shared.platform.logs import get_logger

CHANNEL = "penstock_live"
RECONNECT_SECONDS = 1.0
PROBE_SECONDS = 15.0  # a silently dropped connection is noticed after this

log = get_logger(__name__)


class Live(Protocol):
    """A way to send live events. Sending never raises: what cannot go out now is lost, as agreed."""

    async def send(self, event: AnyEvent) -> None: ...


class PostgresLive:
    """Live events by LISTEN and NOTIFY (payload below 8,000 bytes: ids and counts)."""

    def __init__(
        self,
        database_url: str,
        engine: AsyncEngine,
        listeners: Sequence[Callable[[AnyEvent], Awaitable[None]]],
    ) -> None:
        self._url = database_url
        self._engine = engine
        self._listeners = listeners
        self._task: asyncio.Task[None] | None = None
        self._arrived: asyncio.Queue[str] = asyncio.Queue(maxsize=1000)

    async def start(self) -> None:
        if self._listeners:
            self._task = asyncio.create_task(self._receive())

    @property
    def alive(self) -> bool:
        """Whether what is sent reaches the listeners, if there are any."""
        return self._task is None or not self._task.done()

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def send(self, event: AnyEvent) -> None:
        try:
            async with self._engine.begin() as connection:
                body = event.to_bytes().decode()
                await connection.execute(
                    text("SELECT pg_notify(:channel, :body)"), {"channel": CHANNEL, "body": body}
                )
        except Exception as error:  # noqa: BLE001 - live events may be lost
            log.warning("live.not_sent", error=repr(error))

    async def _receive(self) -> None:
        while True:
            try:
                connection = await connect_raw(self._url)
                try:
                    await connection.add_listener(CHANNEL, self._on_notify)
                    await self._dispatch(connection)
                finally:
                    connection.terminate()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.warning("live.disconnected", error=repr(error))
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _dispatch(self, connection: "asyncpg.Connection[Any]") -> None:
        while True:
            try:
                # Not wait_for: before Python 3.12 it swallows a cancellation that comes with an item.
                async with asyncio.timeout(PROBE_SECONDS):
                    body = await self._arrived.get()
            except TimeoutError:
                await connection.fetchval("SELECT 1", timeout=5)
                continue
            try:
                event = event_from(body.encode())
            except (EventInvalid, EventUnknown) as error:
                log.warning("live.invalid", error=repr(error))
                continue
            for callback in self._listeners:
                try:
                    await callback(event)
                except Exception:
                    log.exception("live.listener_failed", event_type=event.type)

    def _on_notify(self, *notification: Any) -> None:
        with suppress(asyncio.QueueFull):
            self._arrived.put_nowait(notification[-1])
