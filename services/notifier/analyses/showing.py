"""Analyses as they are asked for: lists, counts, who is late, the overview. All for one tenant."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.analyses import queries
from services.notifier.analyses.cadence import BUCKETS
from services.notifier.analyses.findings import STATES
from services.notifier.analyses.queries import AnyRow, Filters
from services.notifier.analyses.resources import (
    TOP,
    AnalysisPage,
    Buckets,
    Count,
    DayOfFiles,
    LatePage,
    LateSupplier,
    Overview,
    ReasonOfDay,
    ShownAnalysis,
    analysis_of,
)
from services.notifier.investigations.states import STATES as INVESTIGATION_STATES
from shared.platform.paging import Cursors, HowTotal, StorableText, page_of, total_of

_CURSORS = Cursors[tuple[date, str]](tuple[date, StorableText])
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Page:
    """Which page of a list. `cursor`: None for the first one."""

    cursor: str | None
    limit: int
    total: HowTotal | None


async def list_analyses(
    connection: AsyncConnection, tenant: str, filters: Filters, page: Page
) -> AnalysisPage:
    """A page of analyses: those of one supplier, the latest first; else those of a day, by default the latest one.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    this = _name_of(filters)
    after = _CURSORS.decode(this, page.cursor)
    if filters.day is None and filters.supplier is None:
        day = after[0] if after else await queries.latest_day(connection, tenant)
        if day is None:
            return AnalysisPage(day=None, items=[], next_cursor=None, total=0 if page.total else None)
        filters = replace(filters, day=day)
    query = queries.matching(tenant, filters)
    rows, last = page_of(await queries.page(connection, query, after=after, limit=page.limit), page.limit)
    return AnalysisPage(
        day=filters.day,
        items=await _shown(connection, tenant, rows),
        next_cursor=last and _CURSORS.encode(this, (last.day, last.supplier)),
        total=await total_of(connection, query, page.total),
    )


def _name_of(filters: Filters) -> str:
    """Of the list, as its cursors know it."""
    of = (filters.day, filters.supplier, sorted(filters.states), filters.bucket, filters.finding)
    return f"analyses/{of}"


async def _shown(connection: AsyncConnection, tenant: str, rows: Sequence[AnyRow]) -> list[ShownAnalysis]:
    found = [(row.supplier, finding["finding"]) for row in rows for finding in row.findings]
    of_findings = await queries.investigations_of(connection, tenant, found) if found else {}
    return [analysis_of(row, of_findings) for row in rows]


async def list_late(
    connection: AsyncConnection, tenant: str, today: date, late_days: int, page: Page
) -> LatePage:
    """A page of the suppliers that are late on `today`, those first that are so for longest.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    after = _CURSORS.decode("analyses/late", page.cursor)
    query = queries.late(tenant, today, late_days=late_days)
    found = await queries.page_of_late(connection, query, after=after, limit=page.limit)
    rows, last = page_of(found, page.limit)
    return LatePage(
        items=await _shown_late(connection, tenant, rows),
        next_cursor=last and _CURSORS.encode("analyses/late", (last.expected_day, last.supplier)),
        total=await total_of(connection, query, page.total),
    )


async def _shown_late(connection: AsyncConnection, tenant: str, rows: Sequence[AnyRow]) -> list[LateSupplier]:
    found = [(row.supplier, "late") for row in rows]
    of_late = await queries.investigations_of(connection, tenant, found) if found else {}
    return [
        LateSupplier.model_validate({**row._mapping, "investigation_id": of_late.get((row.supplier, "late"))})
        for row in rows
    ]


async def buckets(connection: AsyncConnection, tenant: str, day: date | None) -> Buckets:
    """How many suppliers there are of each bucket and state on a day, by default the latest that was analysed."""
    day = day or await queries.latest_day(connection, tenant)
    before = day - _ONE_DAY if day and day > date.min else None
    days = [one for one in (day, before) if one is not None]
    rows = await queries.counts(connection, tenant, days) if days else []

    def counted(column: str | None = None, name: str | None = None) -> Count:
        alike = [row for row in rows if column is None or getattr(row, column) == name]
        now = sum(row.number for row in alike if row.day == day)
        return Count(count=now, before=sum(row.number for row in alike) - now)

    return Buckets(
        day=day,
        day_before=before,
        suppliers=counted(),
        buckets={name: counted("bucket", name) for name in BUCKETS},
        states={name: counted("state", name) for name in STATES},
    )


async def overview(connection: AsyncConnection, tenant: str, today: date, late_days: int) -> Overview:
    """All that the top of a dashboard shows."""
    days = [today, today - _ONE_DAY]
    files = await queries.files_of_days(connection, tenant, days)
    errors = await queries.errors_of_days(connection, tenant, days)
    last_analysis = await buckets(connection, tenant, None)
    failed = Filters(day=last_analysis.day, states=frozenset({"fail"}))
    failures = await list_analyses(connection, tenant, failed, Page(None, TOP, None))
    is_late = queries.late(tenant, today, late_days=late_days)
    late = await queries.page_of_late(connection, is_late, after=None, limit=TOP)
    states = await queries.investigation_states(connection, tenant)
    of_today, of_yesterday = (_day_of_files(day, files[day], errors[day]) for day in days)
    return Overview(
        today=of_today,
        yesterday=of_yesterday,
        suppliers=await queries.enabled_count(connection, tenant),
        last_analysis=last_analysis,
        late_count=late[0].number if late else 0,
        late=await _shown_late(connection, tenant, late[:TOP]),
        failures_count=last_analysis.states["fail"].count,
        failures=failures.items,
        top_reasons=[ReasonOfDay(reason=row.reason, errors=row.errors) for row in errors[days[1]][:TOP]],
        investigations={state: states.get(state, 0) for state in INVESTIGATION_STATES},
    )


def _day_of_files(day: date, files: AnyRow, errors: Sequence[AnyRow]) -> DayOfFiles:
    numbers = {name: getattr(files, name) for name in ("files", "good", "failed", "rows", "rejected")}
    return DayOfFiles(day=day, **numbers, errors=sum(row.errors for row in errors))
