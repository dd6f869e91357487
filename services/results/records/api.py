"""HTTP: the records of every dataset. Each dataset has routes of its own, described by its declaration."""

from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.routing import Match
from starlette.types import Scope

from services.results.datasets.api import Declared
from services.results.records import queries
from services.results.records.described import list_parameters
from services.results.records.export import LEAST_BYTES, PATIENCE_SECONDS, Export, ExportFormat, export
from services.results.records.models import page_model, record_model
from services.results.records.resources import ShownRecord
from shared.contracts.datasets import Dataset, datasets
from shared.contracts.record_etag import ANY, TagsInvalid, etag_header, tags_in
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, StorableText, Total
from shared.platform.querying import Copies, tenant_querying
from shared.platform.tenancy import tenant_reading

QUERY_SECONDS = 10.0  # for a page; it takes a second or two to look at a million records

_JSON = "application/json"
_NO_ROWS = "Without a record it is the header alone."
_EXPORTS: dict[ExportFormat, dict[str, Any]] = {
    "csv": {
        "description": f"CSV (RFC 4180, UTF-8, LF). {_NO_ROWS}",
        "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}},
    },
    "ndjson": {
        "description": "One JSON object a line, as the list shows it",
        "content": {"application/x-ndjson": {"schema": {"type": "string", "format": "binary"}}},
    },
}
_ETAG = {"ETag": {"description": "Changes with every change of the record", "schema": {"type": "string"}}}
_UNCHANGED = {"description": "The record is as `If-None-Match` says; no body", "headers": _ETAG}


def records_router(engine: AsyncEngine, auth: Authenticator, copies: Copies) -> APIRouter:
    """`/records/{dataset}`: list, export and get."""
    router = APIRouter(prefix="/api/v1/records", tags=["records"])
    reader = Depends(auth.require("records:read"))
    for dataset in datasets().values():
        _add_list(router, reader, engine, dataset)
        for export_format in _EXPORTS:
            _add_export(router, reader, copies, dataset, export_format)
        _add_get(router, reader, engine, dataset)
    _add_unknown(router, reader, Depends(auth.require("records:write")))
    return router


def _add_list(router: APIRouter, reader: Any, engine: AsyncEngine, dataset: Dataset) -> None:
    @router.get(
        f"/{dataset.name}",
        summary=f"List {dataset.name}",
        description=f"{dataset.description} Filters are joined by and.",
        name=f"list_{dataset.table}",
        response_model=page_model(dataset),
        openapi_extra={"parameters": list_parameters(dataset)},
        responses=problem_responses(401, 403, 422, 503),
    )
    async def list_records(
        request: Request,
        caller: Annotated[Principal, reader],
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> Response:
        query = request.query_params.multi_items()
        listed = queries.listed_of(dataset, caller.tenant, query)
        asked = queries.asked_page(listed, query, cursor=cursor, limit=limit)
        async with tenant_querying(engine, caller.tenant, seconds=QUERY_SECONDS) as connection:
            return Response(await queries.list_records(connection, asked, total=total), media_type=_JSON)


def _add_export(
    router: APIRouter, reader: Any, copies: Copies, dataset: Dataset, export_format: ExportFormat
) -> None:
    @router.get(
        f"/{dataset.name}.{export_format}",
        summary=f"All {dataset.name} as {export_format.upper()}",
        description="Takes the filters and the order of the list, and has no pages: whatever matches comes, in constant"
        " memory, from one consistent snapshot. A file that could not be finished ends with a broken connection. So does"
        f" one whose client reads less than {LEAST_BYTES // 1024**2} MiB within {PATIENCE_SECONDS / 60:g} minutes. One tenant"
        " has half of the exports that run at a time; beyond that the answer is 503 (`exports_busy`). CSV has"
        " the declared fields, exactly as they are, and may be imported again; a spreadsheet may run cells that begin"
        " with `=`, `+`, `-` or `@`.",
        name=f"export_{dataset.table}_{export_format}",
        response_class=Response,
        openapi_extra={"parameters": list_parameters(dataset)},
        responses={200: _EXPORTS[export_format], **problem_responses(401, 403, 422, 503)},
    )
    async def export_records(request: Request, caller: Annotated[Principal, reader]) -> Export:
        query = request.query_params.multi_items()
        listed = queries.listed_of(dataset, caller.tenant, query, paged=False)
        return await export(copies, listed, export_format)


def _add_get(router: APIRouter, reader: Any, engine: AsyncEngine, dataset: Dataset) -> None:
    @router.get(
        f"/{dataset.name}/{{record_id:path}}",
        summary=f"One {dataset.noun.replace('-', ' ')}",
        name=f"get_{dataset.table}",
        response_model=record_model(dataset),
        responses={200: {"headers": _ETAG}, 304: _UNCHANGED, **problem_responses(401, 403, 404, 422, 503)},
    )
    async def get_record(
        caller: Annotated[Principal, reader],
        record_id: Annotated[StorableText, Path(description="The record's `id`; may contain `/`")],
        if_none_match: Annotated[
            str | None, Header(description="Entity tags; with the record's among them the answer is 304")
        ] = None,
    ) -> Response:
        async with tenant_reading(engine, caller.tenant) as connection:
            record = await queries.get_record(connection, caller.tenant, dataset, record_id)
        headers = {"ETag": etag_header(record.etag)}
        if _is_known(record, if_none_match):
            return Response(status_code=304, headers=headers)
        return Response(record.content, media_type=_JSON, headers=headers)


def _is_known(record: ShownRecord, if_none_match: str | None) -> bool:
    """Whether the caller has the record as it is. A condition that cannot be read is none."""
    if if_none_match is None:
        return False
    try:
        tags = tags_in(if_none_match, weak=True)
    except TagsInvalid:
        return False
    return ANY in tags or record.etag in tags


class _UnknownRoute(APIRoute):
    """Takes only what names no dataset: a method that a dataset's own routes lack is not theirs."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match is not Match.NONE and found["path_params"]["dataset"] in _named():
            return Match.NONE, {}
        return match, found


@cache
def _named() -> frozenset[str]:
    endings = ("", *(f".{export_format}" for export_format in _EXPORTS))
    return frozenset(f"{name}{ending}" for name in datasets() for ending in endings)


def _add_unknown(router: APIRouter, reader: Any, writer: Any) -> None:
    """Routes for datasets that there are not: they say which ones there are."""

    async def find_no_dataset(declared: Declared) -> Dataset:
        return declared

    paths = {"/{dataset}": ["POST", "DELETE"], "/{dataset}/{record_id:path}": ["PUT", "PATCH", "DELETE"]}
    for path, writing in paths.items():
        for methods, caller in ((["GET"], reader), (writing, writer)):
            router.add_api_route(
                path,
                find_no_dataset,
                methods=methods,
                dependencies=[caller],
                include_in_schema=False,
                route_class_override=_UnknownRoute,
            )
