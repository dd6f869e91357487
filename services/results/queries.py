"""The verb of results: answer what became of an import, and what a dataset holds. All for one tenant."""

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.results import repository
from services.results.cursors import import_cursors, record_cursors, row_error_cursors
from services.results.error_file import ErrorFile, Part, error_file_name
from services.results.resources import (
    ENDED,
    ERRORS_PREVIEWED,
    Import,
    ImportDetail,
    ImportPage,
    Record,
    RecordPage,
    RowErrorPage,
    import_detail_of,
    import_of,
    record_of,
    row_error_of,
)
from services.results.tables import AnyRow, records_view
from shared.contracts.datasets import Dataset, datasets
from shared.contracts.dialect import Dialect
from shared.contracts.error_file import error_file_header
from shared.contracts.problems import NotFound
from shared.platform.paging import page_of


async def get_import(connection: AsyncConnection, tenant: str, import_id: UUID) -> Import:
    """The import as it stands.

    Raises:
        NotFound: `import_not_found`.
    """
    return import_of(await _import_row(connection, tenant, import_id), datetime.now(UTC))


async def get_import_detail(connection: AsyncConnection, tenant: str, import_id: UUID) -> ImportDetail:
    """The import as it stands, with how its file is read and what is wrong with its records.

    Raises:
        NotFound: `import_not_found`.
    """
    this = (connection, tenant, import_id)
    row = await _import_row(*this)
    return import_detail_of(
        row,
        upload=await repository.find_upload(*this),
        work=await repository.find_work(*this),
        error_counts=await repository.list_error_counts(*this),
        errors=await repository.list_row_errors(*this, equal={}, after=None, limit=ERRORS_PREVIEWED),
        now=datetime.now(UTC),
    )


async def list_imports(
    connection: AsyncConnection,
    tenant: str,
    *,
    equal: Mapping[str, str],
    cursor: str | None,
    limit: int,
) -> ImportPage:
    """A page of imports, newest first.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    after = import_cursors.decode("imports", cursor)
    rows = await repository.list_imports(connection, tenant, equal=equal, after=after, limit=limit + 1)
    now = datetime.now(UTC)
    page, last = page_of(rows, limit)
    return ImportPage(
        items=[import_of(row, now) for row in page],
        next_cursor=last and import_cursors.encode("imports", (last.uploaded_at, last.import_id)),
    )


async def list_row_errors(
    connection: AsyncConnection,
    tenant: str,
    import_id: UUID,
    *,
    equal: Mapping[str, str],
    cursor: str | None,
    limit: int,
) -> RowErrorPage:
    """A page of an import's row errors, in file order.

    Raises:
        NotFound: `import_not_found`.
        Unprocessable: `cursor_invalid`.
    """
    this = f"errors/{import_id}"
    after = row_error_cursors.decode(this, cursor)
    await _import_row(connection, tenant, import_id)
    rows = await repository.list_row_errors(
        connection, tenant, import_id, equal=equal, after=after, limit=limit + 1
    )
    page, last = page_of(rows, limit)
    return RowErrorPage(
        items=[row_error_of(row) for row in page],
        next_cursor=last and row_error_cursors.encode(this, (last.row_number, last.ordinal)),
    )


async def get_error_file(connection: AsyncConnection, tenant: str, import_id: UUID) -> ErrorFile:
    """Every record of an import that was not loaded so far, as a file.

    Raises:
        NotFound: `import_not_found`.
    """
    row = await _import_row(connection, tenant, import_id)
    upload = await repository.find_upload(connection, tenant, import_id)
    parts = await repository.list_error_files(connection, tenant, import_id)
    return ErrorFile(
        name=error_file_name(row.file_name),
        header=_error_file_header(upload) if upload else b"",
        parts=[Part(part.object_key, part.size) for part in parts],
    )


def _error_file_header(upload: AnyRow) -> bytes:
    delimiter = Dialect.model_validate(upload.dialect).delimiter
    return error_file_header(upload.header, upload.columns, upload.column_count, delimiter)


async def get_receipt(connection: AsyncConnection, tenant: str, import_id: UUID) -> dict[str, Any]:
    """The final balance of an import.

    Raises:
        NotFound: `import_not_found`; `receipt_not_ready` while it runs; `receipt_not_found` if it ended early.
    """
    row = await _import_row(connection, tenant, import_id)
    document = await repository.find_receipt(connection, tenant, import_id)
    if document is not None:
        return document
    if row.status in ENDED:
        raise NotFound(
            "receipt_not_found",
            f"import {import_id} is {row.status} and has no receipt",
            hint="only an import that reached its file's end has one; the import's own counts say what was done",
        )
    raise NotFound(
        "receipt_not_ready",
        f"import {import_id} is {row.status}; its receipt is written when it completes",
        hint="ask again when the import's status is `completed`; its `events` link tells when that is",
    )


async def list_records(
    connection: AsyncConnection, tenant: str, dataset: Dataset, *, cursor: str | None, limit: int
) -> RecordPage:
    """A page of a dataset's records, by key.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    this = f"records/{dataset.name}"
    after = record_cursors.decode(this, cursor)
    view = records_view(dataset)
    rows = await repository.list_records(connection, view, tenant, after=after, limit=limit + 1)
    page, last = page_of(rows, limit)
    return RecordPage(
        items=[record_of(row) for row in page],
        next_cursor=last and record_cursors.encode(this, last.key),
    )


async def get_record(connection: AsyncConnection, tenant: str, dataset: Dataset, key: str) -> Record:
    """One record by its key.

    Raises:
        NotFound: `record_not_found`.
    """
    row = await repository.find_record(connection, records_view(dataset), tenant, key)
    if row is None:
        raise NotFound(
            "record_not_found",
            f"dataset {dataset.name!r} has no record {key!r}",
            hint=f"the id is what `id` says in GET /api/v1/records/{dataset.name}",
        )
    return record_of(row)


def find_dataset(name: str) -> Dataset:
    """The declared dataset of that name.

    Raises:
        NotFound: `dataset_not_found`, with those there are.
    """
    declared = datasets()
    if name not in declared:
        raise NotFound(
            "dataset_not_found",
            f"there is no dataset {name!r}",
            hint=f"there are: {', '.join(declared)}",
            datasets=list(declared),
        )
    return declared[name]


def template_csv(dataset: Dataset) -> str:
    """A file to begin with: the header and one example record (RFC 4180)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(field.name for field in dataset.file_fields)
    writer.writerow(field.example for field in dataset.file_fields)
    return text.getvalue()


async def _import_row(connection: AsyncConnection, tenant: str, import_id: UUID) -> AnyRow:
    row = await repository.find_import(connection, tenant, import_id)
    if row is None:
        raise NotFound(
            "import_not_found",
            f"there is no import {import_id}",
            hint="the id is what `id` says in the answer to the upload, and in GET /api/v1/imports",
        )
    return row
