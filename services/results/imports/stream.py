"""Live progress as Server-Sent Events: any number of listeners to an import, one poll of its state in a process.

A state is sent when it has changed, and again each second in any case, so that a client sees the connection live.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from uuid import UUID

from starlette.responses import StreamingResponse

from services.results.imports.resources import ENDED, Import, Status
from shared.contracts.problems import NotFound
from shared.platform.logs import get_logger
from shared.platform.service import Stopping

POLL_SECONDS = 0.5  # how late a change may be that another process has heard of
REPEAT_SECONDS = 0.9  # clients are promised one event a second; the rest is for the way

log = get_logger(__name__)


class EventStream(StreamingResponse):
    """A response of Server-Sent Events (WHATWG HTML, section 9.2), from frames that are bytes already.

    FastAPI's own `EventSourceResponse` would encode each state again for each listener.
    """

    media_type = "text/event-stream"


# Proxies must pass each event on at once (`X-Accel-Buffering` is nginx's word for that).
STREAM_HEADERS: Mapping[str, str] = MappingProxyType({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

Key = tuple[str, UUID]  # tenant, import
_RANK: dict[Status, int] = {"pending": 0, "processing": 1, "completed": 2, "failed": 2, "cancelled": 2}

Load = Callable[[str, UUID], Awaitable[Import]]


@dataclass(frozen=True)
class State:
    """What is sent of an import. `progress` grows with it and tells one state from another."""

    progress: tuple[int, int, int]
    frame: bytes
    ended: bool


def state_of(shown: Import) -> State:
    """The event that tells where an import stands."""
    progress = (shown.run, _RANK[shown.status], shown.rows_processed)
    data = shown.model_dump_json(by_alias=True)  # one line, as an SSE field must be
    frame = f"event: import\nid: {shown.run}-{shown.status}-{shown.rows_processed}\ndata: {data}\n\n"
    return State(progress, frame.encode(), shown.status in ENDED)


class Watch:
    """One import under watch: its newest state, and who waits for the next one."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.listeners = 0
        self.closed = False
        self._changed = asyncio.Event()
        self._woken = asyncio.Event()

    def show(self, state: State) -> None:
        """Make this the state to send, unless it was read before the one that is."""
        if state.progress < self.state.progress:
            return
        changed = state.progress > self.state.progress
        self.state = state
        if changed:
            self._announce()

    def wake(self) -> None:
        """Something has happened to the import: do not wait for the next poll."""
        self._woken.set()

    def close(self) -> None:
        """Send everybody home."""
        self.closed = True
        self._announce()
        self._woken.set()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until_changed(self, seen: State) -> None:
        """Return when the state is another than `seen`, or it is time to send it again."""
        if self.state.progress == seen.progress and not self.closed:
            await _wait(self._changed, REPEAT_SECONDS)

    async def until_due(self) -> None:
        """Return when it is time to look at the import again."""
        await _wait(self._woken, POLL_SECONDS)
        self._woken.clear()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Watches:
    """The imports that somebody in this process listens to. `load` gives the present state of one."""

    def __init__(self, load: Load, stopping: Stopping) -> None:
        self._load = load
        self._stopping = stopping
        self._watches: dict[Key, Watch] = {}
        self._polls: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While entered, listeners are served; they are sent home as soon as the process is told to stop."""
        ending = asyncio.create_task(self._close_on_stop())
        try:
            yield
        finally:
            ending.cancel()
            self._close()
            for poll in self._polls:
                poll.cancel()
            await asyncio.gather(ending, *self._polls, return_exceptions=True)

    def wake(self, tenant: str, import_id: UUID) -> None:
        """The read model of an import has changed."""
        if watch := self._watches.get((tenant, import_id)):
            watch.wake()

    @property
    def watched(self) -> int:
        """How many imports are under watch."""
        return len(self._watches)

    async def follow(self, tenant: str, current: Import) -> AsyncIterator[bytes]:
        """Server-Sent Events of an import from its `current` state to its last, or until the process stops."""
        state = state_of(current)
        with self._joined((tenant, current.id), state) as watch:
            while not state.ended and not watch.closed:
                yield state.frame
                await watch.until_changed(state)
                state = watch.state
        if state.ended:
            yield state.frame

    @contextmanager
    def _joined(self, key: Key, state: State) -> Iterator[Watch]:
        watch = self._watches.get(key) or self._begin(key, state)
        watch.show(state)
        watch.listeners += 1
        try:
            yield watch
        finally:
            watch.listeners -= 1
            if not watch.listeners:
                watch.close()
                self._forget(key, watch)

    def _begin(self, key: Key, state: State) -> Watch:
        watch = self._watches[key] = Watch(state)
        if self._stopping:
            watch.close()
        poll = asyncio.create_task(self._poll(key, watch))
        self._polls.add(poll)
        poll.add_done_callback(self._polls.discard)
        return watch

    def _forget(self, key: Key, watch: Watch) -> None:
        if self._watches.get(key) is watch:
            del self._watches[key]

    async def _poll(self, key: Key, watch: Watch) -> None:
        while True:
            await watch.until_due()
            if watch.closed or watch.state.ended:
                break
            try:
                watch.show(state_of(await self._load(*key)))
            except NotFound:
                watch.close()
            except Exception as error:  # noqa: BLE001 - the listeners keep the last state until the next poll
                log.warning("stream.poll_failed", import_id=str(key[1]), error=repr(error))
        self._forget(key, watch)

    async def _close_on_stop(self) -> None:
        while not await self._stopping.wait(3600):
            pass
        self._close()

    def _close(self) -> None:
        for watch in list(self._watches.values()):
            watch.close()
