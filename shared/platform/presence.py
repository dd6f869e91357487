"""Who is alive: each process holds a lock in PostgreSQL that ends with it, however it ends.

Two uses: work that a dead process had leased is taken over at once, not when the lease runs out; and the only
process of a service, started again after a crash, releases the messages that its former self had leased.
"""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.platform.database import advisory_key, connect_raw
from shared.platform.logs import get_logger

CHECK_SECONDS = 5.0
RECONNECT_SECONDS = 1.0

FREE_LEASES = """
    UPDATE bus.outbox SET acquired_token = NULL, acquired_at = NULL
    WHERE queue = ANY($1) AND acquired_token IS NOT NULL
"""

# A key of 64 bits is shown in two halves (PostgreSQL's manual, pg_locks). The first process of a service has its key for
# itself for a moment; shared, each has it once.
HOLDERS = """
    SELECT classid::bigint << 32 | objid::bigint AS key, count(*) AS holders FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ShareLock' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY key
"""

log = get_logger(__name__)


class Presence:
    """This process's part in `service`. `instance` is its lock key, unique by chance (63 bits)."""

    def __init__(self, database_url: str, service: str) -> None:
        self._url = database_url
        self._service_key = _key_of(service)
        self.instance = secrets.randbits(63)
        self._connection: asyncpg.Connection[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._queues: list[str] = []

    @property
    def connected(self) -> bool:
        """Whether others can see that this process lives."""
        return self._connection is not None

    async def start(self, queues: list[str]) -> None:
        """Take the locks; if no other process of the service lives, free the messages leased from `queues`."""
        self._queues = queues
        self._connection = await self._appear()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._connection:
            self._connection.terminate()

    async def _appear(self) -> "asyncpg.Connection[Any]":
        connection = await connect_raw(self._url)
        try:
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._service_key):
                await connection.execute(FREE_LEASES, self._queues)
                await self._lock(connection)
                await connection.execute("SELECT pg_advisory_unlock($1)", self._service_key)
            else:
                await self._lock(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _lock(self, connection: "asyncpg.Connection[Any]") -> None:
        await connection.execute(
            "SELECT pg_advisory_lock_shared($1)", self._service_key, timeout=CHECK_SECONDS
        )
        # After a broken connection the server may hold the lock for the old session a while.
        await connection.execute("SELECT pg_advisory_lock($1)", self.instance, timeout=CHECK_SECONDS)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS if self._connection else RECONNECT_SECONDS)
            try:
                if self._connection is None:
                    # If the whole server was away, what this process had leased could not be given back either.
                    self._connection = await self._appear()
                await self._connection.fetchval("SELECT 1", timeout=CHECK_SECONDS)
            except Exception as error:  # noqa: BLE001 - without presence others would take this one's work over
                log.warning("presence.lost", error=repr(error))
                if self._connection is not None:
                    self._connection.terminate()
                self._connection = None


def _key_of(service: str) -> int:
    return advisory_key(f"penstock:service:{service}")


async def count_processes(connection: AsyncConnection, services: Sequence[str]) -> dict[str, int]:
    """How many processes of each of `services` live, as far as others can see: connected to this database."""
    holders = {row.key: row.holders for row in await connection.execute(text(HOLDERS))}
    return {service: holders.get(_key_of(service), 0) for service in services}


async def is_alive(connection: AsyncConnection, instance: int) -> bool:
    """Whether the process that took `instance` as its lock key is still connected."""
    free = await connection.scalar(text("SELECT pg_try_advisory_xact_lock_shared(:key)"), {"key": instance})
    return not free
