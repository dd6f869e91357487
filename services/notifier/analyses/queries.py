"""SQL of analyses as they are asked for. One tenant's, in the caller's transaction; each reads a day, never all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Date, Row, Select, Text, bindparam, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.analyses.cadence import Bucket
from services.notifier.analyses.findings import ANALYSE, FindingName, State
from services.notifier.analyses.reports import given_fingerprint
from services.notifier.tables import (
    analyses,
    event_days,
    fingerprints,
    investigations,
    supplier_files,
    suppliers,
)

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]


@dataclass(frozen=True)
class Filters:
    """Which analyses to list; None, and no states: with any.

    Attributes:
        finding: Where this was found.
    """

    day: date | None = None
    supplier: str | None = None
    states: frozenset[State] = frozenset()
    bucket: Bucket | None = None
    finding: FindingName | None = None


def matching(tenant: str, filters: Filters) -> AnySelect:
    """The analyses that a list is to show, in no order."""
    column = analyses.c
    query = (
        select(analyses, suppliers.c.name)
        .outerjoin(suppliers, (suppliers.c.tenant == column.tenant) & (suppliers.c.id == column.supplier))
        .where(column.tenant == tenant)
    )
    if filters.day is not None:
        query = query.where(column.day == filters.day)
    if filters.supplier is not None:
        query = query.where(column.supplier == filters.supplier)
    if filters.states:
        query = query.where(column.state.in_(sorted(filters.states)))
    if filters.bucket is not None:
        query = query.where(column.bucket == filters.bucket)
    if filters.finding is not None:
        query = query.where(column.findings.contains([{"finding": filters.finding}]))
    return query


async def page(
    connection: AsyncConnection, query: AnySelect, *, after: tuple[date, str] | None, limit: int
) -> Sequence[AnyRow]:
    """Of `matching`, the latest day first and then by supplier, those behind `after`: one more than `limit`, if there is one."""
    day, supplier = analyses.c.day, analyses.c.supplier
    if after is not None:
        query = query.where((day < after[0]) | ((day == after[0]) & (supplier > after[1])))
    return (await connection.execute(query.order_by(day.desc(), supplier).limit(limit + 1))).all()


async def latest_day(connection: AsyncConnection, tenant: str) -> date | None:
    """The latest day that was analysed."""
    found: date | None = await connection.scalar(
        select(func.max(analyses.c.day)).where(analyses.c.tenant == tenant)
    )
    return found


async def investigations_of(
    connection: AsyncConnection, tenant: str, found: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], UUID]:
    """The investigation of each (supplier, finding) that has one."""
    given = {given_fingerprint(*one): one for one in found}
    query = select(fingerprints.c.given, fingerprints.c.investigation_id).where(
        fingerprints.c.tenant == tenant,
        fingerprints.c.given == func.any(literal(list(given), ARRAY(Text))),
        fingerprints.c.stage == ANALYSE,
    )
    return {given[row.given]: row.investigation_id for row in await connection.execute(query)}


async def counts(connection: AsyncConnection, tenant: str, days: Sequence[date]) -> Sequence[AnyRow]:
    """The `number` of analyses of each `day`, `state` and `bucket`."""
    column = analyses.c
    query = (
        select(column.day, column.state, column.bucket, func.count().label("number"))
        .where(column.tenant == tenant, column.day.in_(days))
        .group_by(column.day, column.state, column.bucket)
    )
    return (await connection.execute(query)).all()


def late(tenant: str, today: date, *, late_days: int) -> AnySelect:
    """Suppliers whose expected day and `late_days` more are over, and who have sent no good file since; in no order.

    Each row has the `number` of all of them beside it.
    """
    last = (
        select(analyses)
        .where(analyses.c.tenant == tenant, analyses.c.supplier == suppliers.c.id)
        .order_by(analyses.c.day.desc())
        .limit(1)
        .lateral("last")
    )
    # A value, and no EXISTS, so that it is looked up for the few that are late by then, and not joined with all files.
    since = (
        select(supplier_files.c.id)
        .where(
            supplier_files.c.tenant == tenant,
            supplier_files.c.supplier == suppliers.c.id,
            supplier_files.c.status == "good",
            supplier_files.c.day > last.c.last_good_day,
        )
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(
            suppliers.c.id.label("supplier"),
            suppliers.c.name,
            last.c.bucket,
            last.c.expected_day,
            (literal(today, Date) - last.c.expected_day).label("days_late"),
            last.c.last_good_day,
            last.c.day.label("analysed_day"),
            func.count().over().label("number"),
        )
        .join(last, last.c.expected_day < today - timedelta(days=late_days))
        .where(suppliers.c.tenant == tenant, suppliers.c.enabled, since.is_(None))
    )


async def page_of_late(
    connection: AsyncConnection, query: AnySelect, *, after: tuple[date, str] | None, limit: int
) -> Sequence[AnyRow]:
    """Of `late`, those that are so for longest first, behind `after`: one more than `limit`, if there is one."""
    found = query.subquery()
    ordered = select(found).order_by(found.c.expected_day, found.c.supplier).limit(limit + 1)
    if after is not None:
        ordered = ordered.where(
            (found.c.expected_day > after[0])
            | ((found.c.expected_day == after[0]) & (found.c.supplier > after[1]))
        )
    return (await connection.execute(ordered)).all()


_FILES_OF_DAYS = text("""
    SELECT d.day, count(f.id) AS files, count(f.id) FILTER (WHERE f.status = 'good') AS good,
        count(f.id) FILTER (WHERE f.status = 'failed') AS failed,
        coalesce(sum(f.rows), 0)::bigint AS rows, coalesce(sum(f.rejected), 0)::bigint AS rejected
    FROM unnest(:days) AS d (day)
    LEFT JOIN notifier.supplier_files f ON f.tenant = :tenant AND f.day = d.day AND f.status <> 'uncounted'
    GROUP BY d.day
""").bindparams(bindparam("days", type_=ARRAY(Date)))


async def files_of_days(connection: AsyncConnection, tenant: str, days: Sequence[date]) -> dict[date, AnyRow]:
    """What came on each of `days`."""
    rows = await connection.execute(_FILES_OF_DAYS, {"tenant": tenant, "days": days})
    return {row.day: row for row in rows}


async def errors_of_days(
    connection: AsyncConnection, tenant: str, days: Sequence[date]
) -> dict[date, list[AnyRow]]:
    """The errors of each of `days` by `reason`, the most frequent ones first; what analyses found is not among them."""
    errors = func.sum(event_days.c.events).label("errors")
    query = (
        select(event_days.c.day, fingerprints.c.reason, errors)
        .join(fingerprints, fingerprints.c.id == event_days.c.fingerprint_id)
        .where(
            event_days.c.tenant == tenant,
            event_days.c.day.in_(days),
            fingerprints.c.tenant == tenant,
            fingerprints.c.stage != ANALYSE,
        )
        .group_by(event_days.c.day, fingerprints.c.reason)
        .order_by(errors.desc(), fingerprints.c.reason)
    )
    found: dict[date, list[AnyRow]] = {day: [] for day in days}
    for row in await connection.execute(query):
        found[row.day].append(row)
    return found


async def investigation_states(connection: AsyncConnection, tenant: str) -> dict[str, int]:
    """How many investigations there are in each state."""
    column = investigations.c
    query = (
        select(column.state, func.count().label("number"))
        .where(column.tenant == tenant, column.merged_into.is_(None), column.event_count > 0)
        .group_by(column.state)
    )
    return {row.state: row.number for row in await connection.execute(query)}


async def enabled_count(connection: AsyncConnection, tenant: str) -> int:
    """How many suppliers are analysed."""
    query = select(func.count()).where(suppliers.c.tenant == tenant, suppliers.c.enabled)
    return (await connection.execute(query)).scalar_one()
