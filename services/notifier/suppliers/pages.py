"""What is known of suppliers: lists, days, files, and each one's page. All for one tenant."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.suppliers import repository
from services.notifier.suppliers.changing import not_found
from services.notifier.suppliers.repository import AnyRow, FileFilters, Filters
from services.notifier.suppliers.resources import (
    LATEST_FILES,
    Day,
    DayList,
    File,
    FileList,
    LastAnalysis,
    Numbers,
    ReasonCount,
    Supplier,
    SupplierList,
    SupplierOfDay,
    SupplierPage,
    links_of,
)
from shared.contracts.problems import Unprocessable
from shared.platform.paging import Cursors, HowTotal, Moment, StorableText, page_of, total_of

DAYS_BY_DEFAULT = 30
MOST_DAYS = 366

_CURSORS = Cursors[str](StorableText)
_FILE_CURSORS = Cursors[tuple[date, datetime, str]](tuple[date, Moment, StorableText])


async def list_suppliers(
    connection: AsyncConnection,
    tenant: str,
    filters: Filters,
    *,
    day: date | None,
    limit: int,
    cursor: str | None,
    total: HowTotal | None,
) -> SupplierList:
    """A page of suppliers by id, each with its numbers of `day`, if one is asked for."""
    this = f"suppliers/{filters}"
    query = repository.listed(tenant, filters)
    found = await repository.page(connection, query, limit=limit, after=_CURSORS.decode(this, cursor))
    rows, last = page_of(found, limit)
    items = [SupplierOfDay.model_validate({**row._mapping, "day": None}) for row in rows]
    if day is not None:
        known = await _days(connection, tenant, [item.id for item in items], day, day)
        items = [item.model_copy(update={"day": known.get((item.id, day)) or Day(day=day)}) for item in items]
    return SupplierList(
        items=items,
        next_cursor=last and _CURSORS.encode(this, last.id),
        total=await total_of(connection, query, total),
    )


async def list_days(
    connection: AsyncConnection, tenant: str, supplier_id: str, since: date | None, until: date
) -> DayList:
    """What came of a supplier day by day, both days included.

    Raises:
        NotFound: `supplier_not_found`.
        Unprocessable: `filter_invalid`: `since` is behind `until`, or too long before it.
    """
    first = since or date.fromordinal(max(1, until.toordinal() - DAYS_BY_DEFAULT + 1))
    if not timedelta(0) <= until - first < timedelta(days=MOST_DAYS):
        raise Unprocessable(
            "filter_invalid",
            f"since: from {first} to {until} are not 1 to {MOST_DAYS} days",
            hint="give an earlier `since` than `until`, and ask for a year at a time",
            parameter="since",
        )
    await _see(connection, tenant, supplier_id)
    found = await _days(connection, tenant, [supplier_id], first, until)
    items = sorted(found.values(), key=lambda day: day.day, reverse=True)
    return DayList(since=first, until=until, items=items)


async def list_files(
    connection: AsyncConnection,
    tenant: str,
    supplier_id: str,
    filters: FileFilters,
    *,
    limit: int,
    cursor: str | None,
    total: HowTotal | None,
) -> FileList:
    """A page of a supplier's files, the newest first.

    Raises:
        NotFound: `supplier_not_found`.
    """
    this = f"supplier-files/{supplier_id}/{filters}"
    before = _FILE_CURSORS.decode(this, cursor)
    await _see(connection, tenant, supplier_id)
    query = repository.listed_files(tenant, supplier_id, filters)
    found = await repository.page_of_files(connection, query, limit=limit, before=before)
    rows, last = page_of(found, limit)
    return FileList(
        items=[File.model_validate(row) for row in rows],
        next_cursor=last and _FILE_CURSORS.encode(this, (last.day, last.occurred_at, last.id)),
        total=await total_of(connection, query, total),
    )


async def get_page(connection: AsyncConnection, tenant: str, supplier_id: str) -> SupplierPage:
    """All that is known of a supplier at a glance.

    Raises:
        NotFound: `supplier_not_found`.
    """
    supplier = await _see(connection, tenant, supplier_id)
    files, errors = await repository.totals(connection, tenant, supplier_id)
    every_file = repository.listed_files(tenant, supplier_id, FileFilters())
    latest = await repository.page_of_files(connection, every_file, limit=LATEST_FILES, before=None)
    analysis = await repository.last_analysis(connection, tenant, supplier_id)
    return SupplierPage(
        **Supplier.model_validate(supplier).model_dump(),
        totals=_numbers(files, errors.errors),
        last_good_day=files.last_good_day,
        last_stage=_latest_stage([files, errors]),
        open_investigations=errors.open_investigations,
        quarantined=await repository.quarantined(connection, tenant, supplier_id),
        latest_files=[File.model_validate(row) for row in latest[:LATEST_FILES]],
        last_analysis=None if analysis is None else LastAnalysis.model_validate(analysis),
        links=links_of(supplier_id),
    )


async def _see(connection: AsyncConnection, tenant: str, supplier_id: str) -> AnyRow:
    row = await repository.supplier(connection, tenant, supplier_id)
    if row is None:
        raise not_found(supplier_id)
    return row


async def _days(
    connection: AsyncConnection, tenant: str, supplier_ids: Sequence[str], since: date, until: date
) -> dict[tuple[str, date], Day]:
    """By supplier and day, those on which anything happened."""
    files, errors = await repository.days(connection, tenant, supplier_ids, since, until)
    files_of = {(row.supplier, row.day): row for row in files}
    errors_of: dict[tuple[str, date], list[AnyRow]] = {}
    for row in errors:
        errors_of.setdefault((row.supplier, row.day), []).append(row)
    return {key: _day(key[1], files_of.get(key), errors_of.get(key, [])) for key in files_of | errors_of}


def _day(day: date, files: AnyRow | None, errors: Sequence[AnyRow]) -> Day:
    return Day(
        **_numbers(files, sum(row.errors for row in errors)).model_dump(),
        day=day,
        last_stage=_latest_stage([*([] if files is None else [files]), *errors]),
        reasons=[ReasonCount(reason=row.reason, errors=row.errors) for row in errors],
    )


def _numbers(files: AnyRow | None, errors: int) -> Numbers:
    counted: dict[str, Any] = {}
    if files is not None:
        counted = {name: getattr(files, name) for name in Numbers.model_fields if name != "errors"}
    return Numbers(**counted, errors=errors)


def _latest_stage(rows: Iterable[AnyRow]) -> str | None:
    with_stage = [row for row in rows if row.last_stage is not None]
    if not with_stage:
        return None
    latest: str = max(with_stage, key=lambda row: row.last_at).last_stage
    return latest
