"""SQL of investigations as they are read: lists, and what one has of events, days, fingerprints and history.

All of a tenant's, in the caller's transaction.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Row,
    Select,
    Text,
    TextualSelect,
    Uuid,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.filters import Filters, Order, Position
from services.notifier.investigations.grouping import SEVERITIES
from services.notifier.tables import (
    event_days,
    fingerprints,
    investigation_events,
    investigation_history,
    investigations,
)

AnyRow = Row[Any]
MAX_SHOWN = 1000  # fingerprints of an investigation, which has one or a few, if it has not been merged
EventPosition = tuple[datetime, str]

_EARLIEST = datetime.min.replace(tzinfo=UTC)  # for a cursor without a moment, of which we have given out none
_RANK = func.array_position(literal(list(SEVERITIES), ARRAY(Text)), investigations.c.severity) - 1

# The latest error of each of their fingerprints, the latest of these that an import reported.
_LATEST_IMPORTS = text("""
    SELECT DISTINCT ON (f.investigation_id) f.investigation_id, e.import_id
    FROM notifier.fingerprints f CROSS JOIN LATERAL (
        SELECT occurred_at, import_id FROM notifier.investigation_events e
        WHERE e.tenant = :tenant AND e.fingerprint_id = f.id ORDER BY occurred_at DESC LIMIT 1
    ) e
    WHERE f.tenant = :tenant AND f.investigation_id = ANY (:ids) AND e.import_id IS NOT NULL
    ORDER BY f.investigation_id, e.occurred_at DESC
""").bindparams(bindparam("ids", type_=ARRAY(Uuid())))


# By fingerprint, as the events have no other index by time.
def _events(condition: str) -> TextualSelect:
    statement = text(f"""
        SELECT e.*, f.supplier, f.stage, f.reason
        FROM notifier.fingerprints f CROSS JOIN LATERAL (
            SELECT e.* FROM notifier.investigation_events e
            WHERE e.tenant = :tenant AND e.fingerprint_id = f.id AND {condition}
            ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT :limit
        ) e
        WHERE f.tenant = :tenant AND f.investigation_id = :id
        ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT :limit
    """)  # noqa: S608 - text of this module
    return statement.columns(file=JSONB, extra=JSONB)


_NEWEST_EVENTS = _events("true")
_EVENTS_BEFORE = _events("e.occurred_at <= :moment AND (e.occurred_at < :moment OR e.event_id < :event_id)")


def matching(tenant: str, filters: Filters) -> Select[Any]:
    """The investigations that are meant, but for those that were merged away, and those without any error."""
    table = investigations
    query = select(table).where(
        table.c.tenant == tenant, table.c.merged_into.is_(None), table.c.event_count > 0
    )
    if filters.states:
        query = query.where(table.c.state.in_(filters.states))
    if filters.severities:
        query = query.where(table.c.severity.in_(filters.severities))
    if filters.text:
        query = query.where(table.c.summary.icontains(filters.text, autoescape=True))
    if filters.since is not None:
        query = query.where(table.c.last_seen >= filters.since)
    if filters.until is not None:
        query = query.where(table.c.last_seen < filters.until)
    if filters.opened_since is not None:
        query = query.where(table.c.opened_at >= filters.opened_since)
    if filters.import_id is not None:
        query = query.where(table.c.id.in_(_of_import(tenant, filters.import_id)))
    return query.where(table.c.id.in_(_of_kind(tenant, filters))) if filters.kind.given else query


def _of_kind(tenant: str, filters: Filters) -> Select[Any]:
    """The ids of investigations with a fingerprint of that kind."""
    query = select(fingerprints.c.investigation_id).where(fingerprints.c.tenant == tenant)
    return query.filter_by(**filters.kind.given)


def _of_import(tenant: str, import_id: UUID) -> Select[Any]:
    events = investigation_events
    return (
        select(fingerprints.c.investigation_id)
        .join(events, events.c.fingerprint_id == fingerprints.c.id)
        .where(events.c.tenant == tenant, events.c.import_id == import_id)
    )


async def page(
    connection: AsyncConnection, query: Select[Any], *, order: Order, after: Position | None, limit: int
) -> Sequence[AnyRow]:
    """Those of `query` behind `after`, with one more than `limit` if there is a next page."""
    table = investigations
    columns: dict[Order, list[ColumnElement[Any]]] = {
        "-opened_at": [table.c.id],
        "-last_seen": [table.c.last_seen],
        "-count": [table.c.event_count],
        "-severity": [_RANK, table.c.last_seen],
    }
    if after is not None:
        query = query.where(_behind(order, after))
    by = [one.desc() for one in columns[order]]
    ordered = query.order_by(*by, *([] if order == "-opened_at" else [table.c.id])).limit(limit + 1)
    rows: Sequence[AnyRow] = (await connection.execute(ordered)).all()
    return rows


def _behind(order: Order, after: Position) -> ColumnElement[bool]:
    number, moment, last = after
    table = investigations
    seen = _further(table.c.last_seen, moment or _EARLIEST, table.c.id > last)
    match order:
        case "-opened_at":
            return table.c.id < last
        case "-last_seen":
            return seen
        case "-count":
            return _further(table.c.event_count, number, table.c.id > last)
        case "-severity":
            return _further(_RANK, number, seen)


def _further(column: Any, value: Any, tied: ColumnElement[bool]) -> ColumnElement[bool]:
    """Below `value`, or as much and then so. The first condition is what an index is entered with."""
    return and_(column <= value, or_(column < value, tied))


async def find(connection: AsyncConnection, tenant: str, ids: Sequence[UUID]) -> dict[UUID, AnyRow]:
    """The investigations of these ids, those that there are."""
    query = select(investigations).where(
        investigations.c.tenant == tenant, investigations.c.id.in_(list(ids))
    )
    return {row.id: row for row in await connection.execute(query)}


async def latest_imports(connection: AsyncConnection, tenant: str, ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """By investigation the import that reported its latest error, where an import did."""
    rows = await connection.execute(_LATEST_IMPORTS, {"tenant": tenant, "ids": list(ids)})
    return {row.investigation_id: row.import_id for row in rows}


async def events(
    connection: AsyncConnection,
    tenant: str,
    investigation_id: UUID,
    *,
    after: EventPosition | None,
    limit: int,
) -> Sequence[AnyRow]:
    """The events behind `after`, those that occurred last first, at most `limit`."""
    parameters: dict[str, Any] = {"tenant": tenant, "id": investigation_id, "limit": limit}
    if after is None:
        return (await connection.execute(_NEWEST_EVENTS, parameters)).all()
    moment, event_id = after
    parameters |= {"moment": moment, "event_id": event_id}
    return (await connection.execute(_EVENTS_BEFORE, parameters)).all()


async def history(
    connection: AsyncConnection, tenant: str, investigation_id: UUID, *, after: UUID | None, limit: int
) -> Sequence[AnyRow]:
    """What happened, behind `after`, the newest first, at most `limit`."""
    table = investigation_history
    query = select(table).where(table.c.tenant == tenant, table.c.investigation_id == investigation_id)
    if after is not None:
        query = query.where(table.c.id < after)
    return (await connection.execute(query.order_by(table.c.id.desc()).limit(limit))).all()


async def fingerprints_of(
    connection: AsyncConnection, tenant: str, investigation_id: UUID
) -> Sequence[AnyRow]:
    """Its fingerprints, those with the most errors first."""
    table = fingerprints
    query = select(table).where(table.c.tenant == tenant, table.c.investigation_id == investigation_id)
    return (
        await connection.execute(query.order_by(table.c.event_count.desc(), table.c.id).limit(MAX_SHOWN))
    ).all()


async def days_of(
    connection: AsyncConnection, tenant: str, investigation_id: UUID, *, since: date
) -> dict[date, int]:
    """How many errors it had on each day from `since` on, where it had any."""
    mine = select(fingerprints.c.id).where(
        fingerprints.c.tenant == tenant, fingerprints.c.investigation_id == investigation_id
    )
    query = (
        select(event_days.c.day, func.sum(event_days.c.events).label("events"))
        .where(
            event_days.c.tenant == tenant,
            event_days.c.fingerprint_id.in_(mine),
            event_days.c.day >= since,
        )
        .group_by(event_days.c.day)
    )
    return {row.day: row.events for row in await connection.execute(query)}
