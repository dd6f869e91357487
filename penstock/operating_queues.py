"""`penstock queues`: how much waits on the bus, and the dead letters of its queues."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from shared.contracts.topology import QUEUES, SERVICES
from shared.platform.bus import Depth, Kept, kept, relay_of
from shared.platform.bus import dead_letters as count_dead
from shared.platform.bus import letters as dead
from shared.platform.bus.backlog import IN_POSTGRESQL, BrokerSilent
from shared.platform.bus.letters import DeadLetter, Sent
from shared.platform.bus.rabbit import depths_at
from shared.platform.database import async_url
from shared.platform.presence import count_processes

SHOWN_ERROR = 80  # characters of an error in a line
NOTHING = "-"

T = TypeVar("T")


class NoSuchQueue(LookupError):
    """No queue has that name; the message says which there are."""


class NoSuchLetter(LookupError):
    """No dead letter has that number, or it is another queue's. Nothing was changed."""


@dataclass(frozen=True)
class Backlog:
    """One queue. Counts are messages; None: nobody says.

    Attributes:
        dead: Without those that RabbitMQ keeps, where it does not say how many.
        oldest_seconds: For how long the one that waits longest has been due. RabbitMQ tells no ages.
        consumers: Processes that take from it; of a relay, those that publish from it.
    """

    queue: str
    waiting: int | None
    in_hand: int | None
    scheduled: int
    oldest_seconds: float | None
    dead: int
    consumers: int | None

    def cells(self) -> tuple[str, ...]:
        numbers = (_number(self.waiting), _number(self.in_hand), str(self.scheduled))
        return (self.queue, *numbers, age(self.oldest_seconds), str(self.dead), _number(self.consumers))


@dataclass(frozen=True)
class Letter:
    """A dead letter as a command shows it."""

    letter: DeadLetter

    def cells(self) -> tuple[str, ...]:
        each, event = self.letter, self.letter.event
        about = (event.type, event.tenant, event.subject) if event else ("no event", NOTHING, NOTHING)
        error = (each.error or NOTHING).partition("\n")[0]
        short = error if len(error) <= SHOWN_ERROR else f"{error[: SHOWN_ERROR - 1]}…"
        return (str(each.id), moment(each.failed_at), *about, str(each.deliveries), each.reason, short)

    def document(self, *, whole: bool = False) -> dict[str, Any]:
        """What JSON says of it; `whole`: with the event itself."""
        each, event = self.letter, self.letter.event
        said: dict[str, Any] = {
            "id": each.id,
            "queue": each.queue,
            "event_id": str(event.id) if event else None,
            "type": event.type if event else None,
            "tenant": event.tenant if event else None,
            "subject": event.subject if event else None,
            "created_at": each.created_at.isoformat(),
            "failed_at": each.failed_at.isoformat(),
            "deliveries": each.deliveries,
            "reason": each.reason,
            "error": each.error,
        }
        if not whole:
            return said
        return (
            said | {"event": json.loads(each.body)}
            if event
            else said | {"body": each.body.decode("utf-8", "replace")}
        )


@dataclass(frozen=True)
class Found(Generic[T]):
    """What a command shows.

    Attributes:
        silence: Why what RabbitMQ has is missing from it; None: nothing is missing.
    """

    shown: list[T]
    silence: BrokerSilent | None = None


def backlog(database_url: str, bus_url: str | None) -> Found[Backlog]:
    """Every queue, and every relay that has something; without RabbitMQ, what PostgreSQL knows."""

    async def read(engine: AsyncEngine) -> Found[Backlog]:
        depths, silence = await _depths(bus_url)
        async with engine.connect() as connection:
            of_queues, dead_letters = await kept(connection), await count_dead(connection)
            processes = await count_processes(connection, SERVICES)
        found = []
        for queue in QUEUES:
            here, there = of_queues.get(queue.name, Kept()), depths.get(queue.name)
            found.append(
                _backlog(queue.name, here, there, dead_letters.get(queue.name, 0), processes[queue.service])
            )
        for service in SERVICES:
            name = relay_of(service)
            if name in of_queues or name in dead_letters:
                here, lost = of_queues.get(name, Kept()), dead_letters.get(name, 0)
                found.append(_backlog(name, here, IN_POSTGRESQL, lost, processes[service]))
        return Found(found, silence)

    return _run(database_url, read)


def _backlog(name: str, here: Kept, there: Depth | None, dead_letters: int, processes: int) -> Backlog:
    if there is None:
        return Backlog(name, None, None, here.scheduled, None, dead_letters, None)
    return Backlog(
        queue=name,
        waiting=here.waiting + there.waiting,
        in_hand=None if there.in_hand is None else here.in_hand + there.in_hand,
        scheduled=here.scheduled,
        oldest_seconds=None if there.waiting else here.due_seconds,
        dead=dead_letters + there.dead_letters,
        consumers=processes if there.consumers is None else there.consumers,
    )


def dead_letters(database_url: str, bus_url: str | None, queue: str, limit: int) -> Found[Letter]:
    """Those of a queue that failed last; RabbitMQ's own are brought to PostgreSQL first, if it is there.

    Raises:
        NoSuchQueue: `queue` is none.
    """
    _check(queue)

    async def read(engine: AsyncEngine) -> Found[Letter]:
        silence = None
        try:
            await _collect(engine, bus_url)
        except BrokerSilent as error:
            silence = error
        async with engine.connect() as connection:
            found = [Letter(each) for each in await dead.list_letters(connection, queue, limit)]
        return Found(found, silence)

    return _run(database_url, read)


def dead_letter(database_url: str, letter_id: int) -> Letter:
    """The dead letter of that number.

    Raises:
        NoSuchLetter: there is none.
    """

    async def read(engine: AsyncEngine) -> Letter:
        async with engine.connect() as connection:
            found = await dead.find_letter(connection, letter_id)
        if found is None:
            raise NoSuchLetter(_unknown([letter_id]))
        return Letter(found)

    return _run(database_url, read)


def redrive(database_url: str, bus_url: str | None, queue: str, ids: Sequence[int] | None) -> Sent:
    """Send dead letters of a queue again: those of `ids`, or all (None).

    Raises:
        NoSuchQueue: `queue` is none.
        NoSuchLetter: some are not dead letters of that queue; none was sent.
        BrokerSilent: RabbitMQ is away, which keeps some of all.
    """
    _check(queue)

    async def send(engine: AsyncEngine) -> Sent:
        if ids is None:
            await _collect(engine, bus_url)
        else:
            await _all_there(engine, ids, queue)
        return await dead.redrive(engine, queue, ids)

    return _run(database_url, send)


def discard(database_url: str, ids: Sequence[int]) -> int:
    """Remove dead letters for good; how many.

    Raises:
        NoSuchLetter: some are none; none was removed.
    """

    async def remove(engine: AsyncEngine) -> int:
        await _all_there(engine, ids, None)
        async with engine.begin() as connection:
            return await dead.discard(connection, ids)

    return _run(database_url, remove)


async def _all_there(engine: AsyncEngine, ids: Sequence[int], queue: str | None) -> None:
    async with engine.connect() as connection:
        if lost := await dead.missing(connection, ids, queue=queue):
            raise NoSuchLetter(_unknown(lost, queue))


def _unknown(ids: Sequence[int], queue: str | None = None) -> str:
    of = f" of {queue}" if queue else ""
    return (
        f"there is no dead letter {', '.join(map(str, ids))}{of}, so nothing was done;"
        " `penstock queues dead QUEUE` lists those of a queue"
    )


def _check(name: str) -> None:
    names = [queue.name for queue in QUEUES] + [relay_of(service) for service in SERVICES]
    if name not in names:
        raise NoSuchQueue(f"there is no queue {name!r}; there are: {', '.join(names)}")


async def _collect(engine: AsyncEngine, bus_url: str | None) -> None:
    if bus_url is not None:
        await dead.collect(bus_url, engine)


async def _depths(bus_url: str | None) -> tuple[dict[str, Depth], BrokerSilent | None]:
    if bus_url is None:
        return {queue.name: IN_POSTGRESQL for queue in QUEUES}, None
    try:
        return await depths_at(bus_url), None
    except BrokerSilent as error:
        return {}, error


def _run(database_url: str, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    async def run() -> T:
        engine = create_async_engine(async_url(database_url), poolclass=NullPool, hide_parameters=True)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def _number(value: int | None) -> str:
    return NOTHING if value is None else str(value)


def age(seconds: float | None) -> str:
    """A duration in two units at most: `41 s`, `7 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds is None:
        return NOTHING
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h"


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
