"""What a consumer is made of: a queue, a handler for each type, and what to do when all attempts failed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Column, DateTime, MetaData, Table, Text, Uuid, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.contracts.events import AnyEvent
from shared.contracts.topology import Queue

Handler = Callable[[Any], Awaitable[None]]
Exhausted = Callable[[AnyEvent, BaseException], Awaitable[None]]


class Publish(Protocol):
    """Puts events into the caller's transaction, as `Bus.publish` does."""

    async def __call__(self, connection: AsyncConnection, /, *events: AnyEvent) -> None: ...


class Later(Exception):
    """Not now: somebody else has the work in hand. The message comes again after `seconds`, however often."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"try again in {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Subscription:
    """A service's consumer of one queue.

    Attributes:
        handlers: One for each type bound to the queue. Returning acknowledges; raising tries again later.
        on_exhausted: Called with the last error before a message is dead-lettered.
    """

    queue: Queue
    handlers: Mapping[str, Handler]
    on_exhausted: Exhausted | None = None

    def __post_init__(self) -> None:
        if missing := self.queue.types ^ set(self.handlers):
            raise ValueError(f"queue {self.queue.name}: bound types and handlers differ in {sorted(missing)}")


def inbox_table(metadata: MetaData) -> Table:
    """The table where a service remembers which events it has handled."""
    return Table(
        "inbox",
        metadata,
        Column("queue", Text, primary_key=True),
        Column("event_id", Uuid, primary_key=True),
        Column("handled_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )


def once(
    engine: AsyncEngine, inbox: Table, queue: Queue, handle: Callable[[AsyncConnection, Any], Awaitable[None]]
) -> Handler:
    """A handler that does its work in one transaction with its inbox row, so that an event counts once."""

    async def handler(event: AnyEvent) -> None:
        async with engine.begin() as connection:
            row = insert(inbox).values(queue=queue.name, event_id=event.id).on_conflict_do_nothing()
            if (await connection.execute(row)).rowcount:
                await handle(connection, event)

    return handler
