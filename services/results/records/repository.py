"""The SQL of records, as the processor's views show them."""

from collections.abc import Sequence

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.tables import AnyRow, rows_of


async def list_records(
    connection: AsyncConnection, view: Table, tenant: str, *, after: str | None, limit: int
) -> Sequence[AnyRow]:
    """Records of one dataset by key, compared byte by byte."""
    query = select(view).where(view.c.tenant == tenant).order_by(view.c.key)
    if after is not None:
        query = query.where(view.c.key > after)
    return await rows_of(connection, query, limit)


async def find_record(connection: AsyncConnection, view: Table, tenant: str, key: str) -> AnyRow | None:
    return (
        await connection.execute(select(view).where(view.c.tenant == tenant, view.c.key == key))
    ).one_or_none()
