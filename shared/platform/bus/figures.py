"""The bus in figures: what waits in a service's queues, for how long, and what the service has not got rid of itself."""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.contracts.topology import QUEUES
from shared.platform.bus.backlog import Depth, Kept, dead_letters, kept, relay_of
from shared.platform.presence import count_processes
from shared.platform.telemetry.figures import (
    OUTBOX_LAG_SECONDS,
    PROCESSES,
    QUEUE_MESSAGES,
    QUEUE_OLDEST_SECONDS,
    Sample,
)


async def read_backlog(
    connection: AsyncConnection, service: str, depths: Mapping[str, Depth] | None
) -> Sequence[Sample]:
    """The figures of the queues that `service` consumes, and of its outbox.

    Args:
        connection: Of the service.
        depths: What is outside PostgreSQL, by queue. None: it is not known, nor how many messages there are in all.
    """
    of_queues, dead = await kept(connection), await dead_letters(connection)
    processes = await count_processes(connection, [service])
    samples = [PROCESSES.of(processes[service], service)]
    for queue in QUEUES:
        if queue.service == service:
            in_postgresql = of_queues.get(queue.name, Kept())
            samples.append(QUEUE_OLDEST_SECONDS.of(in_postgresql.due_seconds or 0.0, queue.name))
            if depths is not None:
                samples += _of_queue(queue.name, in_postgresql, depths[queue.name], dead.get(queue.name, 0))
    lag = of_queues.get(relay_of(service), Kept()).age_seconds
    return [*samples, OUTBOX_LAG_SECONDS.of(lag or 0.0, service)]


def _of_queue(name: str, in_postgresql: Kept, outside: Depth, dead: int) -> Iterator[Sample]:
    states = {
        "waiting": in_postgresql.waiting + outside.waiting,
        "in_hand": in_postgresql.in_hand + (outside.in_hand or 0),
        "scheduled": in_postgresql.scheduled,
        "dead": dead + outside.dead_letters,
    }
    for state, messages in states.items():
        yield QUEUE_MESSAGES.of(messages, name, state)
