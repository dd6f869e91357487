"""What the notifier does with events: messages to webhook endpoints, and investigation events."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ARRAY, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.gathering import Gathering
from services.notifier.investigations.grouping import Reported, from_import
from services.notifier.logbook.by_endpoint import from_endpoint
from services.notifier.logbook.logbook import Logbook
from services.notifier.messages.edits import told_change, told_deletion
from services.notifier.messages.expansion import LATER_SECONDS, expand, tenants_that_ask
from services.notifier.messages.fanout import RETENTION, Message, fan_out
from services.notifier.messages.payloads import body_of
from services.notifier.suppliers.imports import note_imports
from services.notifier.tables import inbox
from shared.contracts.events import AnyEvent
from shared.contracts.problems import Problem
from shared.contracts.topology import NOTIFIER_EVENTS
from shared.platform.bus import Later, Subscription, once

EXPANSIONS_AT_ONCE = 2  # imports whose records are made messages of: each takes up to 60 MB


# In the order of the ids, as another process may be given the same events.
_SEEN_FIRST = text("""
    INSERT INTO notifier.inbox (queue, event_id) SELECT :queue, unnest(:ids) ON CONFLICT DO NOTHING RETURNING event_id
""").bindparams(bindparam("queue", NOTIFIER_EVENTS.name), bindparam("ids", type_=ARRAY(Uuid)))


def subscription(
    engine: AsyncEngine,
    logbook: Logbook,
    *,
    zone: ZoneInfo,
    wake: Callable[[], None],
    retention: timedelta = RETENTION,
) -> Subscription:
    """The consumer of `notifier.events`.

    Args:
        logbook: Logs what events report.
        zone: Of days.
        wake: Called after each commit.
        retention: An endpoint that has been disabled for longer gets no deliveries.
    """
    teller = _Teller(engine, logbook, zone, wake, retention)
    handlers = {
        "import.uploaded": teller.note,
        "import.completed": teller.end_import,
        "import.failed": teller.end_import,
        "import.cancelled": teller.end_import,
        "records.changed": teller.change,
        "records.deleted": teller.tell,
        "investigation.opened": teller.tell,
        "investigation.reopened": teller.tell,
        "investigation.resolved": teller.tell,
        "endpoint.failing": teller.report,
        "endpoint.disabled": teller.report,
    }
    return Subscription(NOTIFIER_EVENTS, handlers)


class _Teller:
    """Its public methods each handle an event."""

    def __init__(
        self,
        engine: AsyncEngine,
        logbook: Logbook,
        zone: ZoneInfo,
        wake: Callable[[], None],
        retention: timedelta,
    ) -> None:
        self._engine = engine
        self._logbook = logbook
        self._zone = zone
        self._wake = wake
        self._retention = retention
        self._tell = Gathering(self._tell_together)
        self._note = Gathering(self._note_together)
        self._asks = Gathering(self._who_asks)
        self._expansions = asyncio.Semaphore(EXPANSIONS_AT_ONCE)

    async def note(self, event: AnyEvent) -> None:
        """It is noted of its supplier, together with others, and told to nobody."""
        await self._note(event)

    async def tell(self, event: AnyEvent) -> None:
        """It is told, together with others."""
        await self._tell(event)
        self._wake()

    async def report(self, event: AnyEvent) -> None:
        """It is told, and an investigation event as well: by itself, as an investigation is locked for each."""

        async def work(connection: AsyncConnection, event: AnyEvent) -> None:
            await self._told(connection, [event])
            await self._noted(connection, [event])
            if reported := _reported(event):
                await self._log(connection, event.tenant, reported)

        await once(self._engine, inbox, NOTIFIER_EVENTS, work)(event)
        self._wake()

    async def _log(self, connection: AsyncConnection, tenant: str, reported: Reported) -> None:
        [logged] = await self._logbook.log(connection, tenant, [reported])
        if isinstance(logged, Problem):
            raise logged

    async def end_import(self, event: AnyEvent) -> None:
        """Behind all records of the import."""
        await self._expand(event)
        await (self.tell if _reported(event) is None else self.report)(event)

    async def change(self, event: AnyEvent) -> None:
        """An edit is told; a slice of an import is but a hint that there may be more to tell."""
        await (self._expand if event.data.edit_id is None else self.tell)(event)

    async def _expand(self, event: AnyEvent) -> None:
        if not await self._asks(event.tenant):
            return
        if self._expansions.locked():  # not waited for, so that other events go past
            raise Later(LATER_SECONDS)
        async with self._expansions:
            await expand(self._engine, event, retention=self._retention, wake=self._wake)

    async def _who_asks(self, tenants: Sequence[str]) -> Sequence[bool]:
        async with self._engine.connect() as connection:
            asking = await tenants_that_ask(connection, tenants, self._retention)
        return [tenant in asking for tenant in tenants]

    async def _tell_together(self, events: Sequence[AnyEvent]) -> Sequence[None]:
        async with self._engine.begin() as connection:
            new = await _seen_first(connection, events)
            await self._told(connection, new)
            await self._noted(connection, new)
        return [None] * len(events)

    async def _note_together(self, events: Sequence[AnyEvent]) -> Sequence[None]:
        async with self._engine.begin() as connection:
            await self._noted(connection, await _seen_first(connection, events))
        return [None] * len(events)

    async def _noted(self, connection: AsyncConnection, events: Sequence[AnyEvent]) -> None:
        await note_imports(connection, events, zone=self._zone, release=self._logbook.release)

    async def _told(self, connection: AsyncConnection, events: Sequence[AnyEvent]) -> None:
        """A delivery of each event for each endpoint of its tenant that asked for its type."""
        messages = [await self._message(connection, event) for event in events]
        await fan_out(connection, [one for one in messages if one is not None], retention=self._retention)

    async def _message(self, connection: AsyncConnection, event: AnyEvent) -> Message | None:
        if event.type == "records.changed":
            return await told_change(connection, event, retention=self._retention)
        if event.type == "records.deleted":
            return told_deletion(event)
        of_endpoint = event.type.startswith("endpoint.")
        return Message.of(
            event,
            event.type,
            body_of(event),
            dataset=getattr(event.data, "dataset", None),
            ordered_by=UUID(event.subject),
            other_than=event.data.endpoint_id if of_endpoint else None,
        )


async def _seen_first(connection: AsyncConnection, events: Sequence[AnyEvent]) -> Sequence[AnyEvent]:
    """Those of the events that were not handled before."""
    by_id = {event.id: event for event in events}
    new = set(await connection.scalars(_SEEN_FIRST, {"ids": sorted(by_id)}))
    return [event for event_id, event in by_id.items() if event_id in new]


def _reported(event: AnyEvent) -> Reported | None:
    """What an event reports to investigations, if anything."""
    return from_endpoint(event) if event.type.startswith("endpoint.") else from_import(event)
