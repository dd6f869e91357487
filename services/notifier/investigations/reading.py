"""Investigations as they are asked for: pages of them, one of them whole. All for one tenant, in the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations import queries
from services.notifier.investigations.filters import CURSORS, Filters, Order, position_of
from services.notifier.investigations.queries import AnyRow, EventPosition
from services.notifier.investigations.resources import (
    LATEST_EVENTS,
    LATEST_HISTORY,
    TREND_DAYS,
    HistoryEntry,
    HistoryPage,
    Investigation,
    InvestigationDetail,
    InvestigationEventPage,
    InvestigationPage,
    detail_of,
    event_of_row,
    filled_days,
    investigation_of,
)
from shared.contracts.problems import NotFound
from shared.platform.paging import Cursors, HowTotal, Moment, StorableText, page_of, total_of

_EVENT_CURSORS = Cursors[EventPosition](tuple[Moment, StorableText])
_HISTORY_CURSORS = Cursors[UUID](UUID)


@dataclass(frozen=True)
class Page:
    """Which page of a list. `cursor`: None for the first one."""

    cursor: str | None
    limit: int
    total: HowTotal | None = None


async def list_investigations(
    connection: AsyncConnection, tenant: str, filters: Filters, order: Order, page: Page
) -> InvestigationPage:
    """A page of investigations.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    this = filters.list_name(order)
    after = CURSORS.decode(this, page.cursor)
    query = queries.matching(tenant, filters)
    found = await queries.page(connection, query, order=order, after=after, limit=page.limit)
    rows, last = page_of(found, page.limit)
    return InvestigationPage(
        items=await _shown(connection, tenant, rows),
        next_cursor=last and CURSORS.encode(this, position_of(order, last)),
        total=await total_of(connection, query, page.total),
    )


async def _shown(connection: AsyncConnection, tenant: str, rows: Sequence[AnyRow]) -> list[Investigation]:
    imports = await queries.latest_imports(connection, tenant, [row.id for row in rows])
    return [investigation_of(row, imports.get(row.id)) for row in rows]


async def shown(connection: AsyncConnection, tenant: str, ids: Sequence[UUID]) -> dict[UUID, Investigation]:
    """These investigations, those that there are."""
    rows = await queries.find(connection, tenant, ids)
    return {one.id: one for one in await _shown(connection, tenant, list(rows.values()))}


async def shown_one(connection: AsyncConnection, tenant: str, investigation_id: UUID) -> Investigation:
    """The investigation, which is there."""
    return (await shown(connection, tenant, [investigation_id]))[investigation_id]


async def get_investigation(
    connection: AsyncConnection, tenant: str, investigation_id: UUID, today: date
) -> InvestigationDetail:
    """One investigation, whole.

    Raises:
        NotFound: `investigation_not_found`.
    """
    row = await _there(connection, tenant, investigation_id)
    imports = await queries.latest_imports(connection, tenant, [investigation_id])
    since = today - timedelta(days=TREND_DAYS - 1)
    counts = await queries.days_of(connection, tenant, investigation_id, since=since)
    return detail_of(
        row,
        imports.get(investigation_id),
        fingerprints=await queries.fingerprints_of(connection, tenant, investigation_id),
        events=await queries.events(connection, tenant, investigation_id, after=None, limit=LATEST_EVENTS),
        days=filled_days(counts, today),
        history=await queries.history(connection, tenant, investigation_id, after=None, limit=LATEST_HISTORY),
    )


async def list_events(
    connection: AsyncConnection, tenant: str, investigation_id: UUID, page: Page
) -> InvestigationEventPage:
    """A page of its events.

    Raises:
        NotFound: `investigation_not_found`.
        Unprocessable: `cursor_invalid`.
    """
    this = f"investigation-events/{investigation_id}"
    after = _EVENT_CURSORS.decode(this, page.cursor)
    await _there(connection, tenant, investigation_id)
    found = await queries.events(connection, tenant, investigation_id, after=after, limit=page.limit + 1)
    rows, last = page_of(found, page.limit)
    return InvestigationEventPage(
        items=[event_of_row(row) for row in rows],
        next_cursor=last and _EVENT_CURSORS.encode(this, (last.occurred_at, last.event_id)),
    )


async def list_history(
    connection: AsyncConnection, tenant: str, investigation_id: UUID, page: Page
) -> HistoryPage:
    """A page of what happened to it.

    Raises:
        NotFound: `investigation_not_found`.
        Unprocessable: `cursor_invalid`.
    """
    this = f"investigation-history/{investigation_id}"
    after = _HISTORY_CURSORS.decode(this, page.cursor)
    await _there(connection, tenant, investigation_id)
    found = await queries.history(connection, tenant, investigation_id, after=after, limit=page.limit + 1)
    rows, last = page_of(found, page.limit)
    return HistoryPage(
        items=[HistoryEntry.model_validate(row) for row in rows],
        next_cursor=last and _HISTORY_CURSORS.encode(this, last.id),
    )


async def _there(connection: AsyncConnection, tenant: str, investigation_id: UUID) -> AnyRow:
    rows = await queries.find(connection, tenant, [investigation_id])
    if investigation_id not in rows:
        raise NotFound("investigation_not_found", f"there is no investigation {investigation_id}")
    return rows[investigation_id]
