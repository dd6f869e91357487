"""The verb of row errors: answer why records of an import were not loaded. All for one tenant."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.cursors import row_error_cursors
from services.results.errors import repository
from services.results.errors.error_file import ErrorFile, Part, error_file_name
from services.results.errors.resources import RowErrorPage, row_error_of
from services.results.imports.queries import import_row
from services.results.imports.repository import find_upload
from services.results.tables import AnyRow
from shared.contracts.dialect import Dialect
from shared.contracts.error_file import error_file_header
from shared.platform.paging import page_of


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
    await import_row(connection, tenant, import_id)
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
    row = await import_row(connection, tenant, import_id)
    upload = await find_upload(connection, tenant, import_id)
    parts = await repository.list_error_files(connection, tenant, import_id)
    return ErrorFile(
        name=error_file_name(row.file_name),
        header=_error_file_header(upload) if upload else b"",
        parts=[Part(part.object_key, part.size) for part in parts],
    )


def _error_file_header(upload: AnyRow) -> bytes:
    delimiter = Dialect.model_validate(upload.dialect).delimiter
    return error_file_header(upload.header, upload.columns, upload.column_count, delimiter)
