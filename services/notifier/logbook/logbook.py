"""Logging investigation events: each kept once and counted once, a batch in one transaction of the caller.

What is let in is folded into the fingerprints and investigations that it concerns, and written with them in a handful of
statements, however many events there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import chain
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.catalogue import CATALOGUE
from services.notifier.investigations.folding import Fold, Folded, Investigation, Step, is_of_kind
from services.notifier.investigations.grouping import Reported
from services.notifier.investigations.locking import lock
from services.notifier.investigations.telling import happening, told
from services.notifier.logbook import repository
from services.notifier.logbook.admitting import Admitted, Logged, Outcome, admitted, answers
from services.notifier.logbook.keeping import Days, keep, use_quotas
from services.notifier.logbook.quarantine import packed, unpacked
from services.notifier.logbook.repository import Happened, Waiting
from services.notifier.logbook.taking_over import take_over
from services.notifier.suppliers.files import event_file, note_files
from shared.contracts.problems import Problem
from shared.platform.bus import Publish
from shared.platform.logs import current_traceparent

__all__ = ["Logbook", "Logged", "Outcome"]

RELEASED_AT_ONCE = 1000  # events out of quarantine in a transaction, which others of the tenant wait for


class Logbook:
    """Logs events.

    Args:
        publish: Puts events of the bus into the caller's transaction.
        zone: Of days.
        quota: Events a minute that each source may log by API: a supplier, or without one a stage; those of suppliers that
            are unknown are of one source.
    """

    def __init__(self, publish: Publish, zone: ZoneInfo, *, quota: int) -> None:
        self._publish = publish
        self._zone = zone
        self._quota = quota

    async def log(
        self, connection: AsyncConnection, tenant: str, reported: Sequence[Reported]
    ) -> list[Logged | Problem]:
        """Log events, in their order; what is published and kept of them is so when the caller commits.

        Waits for others who log events of this tenant or act on its investigations, and lets nobody else until the
        transaction ends: let it be short, with 4,000 events at most.

        Returns:
            For each, what became of it; or why it is refused: a Conflict `event_conflict`, another event has this id; or
            TooManyRequests `quota_exceeded`, of its source (events by API only).
        """
        if not reported:
            return []
        await lock(connection, tenant)
        now = datetime.now(UTC)
        kept, surroundings = await repository.before(connection, tenant, reported, now)
        batch = admitted(reported, kept, surroundings, quota=self._quota, now=now)
        folded, investigations = await self._add(connection, tenant, batch, now, surroundings.backfilled)
        if batch.waiting:
            rows = [_waiting(event, now) for event in batch.waiting.values()]
            await repository.quarantine(connection, tenant, rows)
        if batch.used and not batch.new:
            await use_quotas(connection, tenant, batch.used, now)
        return answers(reported, batch, folded, investigations, now)

    async def release(self, connection: AsyncConnection, tenant: str, suppliers: Sequence[str]) -> int:
        """Log what is in quarantine of those of these suppliers that are known: how many events.

        At most `RELEASED_AT_ONCE`; what is left, `upkeep` takes up.
        """
        await lock(connection, tenant)
        rows = await repository.take_from_quarantine(connection, tenant, suppliers, most=RELEASED_AT_ONCE)
        if rows:
            now = datetime.now(UTC)
            _, surroundings = await repository.before(connection, tenant, [], now)
            batch = Admitted(new={place: unpacked(**row._mapping) for place, row in enumerate(rows)})
            await self._add(connection, tenant, batch, now, surroundings.backfilled)
        return len(rows)

    async def _add(
        self, connection: AsyncConnection, tenant: str, batch: Admitted, now: datetime, backfilled: bool
    ) -> tuple[dict[int, Folded], Mapping[int, Investigation]]:
        """Fold the new events of the batch in and write what comes of it.

        Returns:
            Where the new ones went, by place; and by fingerprint id the investigations of all that were there before.
        """
        events = list(batch.new.values())
        lost = await take_over(connection, tenant, events, self._zone) if backfilled else {}
        again = batch.repeated.values()
        told_of = chain(events, (event for event, _ in again))
        kinds = {event.kind for event in told_of if event.resolves and is_of_kind(event)}
        wanted = [*lost, *(kept.fingerprint_id for _, kept in again if kept.fingerprint_id)]
        if kinds:
            wanted += await repository.of_kinds(connection, tenant, kinds)
        if not events and not wanted:
            return {}, {}
        there = await repository.concerned(connection, tenant, events, wanted)
        investigations = {one.id: here for here in there for one in here.fingerprints if one.id is not None}
        if not events:
            return {}, investigations
        fold = await self._fold(connection, tenant, there, events, now)
        if lost:
            fold.lose(lost)
        folded = fold.add_all(batch.new)
        fold.settle()
        await self._write(connection, tenant, batch, fold, now)
        return folded, investigations

    async def _fold(
        self,
        connection: AsyncConnection,
        tenant: str,
        there: Sequence[Investigation],
        events: Sequence[Reported],
        now: datetime,
    ) -> Fold:
        known = {one.fingerprint for here in there for one in here.fingerprints}
        new = {event.fingerprint: event.kind for event in events if event.fingerprint not in known}
        if not new:
            return Fold(there, {}, iter(()), now)
        resolved = await repository.resolved_kinds(connection, tenant, set(new.values()))
        ids = await repository.new_ids(connection, len(new))
        return Fold(there, resolved, iter(ids), now)

    async def _write(
        self, connection: AsyncConnection, tenant: str, batch: Admitted, fold: Fold, now: datetime
    ) -> None:
        events = list(batch.new.values())
        days = self._days(events)
        await keep(connection, tenant, fold.touched.values(), events, days=days, used=batch.used, now=now)
        unknown = {code: at for code, at in fold.new_reasons.items() if code not in CATALOGUE}
        if unknown:
            await repository.register_reasons(connection, tenant, unknown)
        if fold.steps:
            await self._tell(connection, tenant, fold.steps)
        await self._note_files(connection, tenant, events)

    async def _tell(self, connection: AsyncConnection, tenant: str, steps: Sequence[Step]) -> None:
        history = [Happened(step.investigation.id, happening(step), step.at, step.event_id) for step in steps]
        await repository.add_history(connection, tenant, history)
        traceparent = current_traceparent()
        await self._publish(connection, *(told(step, tenant, traceparent) for step in steps))

    def _days(self, events: Iterable[Reported]) -> Days:
        days: dict[tuple[str, date], tuple[int, datetime]] = {}
        for event in events:
            if not event.resolves:
                day = event.fingerprint, event.occurred_at.astimezone(self._zone).date()
                number, last = days.get(day, (0, event.occurred_at))
                days[day] = number + 1, max(last, event.occurred_at)
        return days

    async def _note_files(self, connection: AsyncConnection, tenant: str, events: Sequence[Reported]) -> None:
        files = [
            event_file(
                tenant=tenant,
                supplier=event.supplier,
                stage=event.stage,
                occurred_at=event.occurred_at,
                resolves=event.resolves,
                severity=event.severity,
                file=event.file,
                zone=self._zone,
            )
            for event in events
            if event.origin == "api" and event.file is not None and event.supplier is not None
        ]
        if files:
            await note_files(connection, files, zone=self._zone)


def _waiting(event: Reported, now: datetime) -> Waiting:
    assert event.supplier is not None
    assert event.digest is not None
    return Waiting(event.event_id, event.supplier, now, event.occurred_at, event.digest, packed(event))
