"""Dead letters in one place, `bus.dead_letters`: to be looked at, sent again, or thrown away.

What RabbitMQ itself has given up (bytes that are no event, a message that ended its consumers) is brought here from its
dead-letter queues first: put down, committed, and acknowledged then. A crash in between leaves it in both places; lost it never is.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity
from sqlalchemy import Row, delete, func, insert, select, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.contracts.events import AnyEvent, EventInvalid, envelope_from
from shared.contracts.topology import CANARY_TYPE, QUEUES, Queue
from shared.platform.bus.backlog import BrokerSilent
from shared.platform.bus.tables import TABLES

AT_ONCE = 200  # messages in a transaction
BROKER_SECONDS = 20.0  # for each step with RabbitMQ

letters = TABLES.dead_letters

AnyRow = Row[*tuple[Any, ...]]

_COLUMNS = (
    *(letters.c.id, letters.c.queue, letters.c.payload, letters.c.deliveries_count, letters.c.created_at),
    *(letters.c.failed_at, letters.c.failure_reason, letters.c.last_exception),
)
_SEND = text("""
    WITH taken AS (DELETE FROM bus.dead_letters WHERE id = ANY(:ids) RETURNING id, queue, payload)
    INSERT INTO bus.outbox (queue, payload) SELECT queue, payload FROM taken ORDER BY id
""")


@dataclass(frozen=True)
class DeadLetter:
    """A message that nobody will handle unless it is sent again.

    Attributes:
        id: In `bus.dead_letters`.
        queue: Whose consumer has failed.
        body: As it came. It may be no event at all, which is why it is here.
        event: Its envelope; None: it has none that can be read.
        deliveries: How often it was handed out.
        created_at: When it was published; where that is not known, when it came here.
        failed_at: When it was given up.
        reason: Who gave it up: `retry_terminal` after the last attempt, on RabbitMQ `rejected` or `delivery_limit`.
        error: The last one; None: it is not known here, but in the consumer's log.
    """

    id: int
    queue: str
    body: bytes
    event: AnyEvent | None
    deliveries: int
    created_at: datetime
    failed_at: datetime
    reason: str
    error: str | None


@dataclass(frozen=True)
class Sent:
    """How many dead letters were sent again, and how many dropped: canaries, which nobody waits for any more."""

    letters: int = 0
    canaries: int = 0


async def list_letters(connection: AsyncConnection, queue: str, limit: int) -> Sequence[DeadLetter]:
    """The dead letters of a queue, those that failed last first."""
    found = (
        select(*_COLUMNS)
        .where(letters.c.queue == queue)
        .order_by(letters.c.failed_at.desc(), letters.c.id.desc())
        .limit(limit)
    )
    return [_letter_of(row) for row in await connection.execute(found)]


async def find_letter(connection: AsyncConnection, letter_id: int) -> DeadLetter | None:
    row = (await connection.execute(select(*_COLUMNS).where(letters.c.id == letter_id))).one_or_none()
    return None if row is None else _letter_of(row)


async def missing(connection: AsyncConnection, ids: Sequence[int], *, queue: str | None = None) -> list[int]:
    """Those of `ids` that are no dead letters, or not of `queue`."""
    found = select(letters.c.id).where(letters.c.id.in_(ids))
    if queue is not None:
        found = found.where(letters.c.queue == queue)
    there = set(await connection.scalars(found))
    return [each for each in ids if each not in there]


async def redrive(engine: AsyncEngine, queue: str, ids: Sequence[int] | None = None) -> Sent:
    """Send dead letters to their queue again, as if they had never been tried: those of `ids`, or all there are now (None).

    By way of the outbox, from which a queue is consumed on both transports. Each goes in the transaction that takes it
    from here; consumers are idempotent, so one that has been handled after all does no harm.
    """
    sent, after = Sent(), 0
    last = await _newest(engine, queue)
    while True:
        async with engine.begin() as connection:
            chosen = (
                select(letters.c.id, letters.c.payload)
                .where(letters.c.queue == queue, letters.c.id > after, letters.c.id <= last)
                .order_by(letters.c.id)
                .limit(AT_ONCE)
                .with_for_update(skip_locked=True)
            )
            if ids is not None:
                chosen = chosen.where(letters.c.id.in_(ids))
            rows = (await connection.execute(chosen)).all()
            if not rows:
                return sent
            canaries = [row.id for row in rows if is_canary(row.payload)]
            await connection.execute(delete(letters).where(letters.c.id.in_(canaries)))
            wanted = [row.id for row in rows if row.id not in set(canaries)]
            await connection.execute(_SEND, {"ids": wanted})
        after = rows[-1].id
        sent = Sent(sent.letters + len(wanted), sent.canaries + len(canaries))


async def discard(connection: AsyncConnection, ids: Sequence[int]) -> int:
    """Remove dead letters for good; how many there were."""
    return (await connection.execute(delete(letters).where(letters.c.id.in_(ids)))).rowcount


async def send_to(connection: AsyncConnection, queue: Queue, event: AnyEvent) -> None:
    """Put an event into one queue, on either transport, with the caller's transaction."""
    await connection.execute(insert(TABLES.outbox).values(queue=queue.name, payload=event.to_bytes()))


async def collect(bus_url: str, engine: AsyncEngine) -> int:
    """Bring here what RabbitMQ keeps in its dead-letter queues; canaries are dropped. How many were put down.

    Raises:
        BrokerSilent: RabbitMQ is away, or refuses. What was brought so far is here.
        SQLAlchemyError: PostgreSQL is away, or refuses. What is not here is in RabbitMQ.
    """
    brought = 0
    try:
        async with asyncio.timeout(BROKER_SECONDS):
            connection = await aio_pika.connect(bus_url)
        async with connection:
            for queue in QUEUES:
                brought += await _collect(connection, queue, engine)
    except (OSError, TimeoutError, AMQPError, ChannelInvalidStateError) as error:
        raise BrokerSilent(
            f"RabbitMQ cannot be asked for its dead letters ({type(error).__name__})"
        ) from error
    return brought


async def _collect(connection: AbstractConnection, queue: Queue, engine: AsyncEngine) -> int:
    channel = await connection.channel()
    brought = 0
    try:
        graveyard = await channel.get_queue(queue.dead_letter_queue, ensure=True)
    except ChannelNotFoundEntity:  # no service has ever started on this broker
        return 0
    while taken := await _taken(graveyard):
        rows = [_row(queue, message) for message in taken if not is_canary(message.body)]
        if rows:
            await _put_down(engine, rows)
        await taken[-1].ack(multiple=True)
        brought += len(rows)
    await _closed(channel)
    return brought


async def _put_down(engine: AsyncEngine, rows: Sequence[dict[str, Any]]) -> None:
    try:
        async with engine.begin() as transaction:
            await transaction.execute(insert(letters), rows)
    except OSError as error:  # the driver's when PostgreSQL is away, and not to be taken for RabbitMQ's
        raise DisconnectionError(str(error)) from error


async def _taken(graveyard: aio_pika.abc.AbstractQueue) -> list[AbstractIncomingMessage]:
    taken: list[AbstractIncomingMessage] = []
    while len(taken) < AT_ONCE:
        message = await graveyard.get(fail=False, timeout=BROKER_SECONDS)
        if message is None:
            break
        taken.append(message)
    return taken


async def _closed(channel: AbstractChannel) -> None:
    async with asyncio.timeout(BROKER_SECONDS):
        await channel.close()  # behind it the broker has heard of every acknowledgement


def _row(queue: Queue, message: AbstractIncomingMessage) -> dict[str, Any]:
    deaths: Any = message.headers.get("x-death") or [{}]
    event = _envelope(message.body)
    now = datetime.now(UTC)
    return {
        "original_id": 0,
        "queue": queue.name,
        "payload": message.body,
        "deliveries_count": int(str(deaths[0].get("count", 1))),
        "created_at": event.time if event else now,
        "failed_at": deaths[0].get("time") or now,
        "failure_reason": str(deaths[0].get("reason", "unknown"))[:64],
    }


async def _newest(engine: AsyncEngine, queue: str) -> int:
    """So that one that fails once more meanwhile is not sent round and round."""
    async with engine.connect() as connection:
        newest = select(func.coalesce(func.max(letters.c.id), 0)).where(letters.c.queue == queue)
        return int(await connection.scalar(newest) or 0)


def is_canary(body: bytes) -> bool:
    event = _envelope(body)
    return event is not None and event.type == CANARY_TYPE


def _envelope(body: bytes) -> AnyEvent | None:
    try:
        return envelope_from(body)
    except EventInvalid:
        return None


def _letter_of(row: AnyRow) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        queue=row.queue,
        body=row.payload,
        event=_envelope(row.payload),
        deliveries=row.deliveries_count,
        created_at=row.created_at,
        failed_at=row.failed_at,
        reason=row.failure_reason,
        error=row.last_exception,
    )
