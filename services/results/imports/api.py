"""HTTP: what became of imports."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.imports import queries
from services.results.imports.resources import ImportDetail, ImportPage, Status
from services.results.imports.stream import STREAM_HEADERS, EventStream, Watches
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, StorableText
from shared.platform.tenancy import tenant_reading

_EVENT = {
    "type": "object",
    "required": ["event", "id", "data"],
    "properties": {
        "event": {"const": "import"},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-Sent Events named `import`: each carries the import as `GET /imports/{import_id}`"
        " gives it, without what only that tells (`options` to `errors_preview`). The last one has the status"
        " `completed`, `failed` or `cancelled`.",
        "content": {
            "text/event-stream": {"itemSchema": _EVENT}
        },  # as OpenAPI 3.2 has it, and FastAPI writes it
    }
}


def imports_router(engine: AsyncEngine, auth: Authenticator, watches: Watches) -> APIRouter:
    """`/imports`: list, get, follow."""
    router = APIRouter(prefix="/imports", tags=["imports"])
    reader = Depends(auth.require("imports:read"))

    @router.get("", summary="List imports, newest first", responses=problem_responses(401, 403, 422, 503))
    async def list_imports(
        *,
        caller: Annotated[Principal, reader],
        status: Annotated[Status | None, Query(description="Only imports with this status")] = None,
        dataset: Annotated[StorableText | None, Query(description="Only files of this dataset")] = None,
        source: Annotated[StorableText | None, Query(description="Only files of this source")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> ImportPage:
        equal = _given(status=status, dataset=dataset, source=source)
        async with tenant_reading(engine, caller.tenant) as connection:
            return await queries.list_imports(
                connection, caller.tenant, equal=equal, cursor=cursor, limit=limit
            )

    @router.get(
        "/{import_id}",
        summary="An import: status, counts, first row errors",
        responses=problem_responses(401, 403, 404, 422, 503),
    )
    async def get_import(import_id: UUID, caller: Annotated[Principal, reader]) -> ImportDetail:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await queries.get_import_detail(connection, caller.tenant, import_id)

    @router.get(
        "/{import_id}/events",
        summary="Follow an import live (Server-Sent Events)",
        response_class=EventStream,
        responses=_EVENTS | problem_responses(401, 403, 404, 422, 503),
    )
    async def follow_import(import_id: UUID, caller: Annotated[Principal, reader]) -> EventStream:
        async with tenant_reading(engine, caller.tenant) as connection:
            current = await queries.get_import(connection, caller.tenant, import_id)
        return EventStream(watches.follow(caller.tenant, current), headers=STREAM_HEADERS)

    return router


def _given(**filters: str | None) -> dict[str, str]:
    return {name: value for name, value in filters.items() if value is not None}
