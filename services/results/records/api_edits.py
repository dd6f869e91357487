"""HTTP: records are created, replaced, patched and deleted, of the datasets that may be edited."""

import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from services.results.records.editing import Edits
from services.results.records.models import (
    create_model_of,
    lenient,
    patch_model_of,
    record_model,
    replace_model_of,
)
from services.results.records.repository_edits import Reply
from shared.contracts.datasets import Dataset, datasets
from shared.contracts.events import (
    FieldValue,
    RecordCreate,
    RecordDelete,
    RecordPatch,
    RecordReplace,
    RecordsDeleteAll,
)
from shared.contracts.problems import MethodNotAllowed, Unprocessable
from shared.contracts.record_edits import record_path
from shared.contracts.record_etag import TagsInvalid, etag_header, tags_in
from shared.contracts.record_keys import record_key
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import RefusingRoute, problem_responses
from shared.platform.paging import StorableText

INTEGER_DIGITS = 100  # of a JSON number that is read as an integer; the largest that is kept has 19

_PROBLEMS = (401, 403, 422, 503, 504)
_ETAG: Mapping[str, Any] = {"description": "The record's entity tag now", "schema": {"type": "string"}}
_LOCATION: Mapping[str, Any] = {"description": "Where the record is", "schema": {"type": "string"}}

RecordId = Annotated[StorableText, Path(description="The record's `id`; may contain `/`")]
IfMatch = Annotated[
    str | None,
    Header(
        description="Entity tags (`ETag`) of which the record must have one, or `*`. Without it the record may have"
        " changed since it was read."
    ),
]


class Deleted(BaseModel):
    deleted: int = Field(description="How many records there were")


class _ExactRequest(Request):
    """A request whose JSON numbers keep all their digits: a price is no binary fraction."""

    async def json(self) -> Any:
        return json.loads(await self.body(), parse_float=Decimal, parse_int=_integer)


class ExactRoute(APIRoute):
    """A route that reads its body as `_ExactRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_exactly(request: Request) -> Response:
            return await handle(_ExactRequest(request.scope, request.receive))

        return handle_exactly


def edits_router(auth: Authenticator, edits: Edits) -> APIRouter:
    """`/records/{dataset}`: what changes records."""
    router = APIRouter(prefix="/api/v1/records", tags=["records"], route_class=ExactRoute)
    for dataset in datasets().values():
        if dataset.editable:
            _add_creating(router, auth, edits, dataset)
            _add_changing(router, auth, edits, dataset)
            _add_deleting(router, auth, edits, dataset)
        else:
            _add_refusing(router, auth, dataset)
    return router


def _add_creating(router: APIRouter, auth: Authenticator, edits: Edits, dataset: Dataset) -> None:
    writer = Depends(auth.require("records:write"))

    @router.post(
        f"/{dataset.name}",
        name=f"create_{dataset.table}",
        summary=f"Create a {dataset.noun}",
        description="It is checked as a record of a file is; `errors` have the codes of row errors.",
        status_code=201,
        response_model=record_model(dataset),
        responses=_with_headers(201, ETag=_ETAG, Location=_LOCATION) | problem_responses(*_PROBLEMS, 409),
    )
    async def create_record(
        caller: Annotated[Principal, writer],
        body: lenient(dataset, create_model_of(dataset)),  # type: ignore[valid-type]
    ) -> Response:
        command = RecordCreate(**_by(caller, dataset), values=_values(dataset, body))
        reply = await edits.ask(caller.tenant, dataset, command)
        return _shown(dataset, reply, created=True)


def _add_changing(router: APIRouter, auth: Authenticator, edits: Edits, dataset: Dataset) -> None:
    writer = Depends(auth.require("records:write"))
    path = f"/{dataset.name}/{{record_id:path}}"
    same: Mapping[str, Any] = {
        "response_model": record_model(dataset),
        "responses": _with_headers(200, ETag=_ETAG) | problem_responses(*_PROBLEMS, 404, 412),
    }

    @router.put(
        path,
        name=f"replace_{dataset.table}",
        summary=f"Replace a {dataset.noun}",
        description="What the body leaves out gets its default, or no value. The key stays. A record may be sent back as"
        " `GET` shows it: the members that no edit sets are passed over.",
        **same,
    )
    async def replace_record(
        caller: Annotated[Principal, writer],
        record_id: RecordId,
        body: lenient(dataset, replace_model_of(dataset)),  # type: ignore[valid-type]
        if_match: IfMatch = None,
    ) -> Response:
        named = _by(caller, dataset) | _named(dataset, record_id, if_match)
        command = RecordReplace(**named, values=_values(dataset, body))
        return _shown(dataset, await edits.ask(caller.tenant, dataset, command))

    @router.patch(
        path,
        name=f"patch_{dataset.table}",
        summary=f"Change a {dataset.noun}",
        description="JSON merge patch (RFC 7396): what the body leaves out stays, null removes a value.",
        openapi_extra={"requestBody": {"content": _merge_patch(dataset)}},
        **same,
    )
    async def patch_record(
        caller: Annotated[Principal, writer],
        record_id: RecordId,
        body: patch_model_of(dataset),  # type: ignore[valid-type]
        if_match: IfMatch = None,
    ) -> Response:
        named = _by(caller, dataset) | _named(dataset, record_id, if_match)
        command = RecordPatch(**named, values=_values(dataset, body))
        return _shown(dataset, await edits.ask(caller.tenant, dataset, command))


def _add_deleting(router: APIRouter, auth: Authenticator, edits: Edits, dataset: Dataset) -> None:
    writer = Depends(auth.require("records:write"))

    @router.delete(
        f"/{dataset.name}/{{record_id:path}}",
        name=f"delete_{dataset.table}",
        summary=f"Delete a {dataset.noun}",
        status_code=204,
        responses=problem_responses(*_PROBLEMS, 404, 412),
    )
    async def delete_record(
        caller: Annotated[Principal, writer], record_id: RecordId, if_match: IfMatch = None
    ) -> None:
        command = RecordDelete(**_by(caller, dataset), **_named(dataset, record_id, if_match))
        await edits.ask(caller.tenant, dataset, command)

    @router.delete(
        f"/{dataset.name}",
        name=f"delete_all_{dataset.table}",
        summary=f"Delete all records of `{dataset.name}`",
        description="All at once or none. What imports load afterwards stays, also those that run meanwhile.",
        openapi_extra={"parameters": [_confirmation(dataset)]},
        responses=problem_responses(*_PROBLEMS),
    )
    async def delete_all_records(
        caller: Annotated[Principal, writer],
        confirm: Annotated[str | None, Query(include_in_schema=False)] = None,
    ) -> Deleted:
        if confirm != dataset.name:
            raise Unprocessable(
                "confirmation_missing",
                f"this deletes all records of dataset {dataset.name!r}, and must be confirmed; nothing was deleted",
                hint=f"add ?confirm={dataset.name} to the address",
            )
        command = RecordsDeleteAll(**_by(caller, dataset))
        reply = await edits.ask(caller.tenant, dataset, command)
        return Deleted(deleted=reply.deleted or 0)


def _add_refusing(router: APIRouter, auth: Authenticator, dataset: Dataset) -> None:
    """Say why not, instead of that a method is unknown."""
    same: Mapping[str, Any] = {
        "include_in_schema": False,
        "dependencies": [Depends(auth.require("records:write"))],
        "route_class_override": RefusingRoute,
    }

    async def refuse_edit() -> None:
        raise MethodNotAllowed(
            "dataset_not_editable",
            f"the records of dataset {dataset.name!r} are not edited one by one: they come with files",
            hint=f"upload a file: POST /api/v1/uploads with dataset={dataset.name}",
            allow=("GET",),
        )

    router.add_api_route(f"/{dataset.name}", refuse_edit, methods=["POST", "DELETE"], **same)
    router.add_api_route(
        f"/{dataset.name}/{{record_id:path}}", refuse_edit, methods=["PUT", "PATCH", "DELETE"], **same
    )


def _merge_patch(dataset: Dataset) -> dict[str, Any]:
    """A patch under its own media type (RFC 7396), which is taken as JSON is."""
    schema = {"$ref": f"#/components/schemas/{patch_model_of(dataset).__name__}"}
    return {"application/merge-patch+json": {"schema": schema}}


def _confirmation(dataset: Dataset) -> dict[str, Any]:
    """Described by hand: one that is missing is answered with a code of its own."""
    schema = {"type": "string", "enum": [dataset.name]}
    return {
        "name": "confirm",
        "in": "query",
        "required": True,
        "schema": schema,
        "description": "The dataset's name: that it is meant",
    }


def _values(dataset: Dataset, body: BaseModel) -> dict[str, FieldValue]:
    """The fields that the request names, and may."""
    named = body.model_fields_set
    return {
        field.name: _plain(getattr(body, field.name))
        for field in dataset.edited_fields
        if field.name in named
    }


def _plain(value: object) -> FieldValue:
    if isinstance(value, date):  # a datetime is one
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value  # type: ignore[return-value]  # as the models have it


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= INTEGER_DIGITS else Decimal(digits)


def _by(caller: Principal, dataset: Dataset) -> dict[str, Any]:
    """What every command says."""
    edit_id: UUID = uuid4()
    return {"edit_id": edit_id, "dataset": dataset.name, "requested_by": caller.subject}


def _named(dataset: Dataset, record_id: str, if_match: str | None) -> dict[str, Any]:
    """Which record a command is about.

    Raises:
        Unprocessable: `if_match_invalid`.
    """
    try:
        tags = None if if_match is None else tuple(tags_in(if_match, weak=False))
    except TagsInvalid as error:
        raise Unprocessable(
            "if_match_invalid",
            f"If-Match: {error}",
            hint="send it as GET answers it in ETag, with its quotes",
        ) from error
    return {"key": record_key(dataset, record_id), "if_match": tags}


def _shown(dataset: Dataset, reply: Reply, *, created: bool = False) -> Response:
    """The record that the edit left."""
    assert reply.key is not None, "the processor tells the record that it left"
    assert reply.etag is not None
    headers = {"ETag": etag_header(reply.etag)}
    if created:
        headers["Location"] = record_path(dataset, reply.key)
    return Response(
        reply.shown, status_code=201 if created else 200, headers=headers, media_type="application/json"
    )


def _with_headers(status: int, **headers: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {status: {"headers": headers}}
