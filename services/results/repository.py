"""The SQL of results: merge events into the read model, in whatever order they come; find and list."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.cursors import ImportPosition, RowErrorPosition
from services.results.tables import COUNTS, FACTS, AnyRow, imports, receipts, row_errors, uploaded_imports
from shared.contracts.events import Counts, ImportCompleted, ImportFailed, ImportProgressed, ImportUploaded

_RUNNING = imports.c.status.in_(("pending", "processing"))


async def add_uploaded(connection: AsyncConnection, tenant: str, event: ImportUploaded) -> None:
    """Know the file; how far it is stays as later events may have told already."""
    values = {name: getattr(event, name) for name in FACTS}
    row = _row(tenant, event, status="pending", **values)
    await connection.execute(row.on_conflict_do_update(index_elements=_KEY, set_=_excluded(row, values)))


async def add_progress(
    connection: AsyncConnection, tenant: str, event: ImportProgressed, at: datetime
) -> None:
    """Move the import forward to what was true `at`; never backwards, and never once it has ended."""
    values = _counts(event) | {
        "status": "processing",
        "processing_started_at": event.processing_started_at,
        "progressed_at": at,
    }
    row = _row(tenant, event, **values)
    further = or_(imports.c.status == "pending", imports.c.rows_processed < row.excluded.rows_processed)
    await connection.execute(
        row.on_conflict_do_update(
            index_elements=_KEY, set_=_excluded(row, values), where=and_(_RUNNING, further)
        )
    )


async def add_completed(connection: AsyncConnection, tenant: str, event: ImportCompleted) -> None:
    """End the import; what has ended already stays as it is."""
    await _end(connection, tenant, event, status="completed", error_code=None, error_message=None)


async def add_failed(connection: AsyncConnection, tenant: str, event: ImportFailed) -> None:
    """End the import with its reason; what has ended already stays as it is."""
    await _end(
        connection,
        tenant,
        event,
        status="failed",
        error_code=event.error_code,
        error_message=event.error_message,
    )


async def _end(
    connection: AsyncConnection, tenant: str, event: ImportCompleted | ImportFailed, **outcome: str | None
) -> None:
    values = (
        _counts(event)
        | outcome
        | {
            "processing_started_at": event.processing_started_at,
            "processing_completed_at": event.processing_completed_at,
            # Progress that arrives after the end leaves no trace, so progress before it must not leave one either.
            "progressed_at": None,
        }
    )
    row = _row(tenant, event, **values)
    await connection.execute(
        row.on_conflict_do_update(index_elements=_KEY, set_=_excluded(row, values), where=_RUNNING)
    )


_KEY = ("tenant", "import_id")


def _row(
    tenant: str,
    event: ImportUploaded | ImportProgressed | ImportCompleted | ImportFailed,
    **values: Any,
) -> Insert:
    return insert(imports).values(tenant=tenant, import_id=event.import_id, dataset=event.dataset, **values)


def _excluded(row: Insert, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.excluded[name] for name in values}


def _counts(event: Counts) -> dict[str, Any]:
    return {name: getattr(event, name) for name in COUNTS}


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
        .where(imports.c.tenant == tenant, imports.c.uploaded_at.is_not(None), *_equal(imports, equal))
        .order_by(*(column.desc() for column in order))
    )
    if after is not None:
        query = query.where(tuple_(*order) < after)
    return await _rows(connection, query, limit)


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
        .where(row_errors.c.tenant == tenant, row_errors.c.import_id == import_id, *_equal(row_errors, equal))
        .order_by(*order)
    )
    if after is not None:
        query = query.where(tuple_(*order) > after)
    return await _rows(connection, query, limit)


async def find_receipt(connection: AsyncConnection, tenant: str, import_id: UUID) -> dict[str, Any] | None:
    document: dict[str, Any] | None = await connection.scalar(
        select(receipts.c.document).where(receipts.c.tenant == tenant, receipts.c.import_id == import_id)
    )
    return document


async def list_records(
    connection: AsyncConnection, view: Table, tenant: str, *, after: str | None, limit: int
) -> Sequence[AnyRow]:
    """Records of one dataset by key, compared byte by byte."""
    query = select(view).where(view.c.tenant == tenant).order_by(view.c.key)
    if after is not None:
        query = query.where(view.c.key > after)
    return await _rows(connection, query, limit)


async def find_record(connection: AsyncConnection, view: Table, tenant: str, key: str) -> AnyRow | None:
    return (
        await connection.execute(select(view).where(view.c.tenant == tenant, view.c.key == key))
    ).one_or_none()


def _equal(table: Table, values: Mapping[str, str]) -> list[ColumnElement[bool]]:
    return [table.c[name] == value for name, value in values.items()]


async def _rows(connection: AsyncConnection, query: Select[*tuple[Any, ...]], limit: int) -> Sequence[AnyRow]:
    return (await connection.execute(query.limit(limit))).all()
