"""SQL of investigations, their fingerprints and events. The caller's transaction, always."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Row, Text, case, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.grouping import SEVERITIES, Reported
from services.notifier.tables import fingerprints, investigation_events, investigations

_STANDING = (investigations.c.id, investigations.c.first_seen, investigations.c.event_count)


async def add_event(connection: AsyncConnection, tenant: str, reported: Reported) -> bool:
    """Keep the event. False: one of that id is there already (waiting, if a transaction just brings it)."""
    statement = upsert(investigation_events).values(
        tenant=tenant,
        event_id=reported.event_id,
        fingerprint=reported.fingerprint,
        digest=reported.digest,
        occurred_at=reported.occurred_at,
        supplier=reported.supplier,
        stage=reported.stage,
        reason=reported.reason,
        severity=reported.severity,
        summary=reported.summary,
        file=reported.file,
        extra=reported.extra,
    )
    return (await connection.execute(statement.on_conflict_do_nothing())).rowcount > 0


async def event_with_investigation(connection: AsyncConnection, tenant: str, event_id: str) -> Row[Any]:
    """The kept event's digest, and where its investigation stands."""
    events = investigation_events
    columns: list[Column[Any]] = [events.c.digest, *_STANDING]
    query = (
        select(*columns)
        .join(fingerprints, _same_group())
        .join(investigations, investigations.c.id == fingerprints.c.investigation_id)
        .where(events.c.tenant == tenant, events.c.event_id == event_id)
    )
    return (await connection.execute(query)).one()


async def count_event(connection: AsyncConnection, tenant: str, reported: Reported) -> Row[Any] | None:
    """Add the event to the investigation of its fingerprint. None: there is no such investigation yet."""
    table = investigations
    statement = (
        update(table)
        .where(
            table.c.id == fingerprints.c.investigation_id,
            fingerprints.c.tenant == tenant,
            fingerprints.c.fingerprint == reported.fingerprint,
        )
        .values(
            event_count=table.c.event_count + 1,
            first_seen=func.least(table.c.first_seen, reported.occurred_at),
            last_seen=func.greatest(table.c.last_seen, reported.occurred_at),
            severity=case(
                (_rank(reported.severity) > _rank(table.c.severity), reported.severity),
                else_=table.c.severity,
            ),
        )
        .returning(*_STANDING)
    )
    return (await connection.execute(statement)).one_or_none()


def _rank(severity: Any) -> Any:
    return func.array_position(literal(list(SEVERITIES), ARRAY(Text)), severity)


async def claim_fingerprint(connection: AsyncConnection, tenant: str, fingerprint: str) -> UUID | None:
    """Reserve the fingerprint for a new investigation and return that one's id.

    None: it belongs to one already (after waiting for the transaction that is just opening it).
    """
    statement = upsert(fingerprints).values(
        tenant=tenant, fingerprint=fingerprint, investigation_id=func.uuidv7()
    )
    claimed = statement.on_conflict_do_nothing().returning(fingerprints.c.investigation_id)
    found: UUID | None = (await connection.execute(claimed)).scalar_one_or_none()
    return found


async def add_investigation(
    connection: AsyncConnection, tenant: str, investigation_id: UUID, reported: Reported, summary: str
) -> Row[Any]:
    statement = insert(investigations).values(
        id=investigation_id,
        tenant=tenant,
        supplier=reported.supplier,
        stage=reported.stage,
        reason=reported.reason,
        severity=reported.severity,
        summary=summary,
        first_seen=reported.occurred_at,
        last_seen=reported.occurred_at,
    )
    opened = statement.returning(*_STANDING, investigations.c.opened_at)
    return (await connection.execute(opened)).one()


async def list_investigations(
    connection: AsyncConnection, tenant: str, *, equal: Mapping[str, str], limit: int, before: UUID | None
) -> Sequence[Row[Any]]:
    """The newest first, those older than `before`, with one more than `limit` if there is a next page."""
    query = select(investigations).where(investigations.c.tenant == tenant)
    for column, value in equal.items():
        query = query.where(investigations.c[column] == value)
    if before is not None:
        query = query.where(investigations.c.id < before)
    query = query.order_by(investigations.c.id.desc()).limit(limit + 1)
    return (await connection.execute(query)).all()


async def investigation(connection: AsyncConnection, tenant: str, investigation_id: UUID) -> Row[Any] | None:
    query = select(investigations).where(
        investigations.c.tenant == tenant, investigations.c.id == investigation_id
    )
    return (await connection.execute(query)).one_or_none()


async def latest_events(
    connection: AsyncConnection, investigation_id: UUID, *, limit: int
) -> Sequence[Row[Any]]:
    """The events that occurred last, the newest first."""
    query = (
        select(investigation_events)
        .join(fingerprints, _same_group())
        .where(fingerprints.c.investigation_id == investigation_id)
        .order_by(investigation_events.c.occurred_at.desc(), investigation_events.c.event_id)
        .limit(limit)
    )
    return (await connection.execute(query)).all()


def _same_group() -> Any:
    events = investigation_events
    return (fingerprints.c.tenant == events.c.tenant) & (fingerprints.c.fingerprint == events.c.fingerprint)
