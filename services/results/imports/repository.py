"""The SQL of imports: find and list."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.cursors import ImportPosition
from services.results.tables import (
    COUNTS,
    FACTS,
    AnyRow,
    equal_to,
    imports,
    processor_imports,
    rows_of,
    uploaded_imports,
)


async def find_import(connection: AsyncConnection, tenant: str, import_id: UUID) -> AnyRow | None:
    """One import as `results.imports` has it, what is missing there filled in from upload's view."""
    mine = select(imports).where(imports.c.tenant == tenant, imports.c.import_id == import_id).subquery()
    theirs = (
        select(uploaded_imports)
        .where(uploaded_imports.c.tenant == tenant, uploaded_imports.c.import_id == import_id)
        .subquery()
    )
    both = ("import_id", "dataset", *FACTS)
    merged = select(
        *(func.coalesce(mine.c[name], theirs.c[name]).label(name) for name in both),
        func.coalesce(mine.c.status, "pending").label("status"),
        func.coalesce(mine.c.run, 1).label("run"),
        *(func.coalesce(mine.c[name], 0).label(name) for name in COUNTS),
        *(column for column in mine.c if column.name in _ONLY_OURS),
    )
    known = merged.select_from(mine.join(theirs, mine.c.import_id == theirs.c.import_id, full=True)).where(
        func.coalesce(mine.c.uploaded_at, theirs.c.uploaded_at).is_not(None)
    )
    return (await connection.execute(known)).one_or_none()


_ONLY_OURS = frozenset(
    {"processing_started_at", "progressed_at", "processing_completed_at", "error_code", "error_message"}
)


async def find_upload(connection: AsyncConnection, tenant: str, import_id: UUID) -> AnyRow | None:
    """What upload found in the file and was asked to do with it."""
    found = select(uploaded_imports).where(
        uploaded_imports.c.tenant == tenant, uploaded_imports.c.import_id == import_id
    )
    return (await connection.execute(found)).one_or_none()


async def find_work(connection: AsyncConnection, tenant: str, import_id: UUID) -> AnyRow | None:
    """How the processor reads the import; None before it has begun."""
    found = select(processor_imports).where(
        processor_imports.c.tenant == tenant, processor_imports.c.import_id == import_id
    )
    return (await connection.execute(found)).one_or_none()


async def list_imports(
    connection: AsyncConnection,
    tenant: str,
    *,
    equal: Mapping[str, str],
    after: ImportPosition | None,
    limit: int,
) -> Sequence[AnyRow]:
    """Imports whose columns equal those in `equal`, newest first."""
    order = (imports.c.uploaded_at, imports.c.import_id)
    query = (
        select(imports)
        .where(imports.c.tenant == tenant, imports.c.uploaded_at.is_not(None), *equal_to(imports, equal))
        .order_by(*(column.desc() for column in order))
    )
    if after is not None:
        query = query.where(tuple_(*order) < after)
    return await rows_of(connection, query, limit)
