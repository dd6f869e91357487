"""HTTP: why records were not loaded."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.errors import queries
from services.results.errors.resources import RowErrorPage
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.objects import Objects
from shared.platform.paging import Cursor, Limit, StorableText
from shared.platform.tenancy import tenant_reading

_ERRORS_CSV: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "CSV (RFC 4180, UTF-8). Without row errors it is the header alone.",
        "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def errors_router(engine: AsyncEngine, auth: Authenticator, objects: Objects) -> APIRouter:
    """`/imports/{import_id}/errors`: list, and the file to mend."""
    router = APIRouter(prefix="/imports", tags=["imports"])
    reader = Depends(auth.require("imports:read"))

    @router.get(
        "/{import_id}/errors",
        summary="The row errors of an import, in file order",
        responses=problem_responses(401, 403, 404, 422, 503),
    )
    async def list_row_errors(
        *,
        import_id: UUID,
        caller: Annotated[Principal, reader],
        code: Annotated[StorableText | None, Query(description="Only errors with this code")] = None,
        column: Annotated[StorableText | None, Query(description="Only errors of this column")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> RowErrorPage:
        equal = _given(code=code, column_name=column)
        async with tenant_reading(engine, caller.tenant) as connection:
            return await queries.list_row_errors(
                connection, caller.tenant, import_id, equal=equal, cursor=cursor, limit=limit
            )

    @router.get(
        "/{import_id}/errors.csv",
        summary="Every record that was not loaded, as a file to mend and send again",
        response_class=StreamingResponse,
        responses=_ERRORS_CSV | problem_responses(401, 403, 404, 422, 503),
    )
    async def get_errors_csv(import_id: UUID, caller: Annotated[Principal, reader]) -> StreamingResponse:
        """The bad records as they came, and behind them `_line`, `_codes` and `_messages`, which uploads pass over.

        Complete, however many there are; while the import runs, what there is so far.
        """
        async with tenant_reading(engine, caller.tenant) as connection:
            file = await queries.get_error_file(connection, caller.tenant, import_id)
        chunks = file.chunks(objects)
        first = await anext(chunks)  # what is wrong with the store is said before the answer begins
        headers = {"Content-Disposition": _attachment(file.name), "Content-Length": str(file.size)}
        return StreamingResponse(
            _resumed(first, chunks), media_type="text/csv; charset=utf-8", headers=headers
        )

    return router


async def _resumed(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


def _attachment(name: str) -> str:
    """`Content-Disposition` for a download called `name`, whatever characters that has (RFC 6266, appendix D)."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _given(**filters: str | None) -> dict[str, str]:
    return {name: value for name, value in filters.items() if value is not None}
