"""What the notifier does with events: messages to webhook endpoints, and investigation events."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.investigations.by_endpoint import from_endpoint
from services.notifier.investigations.grouping import from_import
from services.notifier.investigations.logbook import Publish, log_event
from services.notifier.messages.edits import tell_change, tell_deletion
from services.notifier.messages.expansion import expand
from services.notifier.messages.fanout import RETENTION, Message, fan_out
from services.notifier.messages.payloads import body_of
from services.notifier.tables import inbox
from shared.contracts.events import AnyEvent
from shared.contracts.topology import NOTIFIER_EVENTS
from shared.platform.bus import Handler, Subscription, once

Work = Callable[[AsyncConnection, AnyEvent], Awaitable[None]]


def subscription(
    engine: AsyncEngine, *, publish: Publish, wake: Callable[[], None], retention: timedelta = RETENTION
) -> Subscription:
    """The consumer of `notifier.events`.

    Args:
        wake: Called after each commit.
        retention: An endpoint that has been disabled for longer gets no deliveries.
    """
    teller = _Teller(engine, publish, wake, retention)
    handlers = {
        "import.completed": teller.end_import,
        "import.failed": teller.end_import,
        "import.cancelled": teller.end_import,
        "records.changed": teller.change,
        "records.deleted": teller.once(teller.deleted),
        "investigation.opened": teller.once(teller.opened),
        "endpoint.failing": teller.once(teller.endpoint_reported),
        "endpoint.disabled": teller.once(teller.endpoint_reported),
    }
    return Subscription(NOTIFIER_EVENTS, handlers)


@dataclass(frozen=True)
class _Teller:
    """One method for each kind of event; those that take a connection work in its transaction, with the inbox row."""

    engine: AsyncEngine
    publish: Publish
    wake: Callable[[], None]
    retention: timedelta

    def once(self, work: Work) -> Handler:
        handle_once = once(self.engine, inbox, NOTIFIER_EVENTS, work)

        async def handle(event: AnyEvent) -> None:
            await handle_once(event)
            self.wake()

        return handle

    async def end_import(self, event: AnyEvent) -> None:
        await self._expand(event)
        await self.once(self._ended)(event)

    async def change(self, event: AnyEvent) -> None:
        await (self._expand if event.data.edit_id is None else self.once(self._edited))(event)

    async def deleted(self, connection: AsyncConnection, event: AnyEvent) -> None:
        await tell_deletion(connection, event, retention=self.retention)

    async def opened(self, connection: AsyncConnection, event: AnyEvent) -> None:
        await self._tell(connection, event, event.data.investigation_id)

    async def endpoint_reported(self, connection: AsyncConnection, event: AnyEvent) -> None:
        endpoint_id = event.data.endpoint_id
        await self._tell(connection, event, endpoint_id, other_than=endpoint_id)
        await log_event(connection, event.tenant, from_endpoint(event), self.publish)

    async def _expand(self, event: AnyEvent) -> None:
        await expand(self.engine, event, retention=self.retention, wake=self.wake)

    async def _ended(self, connection: AsyncConnection, event: AnyEvent) -> None:
        await self._tell(connection, event, event.data.import_id, dataset=event.data.dataset)
        if reported := from_import(event):
            await log_event(connection, event.tenant, reported, self.publish)

    async def _edited(self, connection: AsyncConnection, event: AnyEvent) -> None:
        await tell_change(connection, event, retention=self.retention)

    async def _tell(
        self,
        connection: AsyncConnection,
        event: AnyEvent,
        ordered_by: UUID,
        *,
        dataset: str | None = None,
        other_than: UUID | None = None,
    ) -> None:
        """A delivery of the event as it is for each endpoint of its tenant that asked for its type."""
        await fan_out(
            connection,
            tenant=event.tenant,
            event_id=event.id,
            messages=[Message(event.type, body_of(event))],
            dataset=dataset,
            ordered_by=ordered_by,
            other_than=other_than,
            retention=self.retention,
        )
