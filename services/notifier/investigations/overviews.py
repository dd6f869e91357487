"""Overviews of many investigations: counts, trend, top reasons, by supplier.

Made of fingerprints and their days, and never of events, of which there are millions. All of a tenant's, in the caller's
transaction.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, TextClause, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.catalogue import CATALOGUE
from services.notifier.investigations.filters import Bigint, Kind
from services.notifier.investigations.grouping import SEVERITIES
from services.notifier.investigations.overview_resources import (
    BySupplier,
    BySupplierPage,
    Counts,
    Days,
    SupplierCount,
    TopReason,
    TopReasonPage,
    Trend,
    TrendDay,
)
from services.notifier.investigations.reading import Page
from services.notifier.investigations.states import STATES
from services.notifier.tables import quarantined_events
from shared.platform.paging import Cursors, StorableText, page_of

AnyRow = Row[Any]
TOP_SUPPLIERS = 20

# Behind which item a page begins: so many errors, and then by name; empty for what has no supplier.
_CURSORS = Cursors[tuple[int, str]](tuple[Bigint, StorableText])

_COUNTS = text("""
    SELECT grouping(state, severity, supplier) AS by, state, severity, supplier, count(*) AS all_of_them,
        count(*) FILTER (WHERE state NOT IN ('resolved', 'muted')) AS pending
    FROM notifier.investigations
    WHERE tenant = :tenant AND merged_into IS NULL AND event_count > 0
    GROUP BY GROUPING SETS ((state), (severity), (supplier))
""")
_BY_STATE, _BY_SEVERITY, _BY_SUPPLIER = 0b011, 0b101, 0b110  # a bit for each that it is not grouped by

_OF_KIND = """(CAST(:supplier AS text) IS NULL OR f.supplier = :supplier)
    AND (CAST(:stage AS text) IS NULL OR f.stage = :stage) AND (CAST(:reason AS text) IS NULL OR f.reason = :reason)"""
_EVENTS_BY_DAY = text(f"""
    SELECT d.day, sum(d.events) AS events FROM notifier.event_days d JOIN notifier.fingerprints f ON f.id = d.fingerprint_id
    WHERE d.tenant = :tenant AND d.day >= :since AND f.tenant = :tenant AND {_OF_KIND}
    GROUP BY d.day
""")  # noqa: S608 - text of this module
_ALL_EVENTS_BY_DAY = text("""
    SELECT day, sum(events) AS events FROM notifier.event_days WHERE tenant = :tenant AND day >= :since GROUP BY day
""")
_HAPPENED_BY_DAY = """
    SELECT (h.happened_at AT TIME ZONE :zone)::date, h.what, count(*) FROM notifier.investigation_history h
    WHERE h.tenant = :tenant AND h.happened_at >= :since AND h.what IN ('opened', 'reopened', 'resolved')
"""
_ALL_HAPPENED_BY_DAY = text(f"{_HAPPENED_BY_DAY} GROUP BY 1, 2")
_HAPPENED_BY_DAY_OF_KIND = text(f"""
    {_HAPPENED_BY_DAY} AND h.investigation_id IN (
        SELECT f.investigation_id FROM notifier.fingerprints f WHERE f.tenant = :tenant AND {_OF_KIND}
    ) GROUP BY 1, 2
""")  # noqa: S608 - text of this module

# By fingerprint first: there are far fewer of these than days.
_IN_DAYS = """
    SELECT d.fingerprint_id, sum(d.events) AS events, max(d.last_occurred_at) AS last_seen
    FROM notifier.event_days d WHERE d.tenant = :tenant AND d.day BETWEEN :since AND :until GROUP BY 1
"""
_TOP_REASONS = text(f"""
    SELECT s.*, r.title FROM (
        SELECT f.reason, sum(d.events)::bigint AS events, count(DISTINCT f.supplier) AS suppliers,
            count(DISTINCT f.investigation_id) AS investigations, max(d.last_seen) AS last_seen
        FROM ({_IN_DAYS}) d JOIN notifier.fingerprints f ON f.id = d.fingerprint_id
        WHERE f.tenant = :tenant GROUP BY f.reason
    ) s LEFT JOIN notifier.reasons r ON r.tenant = :tenant AND r.code = s.reason
    WHERE CAST(:events AS bigint) IS NULL OR s.events < :events OR (s.events = :events AND s.reason > :name)
    ORDER BY s.events DESC, s.reason LIMIT :limit
""")  # noqa: S608 - text of this module
_SUPPLIERS = text(f"""
    SELECT s.*, p.name FROM (
        SELECT f.supplier, coalesce(f.supplier, '') AS by_name, sum(d.events)::bigint AS events,
            count(DISTINCT f.reason) AS reasons, count(DISTINCT f.investigation_id) AS investigations,
            count(DISTINCT f.investigation_id) FILTER (WHERE i.state NOT IN ('resolved', 'muted')) AS pending,
            max(d.last_seen) AS last_seen
        FROM ({_IN_DAYS}) d JOIN notifier.fingerprints f ON f.id = d.fingerprint_id
            JOIN notifier.investigations i ON i.id = f.investigation_id
        WHERE f.tenant = :tenant AND i.tenant = :tenant GROUP BY f.supplier
    ) s LEFT JOIN notifier.suppliers p ON p.tenant = :tenant AND p.id = s.supplier
    WHERE CAST(:events AS bigint) IS NULL OR s.events < :events OR (s.events = :events AND s.by_name > :name)
    ORDER BY s.events DESC, s.by_name LIMIT :limit
""")  # noqa: S608 - text of this module


async def counts(connection: AsyncConnection, tenant: str) -> Counts:
    """How many investigations there are in each state; and of those that somebody has to look at, of which kind."""
    rows = (await connection.execute(_COUNTS, {"tenant": tenant})).all()
    states = {row.state: row.all_of_them for row in rows if row.by == _BY_STATE}
    severities = {row.severity: row.pending for row in rows if row.by == _BY_SEVERITY}
    suppliers = [row for row in rows if row.by == _BY_SUPPLIER and row.pending]
    suppliers.sort(key=lambda row: (-row.pending, row.supplier or ""))
    waiting = select(func.count()).where(quarantined_events.c.tenant == tenant)
    return Counts(
        states={state: states.get(state, 0) for state in STATES},
        severities={severity: severities.get(severity, 0) for severity in SEVERITIES},
        suppliers=[
            SupplierCount(supplier=row.supplier, investigations=row.pending)
            for row in suppliers[:TOP_SUPPLIERS]
        ],
        quarantined_events=(await connection.execute(waiting)).scalar_one(),
    )


async def trend(
    connection: AsyncConnection, tenant: str, kind: Kind, *, days: int, today: date, zone: ZoneInfo
) -> Trend:
    """What happened on each of the last `days`, today the last one."""
    since = today - timedelta(days=days - 1)
    of_kind = {"supplier": kind.supplier, "stage": kind.stage, "reason": kind.reason} if kind.given else {}
    by_day = _EVENTS_BY_DAY if of_kind else _ALL_EVENTS_BY_DAY
    rows = await connection.execute(by_day, {"tenant": tenant, "since": since, **of_kind})
    events: dict[date, int] = {row.day: row.events for row in rows}
    midnight = datetime.combine(since, time(), zone)
    steps = await connection.execute(
        _HAPPENED_BY_DAY_OF_KIND if of_kind else _ALL_HAPPENED_BY_DAY,
        {"tenant": tenant, "since": midnight, "zone": zone.key, **of_kind},
    )
    happened = {(day, what): count for day, what, count in steps}
    return Trend(
        items=[
            TrendDay(
                day=day,
                events=events.get(day, 0),
                opened=happened.get((day, "opened"), 0),
                reopened=happened.get((day, "reopened"), 0),
                resolved=happened.get((day, "resolved"), 0),
            )
            for day in (since + timedelta(days=after) for after in range(days))
        ]
    )


async def top_reasons(connection: AsyncConnection, tenant: str, days: Days, page: Page) -> TopReasonPage:
    """The reasons of the errors that occurred on these days, the most frequent ones first.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    this = f"top-reasons/{days}"
    rows, last = await _page(connection, _TOP_REASONS, this, tenant=tenant, days=days, page=page)
    return TopReasonPage(
        **days._asdict(),
        items=[
            TopReason(
                reason=row.reason,
                title=row.title or (CATALOGUE[row.reason].title if row.reason in CATALOGUE else None),
                events=row.events,
                suppliers=row.suppliers,
                investigations=row.investigations,
                last_seen=row.last_seen,
            )
            for row in rows
        ],
        next_cursor=last and _CURSORS.encode(this, (last.events, last.reason)),
    )


async def by_supplier(connection: AsyncConnection, tenant: str, days: Days, page: Page) -> BySupplierPage:
    """Whose errors occurred on these days, those with the most first.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    this = f"by-supplier/{days}"
    rows, last = await _page(connection, _SUPPLIERS, this, tenant=tenant, days=days, page=page)
    names = BySupplier.model_fields
    return BySupplierPage(
        **days._asdict(),
        items=[BySupplier(**{name: getattr(row, name) for name in names}) for row in rows],
        next_cursor=last and _CURSORS.encode(this, (last.events, last.by_name)),
    )


async def _page(
    connection: AsyncConnection, statement: TextClause, this: str, *, tenant: str, days: Days, page: Page
) -> tuple[Sequence[AnyRow], AnyRow | None]:
    events, name = _CURSORS.decode(this, page.cursor) or (None, None)
    parameters = {"tenant": tenant, **days._asdict(), "events": events, "name": name, "limit": page.limit + 1}
    return page_of((await connection.execute(statement, parameters)).all(), page.limit)
