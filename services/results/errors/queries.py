"""The verb of row errors: answer why records of an import were not loaded. All for one tenant."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.cursors import row_error_cursors
from services.results.errors import repository
from services.results.errors.causes import Evidence, likely_cause
from services.results.errors.error_file import ErrorFile, Part, error_file_name
from services.results.errors.repository import Filters
from services.results.errors.resources import (
    EXAMPLES,
    ErrorExample,
    ErrorGroup,
    ErrorSummary,
    RowErrorPage,
    row_error_of,
)
from services.results.imports.queries import import_row
from services.results.imports.repository import find_upload, find_work
from services.results.imports.resources import errors_removed_at
from services.results.tables import AnyRow
from shared.contracts.datasets import row_errors_in
from shared.contracts.dialect import Dialect
from shared.contracts.error_file import error_file_header
from shared.contracts.problems import Removed
from shared.platform.paging import HowTotal, page_of, total_of

LOOKED_AT = 200  # row errors of each kind, to see what has caused them


async def list_row_errors(
    connection: AsyncConnection,
    tenant: str,
    import_id: UUID,
    filters: Filters,
    *,
    cursor: str | None,
    limit: int,
    total: HowTotal | None,
) -> RowErrorPage:
    """A page of an import's row errors, in file order.

    Raises:
        NotFound: `import_not_found`.
        Removed: `errors_removed`.
        Unprocessable: `cursor_invalid`.
    """
    this = f"errors/{import_id}"
    after = row_error_cursors.decode(this, cursor)
    row = await import_row(connection, tenant, import_id)
    await _check_kept(connection, tenant, row)
    rows = await repository.list_row_errors(
        connection, tenant, import_id, filters, after=after, limit=limit + 1
    )
    page, last = page_of(rows, limit)
    return RowErrorPage(
        items=[row_error_of(row) for row in page],
        next_cursor=last and row_error_cursors.encode(this, (last.row_number, last.ordinal)),
        total=await total_of(connection, repository.matching(tenant, import_id, filters), total),
    )


async def get_summary(connection: AsyncConnection, tenant: str, import_id: UUID) -> ErrorSummary:
    """The row errors of an import by what they are.

    Raises:
        NotFound: `import_not_found`.
    """
    row = await import_row(connection, tenant, import_id)
    upload = await find_upload(connection, tenant, import_id)
    dialect = Dialect.model_validate(upload.dialect) if upload else Dialect()
    samples: dict[tuple[str, str | None], list[AnyRow]] = defaultdict(list)
    for error in await repository.sample_row_errors(connection, tenant, import_id, most=LOOKED_AT):
        samples[error.code, error.column_name].append(error)
    counts = await repository.list_error_counts(connection, tenant, import_id)
    corrected = (await repository.list_corrections(connection, tenant, [import_id])).get(import_id, {})
    return ErrorSummary(
        import_id=import_id,
        rows_processed=row.rows_processed,
        rows_with_errors=row_errors_in(row.dataset, rejected=row.rows_rejected, duplicate=row.rows_duplicate),
        rows_corrected=sum(corrected.values()),
        groups=[
            _group(each, samples[each.code, each.column_name or None], row.rows_processed, dialect)
            for each in counts
        ],
    )


def _group(counted: AnyRow, sample: Sequence[AnyRow], rows_processed: int, dialect: Dialect) -> ErrorGroup:
    count: int = counted._mapping["count"]
    evidence = Evidence(
        code=counted.code,
        count=count,
        rows_processed=rows_processed,
        values=[error.value for error in sample if error.value is not None],
        messages=[error.message for error in sample],
        dialect=dialect,
    )
    return ErrorGroup(
        code=counted.code,
        column=counted.column_name or None,
        count=count,
        share=count / max(rows_processed, count),  # what is told of progress may be late
        examples=[
            ErrorExample(row_number=error.row_number, line_number=error.line_number, value=error.value)
            for error in sample[:EXAMPLES]
        ],
        likely_cause=likely_cause(evidence),
        hint=sample[0].hint if sample else None,
    )


async def get_error_file(connection: AsyncConnection, tenant: str, import_id: UUID) -> ErrorFile:
    """Every record of an import that was not loaded so far, as a file.

    Raises:
        NotFound: `import_not_found`.
        Removed: `errors_removed`.
    """
    row = await import_row(connection, tenant, import_id)
    await _check_kept(connection, tenant, row)
    upload = await find_upload(connection, tenant, import_id)
    parts = await repository.list_error_files(connection, tenant, import_id)
    return ErrorFile(
        name=error_file_name(row.file_name),
        header=_error_file_header(upload) if upload else b"",
        parts=[Part(part.object_key, part.size) for part in parts],
    )


async def _check_kept(connection: AsyncConnection, tenant: str, row: AnyRow) -> None:
    work = await find_work(connection, tenant, row.import_id)
    removed_at = errors_removed_at(row, work)
    if removed_at is not None:
        raise Removed(
            "errors_removed",
            f"the row errors of import {row.import_id} were removed at {removed_at:%Y-%m-%d}",
            hint="their numbers are at `errors/summary`; to have all, send the file again with `dry_run`",
        )


def _error_file_header(upload: AnyRow) -> bytes:
    delimiter = Dialect.model_validate(upload.dialect).delimiter
    return error_file_header(upload.header, upload.columns, upload.column_count, delimiter)
