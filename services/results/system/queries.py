"""The verb of the system page: say how the installation is."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import cast

from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.system import repository
from services.results.system.resources import Name, Outbox, QueueDepth, ServiceProcesses, System
from shared.contracts.topology import QUEUES, SERVICES, Queue
from shared.platform.bus import BrokerSilent, Bus, Depth, Kept, dead_letters, kept, relay_of
from shared.platform.presence import count_processes


async def get_system(engine: AsyncEngine, bus: Bus) -> System:
    """How the installation is now. A RabbitMQ that does not answer costs some numbers, and no error."""
    depths, detail = await _depths(bus)  # first: it may take seconds, for which no connection is held
    # As the service, not as a tenant's role: there is nothing of a tenant in the answer.
    async with engine.connect() as connection:
        processes = await count_processes(connection, SERVICES)
        of_queues, dead = await kept(connection), await dead_letters(connection)
        database_version = await repository.database_version(connection)
    return System(
        version=version("penstock"),
        database_version=database_version,
        transport=bus.transport,
        services=[ServiceProcesses(name=cast("Name", name), processes=n) for name, n in processes.items()],
        queues=[
            queue_depth(
                queue, of_queues.get(queue.name, Kept()), dead.get(queue.name, 0), depths.get(queue.name)
            )
            for queue in QUEUES
        ],
        outbox=outbox_of(of_queues),
        detail=detail,
    )


async def _depths(bus: Bus) -> tuple[Mapping[str, Depth], str | None]:
    try:
        return await bus.depths(), None
    except BrokerSilent as error:
        return {}, str(error)


def queue_depth(queue: Queue, of_queue: Kept, dead: int, depth: Depth | None) -> QueueDepth:
    """What PostgreSQL keeps of a queue (`dead`: of its dead letters), and what the broker holds, None if that is not known."""
    return QueueDepth(
        name=queue.name,
        service=cast("Name", queue.service),
        waiting=None if depth is None else of_queue.waiting + depth.waiting,
        in_hand=None if depth is None or depth.in_hand is None else of_queue.in_hand + depth.in_hand,
        scheduled=of_queue.scheduled,
        # The one that waits longest may be one of those on the broker, which tells no ages.
        oldest_seconds=None if depth is None or depth.waiting else of_queue.due_seconds,
        dead_letters=None if depth is None else dead + depth.dead_letters,
        consumers=None if depth is None else depth.consumers,
    )


def outbox_of(of_queues: Mapping[str, Kept]) -> Outbox:
    """What waits for the relays of all services, as one."""
    relays = [of_queues.get(relay_of(service), Kept()) for service in SERVICES]
    ages = [relay.age_seconds for relay in relays if relay.age_seconds is not None]
    return Outbox(waiting=sum(relay.messages for relay in relays), oldest_seconds=max(ages) if ages else None)
