"""HTTP: the file of an import, and one record of it as it stands there."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.cursors import BIGINT_MAX
from services.results.downloads import attachment, begun, csv_type, stored_bytes
from services.results.files import queries
from services.results.files.finding import find
from services.results.files.ranges import ByteRange, range_of
from services.results.files.resources import StoredFile, file_not_found
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.objects import ObjectMissing, Objects
from shared.platform.tenancy import tenant_reading

RECORDS_SOUGHT_AT_ONCE = 4  # each holds some MiB, and a thread

_BYTES = {"text/csv": {"schema": {"type": "string", "format": "binary"}}}
_NUMBER = {"type": "integer", "minimum": 0}


def _header(description: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": "string"} | schema}


_FILE_HEADERS = {
    "ETag": _header("The SHA-256 of the whole file, in hexadecimal digits and quotes"),
    "Accept-Ranges": _header("`bytes`", const="bytes"),
    "Content-Disposition": _header("The file's name"),
    "Content-Length": _header("Bytes of this answer", **_NUMBER),
}
_WHOLE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The whole file, unpacked, byte by byte as it came",
        "headers": _FILE_HEADERS,
        "content": _BYTES,
    }
}
_PART: dict[int | str, dict[str, Any]] = {
    206: {
        "description": "The part of it that `Range` asks for",
        "headers": _FILE_HEADERS | {"Content-Range": _header("`bytes FIRST-LAST/SIZE`, offsets from 0")},
        "content": _BYTES,
    }
}
_RECORD: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The record's bytes as they stand in the file, with the line end behind them, in the file's encoding",
        "headers": {
            "Penstock-Row-Number": _header("Data records from 1", type="integer", minimum=1),
            "Penstock-Line-Number": _header(
                "Physical line where it begins, from 1", type="integer", minimum=1
            ),
            "Penstock-Byte-Offset": _header("Bytes of the file before it", **_NUMBER),
            "Content-Length": _header("Its bytes", **_NUMBER),
        },
        "content": _BYTES,
    }
}


def files_router(engine: AsyncEngine, auth: Authenticator, objects: Objects) -> APIRouter:
    """`/imports/{import_id}/file` and `/imports/{import_id}/rows/{row_number}/raw`."""
    router = APIRouter(prefix="/api/v1/imports", tags=["imports"])
    reader = Depends(auth.require("imports:read"))
    seats = asyncio.Semaphore(RECORDS_SOUGHT_AT_ONCE)

    async def file_of(import_id: UUID, caller: Annotated[Principal, reader]) -> StoredFile:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await queries.get_file(connection, caller.tenant, import_id)

    stored = Depends(file_of)

    @router.get(
        "/{import_id}/file",
        summary="The original file",
        response_class=StreamingResponse,
        responses=_WHOLE | _PART | problem_responses(401, 403, 404, 410, 416, 422, 503),
    )
    async def get_file(
        file: Annotated[StoredFile, stored],
        wanted: Annotated[
            str | None,
            Header(
                alias="Range",
                description="`bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT`, offsets from 0",
            ),
        ] = None,
        if_range: Annotated[
            str | None,
            Header(description="The `ETag` of the file that the range is of; another file comes whole"),
        ] = None,
    ) -> StreamingResponse:
        """As it came, whatever became of its records; if it came packed, unpacked: the bytes that `sha256` is of.

        One range is answered (RFC 9110, section 14): of several, or of what is no range of bytes, the whole file.
        """
        part = range_of(wanted, file.size, etag=file.etag, if_range=if_range)
        chunks = await _opened(objects, file, part or ByteRange(0, file.size))
        return StreamingResponse(
            chunks,
            status_code=206 if part else 200,
            media_type=csv_type(file.dialect.encoding),
            headers=_file_headers(file, part),
        )

    @router.head(
        "/{import_id}/file",
        summary="Size, name and SHA-256 of the original file",
        response_class=StreamingResponse,
        responses=_WHOLE | problem_responses(401, 403, 404, 410, 422, 503),
    )
    async def head_file(file: Annotated[StoredFile, stored]) -> Response:
        """The headers of the whole file. 404 also where `GET` would say that it is no longer in the store."""
        await _opened(objects, file, ByteRange(0, min(1, file.size)))
        return Response(media_type=csv_type(file.dialect.encoding), headers=_file_headers(file, None))

    @router.get(
        "/{import_id}/rows/{row_number}/raw",
        summary="One record as it stands in the file",
        response_class=StreamingResponse,
        responses=_RECORD | problem_responses(401, 403, 404, 410, 422, 503),
    )
    async def get_raw_record(
        import_id: UUID,
        row_number: Annotated[
            int, Path(ge=1, le=BIGINT_MAX, description="Data records from 1, as row errors count")
        ],
        caller: Annotated[Principal, reader],
    ) -> StreamingResponse:
        """Any record, whether it was loaded or not. Not decoded, not unquoted, and not cut, however long it is.

        404 `row_not_read_yet` while the import has not come as far as that; `row_not_found` behind the file's last record.
        """
        async with tenant_reading(engine, caller.tenant) as connection:
            search = await queries.search_for(connection, caller.tenant, import_id, row_number)
        try:
            async with seats:
                place = await find(objects, search)
        except ObjectMissing as error:
            raise file_not_found(import_id) from error
        headers = {
            "Penstock-Row-Number": str(row_number),
            "Penstock-Line-Number": str(place.line_number),
            "Penstock-Byte-Offset": str(place.bytes.start),
            "Content-Length": str(place.bytes.length),
        }
        chunks = await _opened(objects, search.file, place.bytes)
        return StreamingResponse(chunks, media_type=csv_type(search.file.dialect.encoding), headers=headers)

    return router


async def _opened(objects: Objects, file: StoredFile, part: ByteRange) -> AsyncIterator[bytes]:
    try:
        return await begun(stored_bytes(objects, file.object_key, part.start, part.length))
    except ObjectMissing as error:
        raise file_not_found(file.import_id) from error


def _file_headers(file: StoredFile, part: ByteRange | None) -> Mapping[str, str]:
    headers = {
        "ETag": file.etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": attachment(file.unpacked_name),
        "Content-Length": str(part.length if part else file.size),
    }
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size}"
    return headers
