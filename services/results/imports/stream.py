"""Live progress as Server-Sent Events, of one import and of all of a tenant's.

A listener never has a queue: it is told the newest states when it can take them, and what it did not read in time is
skipped for what came after. A state is encoded once, whoever listens.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import StreamingResponse

from services.results.imports import queries, repository
from services.results.imports.feed import CHANGES_AT_ONCE, LONGEST_OVERLAP, Feed, Opening
from services.results.imports.states import State, state_of, written
from shared.contracts.problems import TooManyRequests
from shared.platform.service import Stopping
from shared.platform.tenancy import tenant_reading

REPEAT_SECONDS = 0.8  # clients are promised one event a second; the rest is for the way
QUIET_SECONDS = 10.0  # a proxy takes a connection for dead that was silent for longer, some after 15 s
MAX_LISTENERS = 2000  # of a tenant, in this process: each takes a connection and some memory
RETRY_FULL_SECONDS = 30
COMMENT = b":\n\n"


class EventStream(StreamingResponse):
    """A response of Server-Sent Events (WHATWG HTML, section 9.2), from frames that are bytes already.

    FastAPI's own `EventSourceResponse` would encode each state again for each listener.
    """

    media_type = "text/event-stream"


# Proxies must pass each event on at once (`X-Accel-Buffering` is nginx's word for that).
STREAM_HEADERS: Mapping[str, str] = MappingProxyType({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})


@dataclass(frozen=True)
class Wanted:
    """Which of a tenant's imports somebody listens to; None: any."""

    dataset: str | None = None
    source: str | None = None

    def fits(self, state: State) -> bool:
        return self.dataset in {None, state.row.dataset} and self.source in {None, state.row.source}


class Watches:
    """The tenants that somebody in this process listens to."""

    def __init__(self, engine: AsyncEngine, stopping: Stopping) -> None:
        self._engine = engine
        self._stopping = stopping
        self._feeds: dict[str, Feed] = {}
        self._polls: set[asyncio.Task[None]] = set()
        self._reading: dict[tuple[str, UUID], asyncio.Task[State]] = {}

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

    def wake(self, tenant: str, _: UUID) -> None:
        """The read model of an import has changed."""
        if feed := self._feeds.get(tenant):
            feed.wake()

    @property
    def watched(self) -> int:
        """How many tenants somebody listens to."""
        return len(self._feeds)

    def admit(self, tenant: str) -> None:
        """Let one more listen.

        Raises:
            TooManyRequests: `too_many_streams`.
        """
        feed = self._feeds.get(tenant)
        if feed and feed.listeners >= MAX_LISTENERS:
            raise TooManyRequests(
                "too_many_streams",
                f"{feed.listeners} streams of this tenant are open, which is all that may be",
                hint="follow all imports with one stream, GET /api/v1/imports/events; close those that nobody reads",
                retry_after=RETRY_FULL_SECONDS,
            )

    async def present(self, tenant: str, import_id: UUID) -> State:
        """How an import stands; read once for all who ask meanwhile, and not at all where somebody listens to it.

        Raises:
            NotFound: `import_not_found`.
        """
        feed = self._feeds.get(tenant)
        if feed and (state := feed.present(import_id)):
            return state
        key = tenant, import_id
        if key not in self._reading:
            self._reading[key] = asyncio.create_task(self._read(*key))
            self._reading[key].add_done_callback(lambda _: self._reading.pop(key))
        return await asyncio.shield(self._reading[key])

    async def _read(self, tenant: str, import_id: UUID) -> State:
        async with tenant_reading(self._engine, tenant) as connection:
            return state_of(await queries.import_row(connection, tenant, import_id), datetime.now(UTC))

    async def follow(self, tenant: str, current: State) -> AsyncGenerator[bytes]:
        """The events of an import from its `current` state to its last, or until the process stops."""
        with self._joined(tenant) as feed, feed.watching(current) as watch:
            state = watch.state
            yield _retry() + state.frame(state.event_id)
            while not state.has_ended:
                if watch.state.progress == state.progress and not feed.closed:
                    await _wait(watch.changed, REPEAT_SECONDS)
                if feed.closed:
                    return
                state = watch.state
                yield state.frame(state.event_id)

    async def follow_all(self, tenant: str, wanted: Wanted, since: datetime | None) -> AsyncGenerator[bytes]:
        """The events of all imports of a tenant that are `wanted`, until the process stops.

        First those that have not ended; then, for who was told all up to `since`, what has changed since; then each change.
        Who does not read for so long that changes are forgotten is sent home, and comes again with what it was told last.
        """
        with self._joined(tenant) as feed:
            opening = await feed.opening(wanted.dataset, wanted.source)
            since = since and min(since, opening.moment)
            resume = written(since or opening.moment)
            yield _retry() + f"id: {resume}\n\n".encode()
            if first := _frames(opening.states, wanted, resume):
                yield first
            if since is not None:
                async for page in self._changed_since(tenant, since, opening):
                    yield _frames(page, wanted) or COMMENT
            async for fresh in _changes(feed, opening.number):
                yield _frames(fresh, wanted) or COMMENT

    async def _changed_since(
        self, tenant: str, since: datetime, opening: Opening
    ) -> AsyncIterator[Sequence[State]]:
        """What changed between `since` and the opening, which has told some of it."""
        told = {state.row.import_id for state in opening.states}
        after = since - LONGEST_OVERLAP, repository.FIRST_ID
        while True:
            async with tenant_reading(self._engine, tenant) as connection:
                rows = await repository.list_changed(
                    connection, tenant, after=after, up_to=opening.moment, limit=CHANGES_AT_ONCE
                )
            now = datetime.now(UTC)
            yield [state_of(row, now) for row in rows if row.import_id not in told]
            if len(rows) < CHANGES_AT_ONCE:
                return
            after = rows[-1].changed_at, rows[-1].import_id

    @contextmanager
    def _joined(self, tenant: str) -> Iterator[Feed]:
        feed = self._feeds.get(tenant) or self._begin(tenant)
        feed.listeners += 1
        try:
            yield feed
        finally:
            feed.listeners -= 1
            if not feed.listeners:
                feed.close()
                if self._feeds.get(tenant) is feed:
                    del self._feeds[tenant]

    def _begin(self, tenant: str) -> Feed:
        feed = self._feeds[tenant] = Feed(self._engine, tenant)
        if self._stopping:
            feed.close()
        poll = asyncio.create_task(feed.poll())
        self._polls.add(poll)
        poll.add_done_callback(self._polls.discard)
        return feed

    async def _close_on_stop(self) -> None:
        while not await self._stopping.wait(3600):
            pass
        self._close()

    def _close(self) -> None:
        for feed in list(self._feeds.values()):
            feed.close()


async def _changes(feed: Feed, number: int) -> AsyncIterator[Sequence[State]]:
    """What changes after `number`, and nothing where it is time for a sign of life."""
    while not feed.closed:
        if feed.number == number:
            await _wait(feed.changed, REPEAT_SECONDS if feed.is_running else QUIET_SECONDS)
        fresh = feed.after(number)
        if fresh is None or feed.closed:
            return
        number = feed.number
        yield fresh


def _frames(states: Iterable[State], wanted: Wanted, event_id: str | None = None) -> bytes:
    return b"".join(state.frame(event_id or state.moment) for state in states if wanted.fits(state))


def _retry() -> bytes:
    # ms until a client comes again; not all at once, who were sent home at once.
    return b"retry: %d\n" % random.randint(1000, 3000)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
