"""The verb of imports: answer what became of them. All for one tenant."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.cursors import import_cursors
from services.results.errors import repository as row_errors
from services.results.imports import repository
from services.results.imports.filters import Filters
from services.results.imports.resources import (
    ERRORS_PREVIEWED,
    ImportDetail,
    ImportPage,
    import_detail_of,
    listed_import_of,
)
from services.results.tables import AnyRow
from shared.contracts.problems import NotFound
from shared.platform.paging import HowTotal, page_of, total_of


async def get_import_detail(connection: AsyncConnection, tenant: str, import_id: UUID) -> ImportDetail:
    """The import as it stands, with how its file is read and what is wrong with its records.

    Raises:
        NotFound: `import_not_found`.
    """
    this = (connection, tenant, import_id)
    row = await import_row(*this)
    return import_detail_of(
        row,
        upload=await repository.find_upload(*this),
        work=await repository.find_work(*this),
        error_counts=await row_errors.list_error_counts(*this),
        errors=await row_errors.list_row_errors(
            *this, row_errors.Filters(), after=None, limit=ERRORS_PREVIEWED
        ),
        corrections=(await row_errors.list_corrections(connection, tenant, [import_id])).get(import_id, {}),
        now=datetime.now(UTC),
    )


async def list_imports(
    connection: AsyncConnection,
    tenant: str,
    filters: Filters,
    *,
    cursor: str | None,
    limit: int,
    total: HowTotal | None,
) -> ImportPage:
    """A page of imports, newest first.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    after = import_cursors.decode("imports", cursor)
    rows = await repository.list_imports(connection, tenant, filters, after=after, limit=limit + 1)
    now = datetime.now(UTC)
    page, last = page_of(rows, limit)
    corrections = await row_errors.list_corrections(connection, tenant, [row.import_id for row in page])
    return ImportPage(
        items=[listed_import_of(row, now, corrections.get(row.import_id, {})) for row in page],
        next_cursor=last and import_cursors.encode("imports", (last.uploaded_at, last.import_id)),
        total=await total_of(connection, repository.matching(tenant, filters), total),
    )


async def import_row(connection: AsyncConnection, tenant: str, import_id: UUID) -> AnyRow:
    """The import as the read model has it.

    Raises:
        NotFound: `import_not_found`.
    """
    row = await repository.find_import(connection, tenant, import_id)
    if row is None:
        raise NotFound(
            "import_not_found",
            f"there is no import {import_id}",
            hint="the id is what `id` says in the answer to the upload, and in GET /api/v1/imports",
        )
    return row
