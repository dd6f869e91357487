"""Logging one investigation event: kept once, counted once, in one transaction of the caller."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations import repository
from services.notifier.investigations.grouping import Reported
from shared.contracts.events import AnyEvent, InvestigationOpened, event_of
from shared.contracts.problems import Conflict
from shared.platform.logs import current_traceparent

Publish = Callable[[AsyncConnection, AnyEvent], Awaitable[None]]
Outcome = Literal["created", "grouped", "duplicate"]


@dataclass(frozen=True)
class Logged:
    """What became of an event. `first_seen` and `count` are the investigation's, this event included."""

    event_id: str
    investigation_id: UUID
    outcome: Outcome
    first_seen: datetime
    count: int


async def log_event(connection: AsyncConnection, tenant: str, reported: Reported, publish: Publish) -> Logged:
    """Add the event to its investigation; a first one opens it and publishes `investigation.opened`.

    Locks are taken in one order (event, fingerprint, investigation), so concurrent reporters never deadlock.

    Raises:
        Conflict: `event_conflict`, another event has this id.
    """
    if not await repository.add_event(connection, tenant, reported):
        return await _repeated(connection, tenant, reported)
    if row := await repository.count_event(connection, tenant, reported):
        return _logged(reported, row, "grouped")
    if new_id := await repository.claim_fingerprint(connection, tenant, reported.fingerprint):
        row = await _open(connection, tenant, new_id, reported, publish)
        return _logged(reported, row, "created")
    # Another transaction opened it between our two looks, and has committed by now.
    row = await repository.count_event(connection, tenant, reported)
    assert row is not None
    return _logged(reported, row, "grouped")


async def _repeated(connection: AsyncConnection, tenant: str, reported: Reported) -> Logged:
    row = await repository.event_with_investigation(connection, tenant, reported.event_id)
    if row.digest != reported.digest:
        raise Conflict(
            "event_conflict",
            f"an event with the id {reported.event_id!r} was logged before, with other content",
            hint="give every event an id of its own; repeat an event only as it was",
        )
    return _logged(reported, row, "duplicate")


async def _open(
    connection: AsyncConnection, tenant: str, new_id: UUID, reported: Reported, publish: Publish
) -> Row[Any]:
    summary = reported.summary or f"{reported.reason} in {reported.stage}"
    row = await repository.add_investigation(connection, tenant, new_id, reported, summary)
    opened = InvestigationOpened(
        investigation_id=new_id,
        stage=reported.stage,
        reason=reported.reason,
        supplier=reported.supplier,
        summary=summary,
        opened_at=row.opened_at,
    )
    traceparent = current_traceparent()
    event = event_of(opened, tenant=tenant, subject=new_id, service="notifier", traceparent=traceparent)
    await publish(connection, event)
    return row


def _logged(reported: Reported, row: Row[Any], outcome: Outcome) -> Logged:
    return Logged(reported.event_id, row.id, outcome, row.first_seen, row.event_count)
