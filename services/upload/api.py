"""HTTP: files come in at `POST /api/v1/uploads`, as a multipart form or as the bare file; imports are cancelled and retried."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from services.upload import control, idempotency
from services.upload.admission import Admission, Earlier
from services.upload.bodies import RAW_TYPES, declared_bytes, upload_of
from services.upload.draining import drain
from services.upload.fields import properties, query_parameters
from services.upload.intake import Intake
from services.upload.limits import QUOTA_HEADERS
from services.upload.resources import Accepted, Ordered
from shared.contracts.problems import Problem
from shared.platform.auth import Authenticator, Principal
from shared.platform.bus import Bus
from shared.platform.edge import problem_responses
from shared.platform.tenancy import tenant_writing

_FILE = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    **properties(),
                    "file": _FILE,
                },  # the file last, as what precedes it leads its reading
            }
        },
        **{media_type: {"schema": _FILE} for media_type in sorted(RAW_TYPES)},
    },
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": idempotency.MAX_LENGTH},
    "description": "A new UUID for each file; the same one when the same request is sent again.",
}
_HEADERS = {
    "Location": "The import, at `results`.",
    **QUOTA_HEADERS,
    "Idempotency-Replayed": "`true`: the request was answered before, and this is the same answer.",
}
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Accepted",
        "headers": {
            name: {"schema": {"type": "string"}, "description": text} for name, text in _HEADERS.items()
        },
    }
}


def router(
    intake: Intake, admission: Admission, engine: AsyncEngine, bus: Bus, auth: Authenticator
) -> APIRouter:
    """The upload service's routes."""
    routes = APIRouter(prefix="/api/v1", tags=["uploads"])
    writer = Depends(auth.require("imports:write"))

    @routes.post(
        "/uploads",
        status_code=202,
        summary="Upload a CSV file",
        response_model=Accepted,
        responses=_ACCEPTED | problem_responses(401, 403, 408, 409, 413, 415, 422, 429, 503),
        openapi_extra={
            "requestBody": _BODY,
            "parameters": [*query_parameters("With a bare file: the file's name."), _KEY],
        },
    )
    async def upload(request: Request, response: Response, caller: Annotated[Principal, writer]) -> Accepted:
        """The file streams into the store and is checked on its way; what is wrong with it as a whole is said at once.

        Files end in `.csv`, `.tsv`, `.tab`, `.psv`, `.txt`, `.dat`, `.asc`, in digits, or in nothing; one that is compressed
        with gzip is unpacked. Fields come as form fields, before or behind the file, or as query parameters. Those before
        the file are best: they lead how it is read while it streams; behind it, a large file may have to be read twice.

        202: it is accepted and will be processed; follow `links.self` (also in `Location`) or `links.events`.

        With `Idempotency-Key` the request may be sent again within 24 hours, as when its answer was lost: the same one is
        answered as before (`Idempotency-Replayed: true`), 422 `idempotency_key_reused` if it differs, 409
        `idempotency_key_in_progress` while the first one is under way. A refused request leaves its key free.

        409 `file_already_imported`: the same bytes came for the same dataset before, however long ago; `links` lead to
        that import. `force=true` imports them again. Dry runs do not count.

        With `corrects` the file is the `errors.csv` of an earlier import, corrected: its records are imported, and those that
        are loaded close the row errors of the lines that `_line` names. That import has ended, and was no dry run; records
        that are new, without a `_line`, may be among them.

        429 `rate_limited`, `too_many_imports`: the tenant has begun as many uploads within the last minute, or has as many
        imports under way, as it may. `RateLimit-*` tell how many more may begin, and when.
        """
        body = request.stream()
        try:
            accepted, headers = await _taken_in(request, body, caller)
        except Problem:
            await drain(request, body)
            raise
        response.headers.update(headers)
        response.headers["Location"] = accepted.links["self"]
        return accepted

    async def _taken_in(
        request: Request, body: AsyncIterator[bytes], caller: Principal
    ) -> tuple[Accepted, Mapping[str, str]]:
        key = idempotency.key_in(request.headers.getlist("idempotency-key"))
        upload = await upload_of(request, body)
        entry = await admission.enter(caller, key)
        if isinstance(entry, Earlier):
            return await intake.answer_again(entry, upload), {"Idempotency-Replayed": "true"}
        try:
            accepted = await intake.receive(entry, upload, declared_bytes(request))
        except Problem as problem:
            problem.answered_with(entry.quota.with_one_back().headers() if entry.quota else {})
            raise
        return accepted, entry.quota.headers() if entry.quota else {}

    @routes.post(
        "/uploads/{import_id}/cancel",
        status_code=202,
        summary="Cancel an import",
        responses=problem_responses(401, 403, 404, 409, 422, 503),
    )
    async def cancel(import_id: UUID, caller: Annotated[Principal, writer]) -> Ordered:
        """It ends within one slice, as `cancelled`. What was loaded before stays; an `atomic` import has loaded nothing.

        To cancel twice does no harm. 409 `import_ended`: it is completed or failed.
        """
        async with tenant_writing(engine, caller.tenant) as connection:
            return await control.cancel(connection, bus, caller.tenant, import_id)

    @routes.post(
        "/uploads/{import_id}/retry",
        status_code=202,
        summary="Try a failed import again",
        responses=problem_responses(401, 403, 404, 409, 422, 429, 503),
    )
    async def retry(import_id: UUID, caller: Annotated[Principal, writer]) -> Ordered:
        """It goes on where it stopped, as its next `run`: nothing is loaded twice.

        409 `import_not_failed`: it has not failed, or was told to go on already. 409 `import_not_retryable`: it would fail in
        the same way. 409 `file_already_imported`: another import has loaded the same bytes, or is about to.
        """
        async with tenant_writing(engine, caller.tenant) as connection:
            return await control.retry(connection, bus, admission, caller.tenant, import_id)

    return routes
