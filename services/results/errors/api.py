"""HTTP: why records were not loaded."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.downloads import attachment, begun
from services.results.errors import queries
from services.results.errors.repository import Filters
from services.results.errors.resources import ErrorSummary, RowErrorPage, RowErrorStatus
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.objects import Objects
from shared.platform.paging import Cursor, Limit, StorableText, Total
from shared.platform.parameters import only_known
from shared.platform.tenancy import tenant_reading

MAX_TEXT = 200  # characters to look for

_ERRORS_CSV: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "CSV (RFC 4180, UTF-8). Without row errors it is the header alone.",
        "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def errors_router(engine: AsyncEngine, auth: Authenticator, objects: Objects) -> APIRouter:
    """`/imports/{import_id}/errors`: list, and the file to mend."""
    router = APIRouter(prefix="/api/v1/imports", tags=["imports"])
    reader = Depends(auth.require("imports:read"))

    @router.get(
        "/{import_id}/errors",
        summary="The row errors of an import, in file order",
        responses=problem_responses(401, 403, 404, 410, 422, 503),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_row_errors(
        *,
        import_id: UUID,
        caller: Annotated[Principal, reader],
        code: Annotated[StorableText | None, Query(description="Only errors with this code")] = None,
        column: Annotated[StorableText | None, Query(description="Only errors of this column")] = None,
        text: Annotated[
            StorableText | None,
            Query(
                description="Only errors with this in their value, message or record, in whatever case",
                min_length=1,
                max_length=MAX_TEXT,
            ),
        ] = None,
        status: Annotated[
            RowErrorStatus | None,
            Query(description="Only errors that are open, or that a later import has fixed"),
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> RowErrorPage:
        """Those that are kept: the first 10,000 of an import, unless the processor is set otherwise. `errors.csv` has all."""
        filters = Filters(code, column, text, status)
        async with tenant_reading(engine, caller.tenant) as connection:
            return await queries.list_row_errors(
                connection, caller.tenant, import_id, filters, cursor=cursor, limit=limit, total=total
            )

    @router.get(
        "/{import_id}/errors/summary",
        summary="The row errors of an import by what they are, with examples and the likely cause",
        responses=problem_responses(401, 403, 404, 422, 503),
    )
    async def get_errors_summary(import_id: UUID, caller: Annotated[Principal, reader]) -> ErrorSummary:
        """One group for each code and column. While the import runs, what there is so far."""
        async with tenant_reading(engine, caller.tenant) as connection:
            return await queries.get_summary(connection, caller.tenant, import_id)

    @router.get(
        "/{import_id}/errors.csv",
        summary="Every record that was not loaded, as a file to mend and send again",
        response_class=StreamingResponse,
        responses=_ERRORS_CSV | problem_responses(401, 403, 404, 410, 422, 503),
    )
    async def get_errors_csv(import_id: UUID, caller: Annotated[Principal, reader]) -> StreamingResponse:
        """The bad records as they came, and behind them `_line`, `_codes` and `_messages`, which uploads pass over.

        Corrected, it may be uploaded as it is with `corrects`: the records that are loaded then close their row errors. A
        cell that a spreadsheet would run as a formula has an apostrophe before it, which the upload takes off again.

        Complete, however many there are; while the import runs, what there is so far. It has every record that this
        import did not load, also those that a later import has corrected since: the next round begins from the `errors.csv`
        of that import, which has what is still wrong.
        """
        async with tenant_reading(engine, caller.tenant) as connection:
            file = await queries.get_error_file(connection, caller.tenant, import_id)
        chunks = await begun(file.chunks(objects))
        headers = {"Content-Disposition": attachment(file.name), "Content-Length": str(file.size)}
        return StreamingResponse(chunks, media_type="text/csv; charset=utf-8", headers=headers)

    return router
