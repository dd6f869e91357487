"""The SQL of row errors: list, count and sample, as the processor's views show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.cursors import RowErrorPosition
from services.results.errors.resources import RowErrorStatus
from services.results.tables import (
    AnyRow,
    corrections,
    error_counts,
    error_files,
    fixes,
    folded,
    row_errors,
    rows_of,
)

_ORDER = (row_errors.c.row_number, row_errors.c.ordinal)


@dataclass(frozen=True)
class Filters:
    """Which row errors are wanted; None: any. `text` is looked for in value, message and record, in whatever case."""

    code: str | None = None
    column: str | None = None
    text: str | None = None
    status: RowErrorStatus | None = None


async def list_error_counts(connection: AsyncConnection, tenant: str, import_id: UUID) -> Sequence[AnyRow]:
    """How often each row error occurred in each column, the most frequent first."""
    counts = (
        select(error_counts)
        .where(error_counts.c.tenant == tenant, error_counts.c.import_id == import_id)
        .order_by(error_counts.c.count.desc(), error_counts.c.code, error_counts.c.column_name)
    )
    return (await connection.execute(counts)).all()


async def list_error_files(connection: AsyncConnection, tenant: str, import_id: UUID) -> Sequence[AnyRow]:
    """The parts of an import's error file, in their order."""
    parts = (
        select(error_files)
        .where(error_files.c.tenant == tenant, error_files.c.import_id == import_id)
        .order_by(error_files.c.part)
    )
    return (await connection.execute(parts)).all()


async def list_corrections(
    connection: AsyncConnection, tenant: str, import_ids: Sequence[UUID]
) -> Mapping[UUID, Mapping[UUID, int]]:
    """By import, how many of its records each later import has corrected, in the order in which these began to."""
    found = (
        select(corrections)
        .where(corrections.c.tenant == tenant, corrections.c.import_id.in_(import_ids))
        .order_by(corrections.c.began_at, corrections.c.by_import)
    )
    by_import: dict[UUID, dict[UUID, int]] = {}
    for row in await connection.execute(found):
        by_import.setdefault(row.import_id, {})[row.by_import] = row.rows_fixed
    return by_import


def matching(tenant: str, import_id: UUID, filters: Filters) -> Select[*tuple[Any, ...]]:
    """All row errors of an import that match, in no order, beside what has fixed them."""
    same = and_(
        fixes.c.tenant == row_errors.c.tenant,
        fixes.c.import_id == row_errors.c.import_id,
        fixes.c.line_number == row_errors.c.line_number,
    )
    return (
        select(row_errors, fixes.c.by_import, fixes.c.by_row)
        .select_from(row_errors.outerjoin(fixes, same))
        .where(row_errors.c.tenant == tenant, row_errors.c.import_id == import_id, *_conditions(filters))
    )


async def list_row_errors(
    connection: AsyncConnection,
    tenant: str,
    import_id: UUID,
    filters: Filters,
    *,
    after: RowErrorPosition | None,
    limit: int,
) -> Sequence[AnyRow]:
    """Row errors of one import that match, in file order."""
    query = matching(tenant, import_id, filters).order_by(*_ORDER)
    if after is not None:
        query = query.where(tuple_(*_ORDER) > after)
    return await rows_of(connection, query, limit)


async def sample_row_errors(
    connection: AsyncConnection, tenant: str, import_id: UUID, *, most: int
) -> Sequence[AnyRow]:
    """Up to `most` row errors of each code and column, those with different values first, each time in file order."""
    kind = (row_errors.c.code, row_errors.c.column_name)
    nth = func.row_number().over(partition_by=(*kind, row_errors.c.value), order_by=_ORDER).label("nth")
    shown = ("row_number", "ordinal", "line_number", "column_name", "code", "value", "message", "hint")
    same = (
        select(*(row_errors.c[name] for name in shown), nth)
        .where(row_errors.c.tenant == tenant, row_errors.c.import_id == import_id)
        .subquery()
    )
    place = func.row_number().over(
        partition_by=(same.c.code, same.c.column_name),
        order_by=(same.c.nth, same.c.row_number, same.c.ordinal),
    )
    placed = select(same, place.label("place")).subquery()
    sampled = select(placed).where(placed.c.place <= most)
    return (await connection.execute(sampled.order_by(placed.c.code, placed.c.place))).all()


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.code is not None:
        conditions.append(row_errors.c.code == filters.code)
    if filters.column is not None:
        conditions.append(row_errors.c.column_name == filters.column)
    if filters.text is not None:
        places = (row_errors.c.value, row_errors.c.message, row_errors.c.raw_data)
        wanted = folded(filters.text)
        conditions.append(or_(*(func.strpos(folded(place), wanted) > 0 for place in places)))
    if filters.status is not None:
        conditions.append(
            fixes.c.by_import.is_not(None) if filters.status == "fixed" else fixes.c.by_import.is_(None)
        )
    return conditions
