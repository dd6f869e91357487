"""HTTP: files come in at `POST /api/v1/uploads`, as a multipart form or as the bare file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from services.upload.intake import Accepted, Intake, Upload
from services.upload.multipart import FormStream
from shared.contracts.problems import Problem, UnsupportedMedia
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses

RAW_TYPES = frozenset({"text/csv", "application/csv", "text/plain", "text/tab-separated-values"})
# A refused client may still be sending; most only look at the answer once they are done.
DRAIN_BYTES = 16 * 1024 * 1024
DRAIN_SECONDS = 2.0

_FIELDS = {
    "dataset": {"type": "string", "description": "What the file is, for example `books`."},
    "data_source_name": {"type": "string", "description": "Who sends it: a partner, a supplier."},
}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file", "dataset"],
                "properties": {"file": {"type": "string", "format": "binary"}, **_FIELDS},
            }
        },
        "text/csv": {"schema": {"type": "string", "format": "binary"}},
    },
}
_QUERY = [
    {
        "name": name,
        "in": "query",
        "schema": {"type": "string"},
        "description": f"With a bare file: {schema['description']}",
    }
    for name, schema in {**_FIELDS, "file_name": {"description": "The file's name."}}.items()
]


def router(intake: Intake, auth: Authenticator) -> APIRouter:
    """The upload service's routes."""
    routes = APIRouter(prefix="/api/v1", tags=["uploads"])

    @routes.post(
        "/uploads",
        status_code=202,
        summary="Upload a CSV file",
        response_model=Accepted,
        responses=problem_responses(401, 403, 413, 415, 422, 503),
        openapi_extra={"requestBody": _BODY, "parameters": _QUERY},
    )
    async def upload(
        request: Request,
        response: Response,
        caller: Annotated[Principal, Depends(auth.require("imports:write"))],
    ) -> Accepted:
        """The file streams into the store and is checked on its way; what is wrong with it as a whole is said at once.

        202: it is accepted and will be processed; follow `links.self` (also in `Location`) or `links.events`.
        """
        body = request.stream()
        try:
            accepted = await intake.receive(caller, await _upload_of(request, body))
        except Problem:
            await _drain(body)
            raise
        response.headers["Location"] = accepted.links["self"]
        return accepted

    return routes


async def _upload_of(request: Request, body: AsyncIterator[bytes]) -> Upload:
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        form = FormStream(content_type, body)
        await form.find_file()
        return FormUpload(form)
    if media_type in RAW_TYPES:
        return RawUpload(dict(request.query_params), body)
    raise UnsupportedMedia(
        "media_type_unsupported",
        f"cannot take a body of type {media_type or 'unknown'!r}",
        hint="send multipart/form-data with a field `file`, or the bare file as text/csv",
    )


class FormUpload(Upload):
    """A multipart form with the file in it."""

    def __init__(self, form: FormStream) -> None:
        self._form = form
        self.file_name = form.file_name or ""

    def chunks(self) -> AsyncIterator[bytes]:
        return self._form.file_chunks()

    def early_fields(self) -> dict[str, str]:
        return self._form.fields

    async def fields(self) -> dict[str, str]:
        await self._form.finish()
        return self._form.fields


class RawUpload(Upload):
    """The bare file as body, the fields as query parameters."""

    def __init__(self, query: dict[str, str], body: AsyncIterator[bytes]) -> None:
        self.file_name = query.pop("file_name", "")
        self._query = query
        self._body = body

    def chunks(self) -> AsyncIterator[bytes]:
        return self._body

    def early_fields(self) -> dict[str, str]:
        return self._query

    async def fields(self) -> dict[str, str]:
        return self._query


async def _drain(body: AsyncIterator[bytes]) -> None:
    drained = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in body:
                drained += len(chunk)
                if drained > DRAIN_BYTES:
                    return
