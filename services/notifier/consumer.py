"""What the notifier does with events: deliveries to webhook endpoints, and investigation events of imports."""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier import repository
from services.notifier.investigations import from_import
from services.notifier.logbook import Publish, log_event
from services.notifier.tables import inbox
from services.notifier.webhooks import body_of, patterns_for
from shared.contracts.events import AnyEvent
from shared.contracts.topology import NOTIFIER_EVENTS
from shared.platform.bus import Handler, Subscription, once

Work = Callable[[AsyncConnection, AnyEvent], Awaitable[None]]


def subscription(engine: AsyncEngine, *, publish: Publish, wake: Callable[[], None]) -> Subscription:
    """The consumer of `notifier.events`; `wake` is called after each commit."""

    async def imported(connection: AsyncConnection, event: AnyEvent) -> None:
        await deliver(connection, event)
        if reported := from_import(event):
            await log_event(connection, event.tenant, reported, publish)

    def handler(work: Work) -> Handler:
        handle_once = once(engine, inbox, NOTIFIER_EVENTS, work)

        async def handle(event: AnyEvent) -> None:
            await handle_once(event)
            wake()

        return handle

    handlers = {
        "import.completed": handler(imported),
        "import.failed": handler(imported),
        "import.cancelled": handler(deliver),  # asked for by somebody, so nothing to investigate
        "records.changed": handler(deliver),
        "records.deleted": handler(deliver),
        "investigation.opened": handler(deliver),
    }
    return Subscription(NOTIFIER_EVENTS, handlers)


async def deliver(connection: AsyncConnection, event: AnyEvent) -> None:
    """A delivery for each endpoint of the event's tenant that asked for its type."""
    await repository.add_deliveries(
        connection,
        tenant=event.tenant,
        event_id=event.id,
        event_type=event.type,
        patterns=patterns_for(event.type),
        body=body_of(event),
    )
