"""How much waits on the bus, of the whole installation: what PostgreSQL keeps of each queue, and what RabbitMQ holds."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# A message whose consumer could not write down its outcome comes back after this, as when PostgreSQL was away: the
# library then leaves it to its lease. One whose handler takes longer (a batch of the relay while RabbitMQ hangs, the
# end of a large atomic import) is delivered again meanwhile; a handler allows for that, by `once` or by a lease.
LEASE_SECONDS = 30.0

# One pass over the table: 40 ms where it has 100,000 rows, and no less by its indexes unless it was vacuumed just before.
_KEPT = text("""
    SELECT queue,
        count(*) FILTER (WHERE free AND due) AS waiting,
        count(*) FILTER (WHERE NOT free) AS in_hand,
        count(*) FILTER (WHERE free AND NOT due) AS scheduled,
        EXTRACT(epoch FROM moment - min(next_attempt_at) FILTER (WHERE free AND due))::float8 AS due_seconds,
        EXTRACT(epoch FROM moment - least(min(created_at), moment))::float8 AS age_seconds
    FROM (
        SELECT queue, created_at, next_attempt_at, moment, next_attempt_at <= moment AS due,
            acquired_at IS NULL OR acquired_at < moment - make_interval(secs => :lease) AS free
        FROM bus.outbox, (SELECT statement_timestamp() AS moment) AS asked
    ) AS messages
    GROUP BY queue, moment
""")
_DEAD = text("SELECT queue, count(*) AS dead FROM bus.dead_letters GROUP BY queue")


class BrokerSilent(Exception):
    """RabbitMQ does not say what it holds: it is away, too slow, or one of the queues is not there. Nothing is lost by it."""


@dataclass(frozen=True)
class Kept:
    """What PostgreSQL keeps of one queue.

    Attributes:
        waiting: Messages that are due, and in nobody's hands. One whose lease has run out waits again.
        in_hand: Messages leased by a consumer, which works on them or is about to.
        scheduled: Messages that are not due yet: the next attempt of one that failed.
        due_seconds: For how long the one that waits longest has been due; None: none waits.
        age_seconds: The age of the oldest one of all; None: there is none.
    """

    waiting: int = 0
    in_hand: int = 0
    scheduled: int = 0
    due_seconds: float | None = None
    age_seconds: float | None = None

    @property
    def messages(self) -> int:
        return self.waiting + self.in_hand + self.scheduled


@dataclass(frozen=True)
class Depth:
    """What is of one queue outside PostgreSQL.

    Attributes:
        waiting: Messages that no consumer has got yet.
        in_hand: Messages that one has got. None: the broker does not say.
        dead_letters: Messages that the broker itself has given up.
        consumers: Processes that take from it. None: there is no broker that would know.
    """

    waiting: int
    in_hand: int | None
    dead_letters: int
    consumers: int | None


IN_POSTGRESQL = Depth(waiting=0, in_hand=0, dead_letters=0, consumers=None)  # all of it


def relay_of(service: str) -> str:
    """The queue in PostgreSQL of what a service has published and RabbitMQ has not confirmed yet."""
    return f"relay.{service}"


async def kept(connection: AsyncConnection) -> dict[str, Kept]:
    """What PostgreSQL keeps, by queue, those of the relays included; a queue that has nothing is not there."""
    rows = await connection.execute(_KEPT, {"lease": LEASE_SECONDS})
    return {row.pop("queue"): Kept(**row) for row in map(dict, rows.mappings())}


async def dead_letters(connection: AsyncConnection) -> dict[str, int]:
    """How many messages PostgreSQL keeps that failed for the last time, by queue; a queue that has none is not there."""
    return {row.queue: row.dead for row in await connection.execute(_DEAD)}
