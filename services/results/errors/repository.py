"""The SQL of row errors: list and count, as the processor's views show them."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.cursors import RowErrorPosition
from services.results.tables import AnyRow, equal_to, error_counts, error_files, row_errors, rows_of


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


async def list_row_errors(
    connection: AsyncConnection,
    tenant: str,
    import_id: UUID,
    *,
    equal: Mapping[str, str],
    after: RowErrorPosition | None,
    limit: int,
) -> Sequence[AnyRow]:
    """Row errors of one import whose columns equal those in `equal`, in file order."""
    order = (row_errors.c.row_number, row_errors.c.ordinal)
    query = (
        select(row_errors)
        .where(
            row_errors.c.tenant == tenant, row_errors.c.import_id == import_id, *equal_to(row_errors, equal)
        )
        .order_by(*order)
    )
    if after is not None:
        query = query.where(tuple_(*order) > after)
    return await rows_of(connection, query, limit)
