"""HTTP: what became of imports."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.datasets.queries import find_dataset
from services.results.imports import queries
from services.results.imports.feed import OPEN_SHOWN
from services.results.imports.filters import Filters
from services.results.imports.resources import ImportDetail, ImportPage, Status
from services.results.imports.states import moment_in
from services.results.imports.stream import QUIET_SECONDS, STREAM_HEADERS, EventStream, Wanted, Watches
from shared.platform.auth import Authenticator, Permit, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, StorableText, Total
from shared.platform.parameters import RequestedMoment, only_known
from shared.platform.querying import tenant_querying
from shared.platform.tenancy import tenant_reading

QUERY_SECONDS = 10.0  # for a page: by a part of a file's name, each of a tenant's imports is looked at
_NARROW = "narrow it, best by `uploaded_from` and `uploaded_to`; leave out `total=exact`"

_EVENT = {
    "type": "object",
    "required": ["event", "id", "data"],
    "properties": {
        "event": {"const": "import"},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_STREAM = {"text/event-stream": {"itemSchema": _EVENT}}  # as OpenAPI 3.2 has it, and FastAPI writes it
_EVENTS_OF_ONE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-Sent Events named `import`: each carries the import as `GET /imports` lists it, but for"
        " `rows_corrected`, which may change after the end. The first one comes at once, then"
        " one with each change, and at least one a second. The last one has the status `completed`, `failed` or"
        " `cancelled`. The stream may end before that, when a process of ours stops, and when the token expires or is"
        " revoked: connect again.",
        "content": _STREAM,
    },
    204: {
        "description": "`Last-Event-ID` names the end of the import: there is nothing more to tell."
        " An `EventSource` then stops connecting again."
    },
}
_EVENTS_OF_ALL: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-Sent Events named `import`, each with an import as `GET /imports` lists it, but for"
        " `rows_corrected`. First come"
        f" those that have not ended, newest first, {OPEN_SHOWN} at most"
        " (`GET /imports?status=pending&status=processing` lists all of them); then one with each change of any import,"
        " its upload and its end too, until the client goes; what changes faster than a client reads, it is told"
        " the newest of. A comment comes each second while an import is processed and nothing changes, else each"
        f" {QUIET_SECONDS:.0f} s. The stream ends when a process of ours stops, when the token expires or is revoked, and"
        " for a client that did not read for long: connect again.",
        "content": _STREAM,
    }
}

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="The `id` of the last event that came before the connection broke; an `EventSource` sends it by"
        " itself. What is no such id counts as none.",
    ),
]


def imports_router(engine: AsyncEngine, auth: Authenticator, watches: Watches) -> APIRouter:
    """`/imports`: list, get, follow."""
    router = APIRouter(prefix="/api/v1/imports", tags=["imports"])
    reader = Depends(auth.require("imports:read"))
    follower = Depends(auth.permit("imports:read"))

    @router.get(
        "",
        summary="List imports, newest first",
        responses=problem_responses(401, 403, 422, 503),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_imports(
        *,
        caller: Annotated[Principal, reader],
        status: Annotated[
            list[Status] | None,
            Query(description="Only imports with this status; may be given more than once, for any of them"),
        ] = None,
        dataset: Annotated[StorableText | None, Query(description="Only files of this dataset")] = None,
        source: Annotated[StorableText | None, Query(description="Only files of this source")] = None,
        uploaded_from: Annotated[
            RequestedMoment | None,
            Query(description="Only files uploaded at this moment or later; a date is its midnight in UTC"),
        ] = None,
        uploaded_to: Annotated[
            RequestedMoment | None,
            Query(
                description="Only files uploaded before this moment; a date is its midnight in UTC, so that day is left out"
            ),
        ] = None,
        file_name: Annotated[
            StorableText | None,
            Query(description="Only files with this in their name, in whatever case", max_length=255),
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> ImportPage:
        filters = Filters(tuple(status or ()), dataset, source, uploaded_from, uploaded_to, file_name)
        async with tenant_querying(
            engine, caller.tenant, seconds=QUERY_SECONDS, what="imports", hint=_NARROW
        ) as connection:
            return await queries.list_imports(
                connection, caller.tenant, filters, cursor=cursor, limit=limit, total=total
            )

    @router.get(
        "/events",
        summary="Follow all imports live (Server-Sent Events)",
        description="With `Last-Event-ID`, what has changed since that event comes as well, behind the imports that have"
        " not ended. Some of it may have come before: an event tells how an import stands, so that twice is as good as once.",
        response_class=EventStream,
        responses=_EVENTS_OF_ALL | problem_responses(401, 403, 404, 422, 429, 503),
    )
    async def follow_all_imports(
        permit: Annotated[Permit, follower],
        dataset: Annotated[StorableText | None, Query(description="Only files of this dataset")] = None,
        source: Annotated[StorableText | None, Query(description="Only files of this source")] = None,
        last_event_id: LastEventId = None,
    ) -> EventStream:
        if dataset is not None:
            find_dataset(dataset)
        watches.admit(permit.caller.tenant)
        events = watches.follow_all(permit.caller.tenant, Wanted(dataset, source), moment_in(last_event_id))
        # Read before the answer begins: what goes wrong can then still be answered.
        return EventStream(_permitted(events, permit, await anext(events)), headers=STREAM_HEADERS)

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
        responses=_EVENTS_OF_ONE | problem_responses(401, 403, 404, 422, 429, 503),
    )
    async def follow_import(
        import_id: UUID, permit: Annotated[Permit, follower], last_event_id: LastEventId = None
    ) -> Response:
        tenant = permit.caller.tenant
        current = await watches.present(tenant, import_id)
        if current.has_ended and last_event_id == current.event_id:
            return Response(status_code=204)
        watches.admit(tenant)
        return EventStream(_permitted(watches.follow(tenant, current), permit), headers=STREAM_HEADERS)

    return router


async def _permitted(
    frames: AsyncGenerator[bytes], permit: Permit, first: bytes = b""
) -> AsyncIterator[bytes]:
    """`first`, if it has been read already, and the `frames`, for as long as the caller may have them."""
    async with aclosing(frames):
        if first:
            yield first
        async for frame in frames:
            if not await permit.holds():
                return
            yield frame
