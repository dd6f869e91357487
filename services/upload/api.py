"""HTTP: files come in at `POST /api/v1/uploads`, as a multipart form or as the bare file; imports are cancelled and retried."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from services.upload import control
from services.upload.bodies import RAW_TYPES, upload_of
from services.upload.fields import FIELDS
from services.upload.intake import Intake
from services.upload.resources import Accepted, Ordered
from shared.contracts.problems import Problem
from shared.platform.auth import Authenticator, Principal
from shared.platform.bus import Bus
from shared.platform.edge import problem_responses

# A refused client may still be sending; most only look at the answer once they are done.
DRAIN_BYTES = 16 * 1024 * 1024
DRAIN_SECONDS = 2.0

_FILE = {"type": "string", "format": "binary"}
_PROPERTIES = {
    name: {**field.schema, "description": f"{field.meaning} Takes {field.takes}."}
    for name, field in FIELDS.items()
}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file", "dataset"],
                "properties": {
                    **_PROPERTIES,
                    "file": _FILE,
                },  # the file last, as what precedes it leads its reading
            }
        },
        **{media_type: {"schema": _FILE} for media_type in sorted(RAW_TYPES)},
    },
}
_NAME = {"type": "string", "description": "With a bare file: the file's name."}
_QUERY = [
    {"name": name, "in": "query", "schema": schema, "description": schema["description"]}
    for name, schema in {**_PROPERTIES, "file_name": _NAME}.items()
]


def router(intake: Intake, engine: AsyncEngine, bus: Bus, auth: Authenticator) -> APIRouter:
    """The upload service's routes."""
    routes = APIRouter(prefix="/api/v1", tags=["uploads"])
    writer = Depends(auth.require("imports:write"))

    @routes.post(
        "/uploads",
        status_code=202,
        summary="Upload a CSV file",
        response_model=Accepted,
        responses=problem_responses(401, 403, 413, 415, 422, 503),
        openapi_extra={"requestBody": _BODY, "parameters": _QUERY},
    )
    async def upload(request: Request, response: Response, caller: Annotated[Principal, writer]) -> Accepted:
        """The file streams into the store and is checked on its way; what is wrong with it as a whole is said at once.

        Files end in `.csv`, `.tsv`, `.txt` or whatever you like; one that is compressed with gzip is unpacked. Fields
        come as form fields, before or behind the file, or as query parameters. Those before the file are best: they
        lead how it is read while it streams; behind it, a large file may have to be read twice.

        202: it is accepted and will be processed; follow `links.self` (also in `Location`) or `links.events`.
        """
        body = request.stream()
        try:
            accepted = await intake.receive(caller, await upload_of(request, body))
        except Problem:
            await _drain(body)
            raise
        response.headers["Location"] = accepted.links["self"]
        return accepted

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
        async with engine.begin() as connection:
            return await control.cancel(connection, bus, caller.tenant, import_id)

    @routes.post(
        "/uploads/{import_id}/retry",
        status_code=202,
        summary="Try a failed import again",
        responses=problem_responses(401, 403, 404, 409, 422, 503),
    )
    async def retry(import_id: UUID, caller: Annotated[Principal, writer]) -> Ordered:
        """It goes on where it stopped, as its next `run`: nothing is loaded twice.

        409 `import_not_failed`: it has not failed. 409 `import_not_retryable`: it would fail in the same way.
        """
        async with engine.begin() as connection:
            return await control.retry(connection, bus, caller.tenant, import_id)

    return routes


async def _drain(body: AsyncIterator[bytes]) -> None:
    drained = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in body:
                drained += len(chunk)
                if drained > DRAIN_BYTES:
                    return
