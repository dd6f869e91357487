"""What each request of tus does, and how it is answered."""

from collections.abc import Mapping
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncEngine

from services.upload.draining import drain
from services.upload.tus import protocol, repository
from services.upload.tus.creation import Creation, wanted_in
from services.upload.tus.finish import outcome
from services.upload.tus.problems import VersionUnsupported, upload_not_found
from services.upload.tus.protocol import MEDIA_TYPE, VERSION, HeaderInvalid
from services.upload.tus.repository import TusUpload
from services.upload.tus.resources import created_headers, head_headers, progress_headers, refusal
from services.upload.tus.writing import Piece, Writing, check_not_gone
from shared.contracts.problems import CONTENT_TYPE, Problem, UnsupportedMedia
from shared.platform.auth import Principal
from shared.platform.service import Stopping
from shared.platform.tenancy import tenant_reading


class Requests:
    """The requests of this process. What they raise is a `Problem`, or the client's going away."""

    def __init__(self, engine: AsyncEngine, creation: Creation, writing: Writing, stopping: Stopping) -> None:
        self._engine = engine
        self._creation = creation
        self._writing = writing
        self._stopping = stopping

    async def create(self, request: Request, caller: Principal) -> Response:
        """POST: a new upload, with its first bytes if the request has a body."""
        _check_version(request)
        wanted = wanted_in(request.headers, request.query_params.multi_items())
        brings_body = protocol.body_length_of(request.headers) != 0
        if brings_body and wanted.concat.kind == "final":
            raise HeaderInvalid("Upload-Concat", "a final upload consists of its parts, and takes no body")
        piece = _piece_in(request, 0) if brings_body else None
        upload, headers = await self._creation.create(caller, wanted)
        headers = {**created_headers(upload), **headers}
        if piece is not None:
            upload = await self._append_first(request, caller, upload, piece)
        return await self._answer(caller, upload, 201, headers)

    async def head(self, request: Request, caller: Principal, upload_id: UUID) -> Response:
        """HEAD: how far it is."""
        _check_version(request)
        upload = await self.find(caller, upload_id)
        check_not_gone(upload)
        return Response(status_code=200, headers=head_headers(upload))

    async def append(self, request: Request, caller: Principal, upload_id: UUID) -> Response:
        """PATCH: the next bytes."""
        _check_version(request)
        piece = _piece_in(request, protocol.offset_of(request.headers))
        return await self._answer(caller, await self._append(request, caller, upload_id, piece), 204, {})

    async def remove(self, request: Request, caller: Principal, upload_id: UUID) -> Response:
        """DELETE: the upload's end."""
        _check_version(request)
        await self.find(caller, upload_id)  # in the tenant's role: what removes it acts as the service
        await self._writing.remove(caller, upload_id)
        return Response(status_code=204)

    async def find(self, caller: Principal, upload_id: UUID) -> TusUpload:
        """The caller's upload.

        Raises:
            NotFound: `upload_not_found`.
        """
        async with tenant_reading(self._engine, caller.tenant) as connection:
            upload = await repository.find(connection, caller.tenant, upload_id)
        if upload is None:
            raise upload_not_found(upload_id)
        return upload

    async def show(self, caller: Principal, upload_id: UUID) -> TusUpload:
        """GET: how it stands, or what has become of it.

        Raises:
            NotFound: `upload_not_found`.
            Gone: it has expired before it was complete.
        """
        upload = await self.find(caller, upload_id)
        if upload.state == "receiving":
            check_not_gone(upload)
        return upload

    async def _append_first(
        self, request: Request, caller: Principal, upload: TusUpload, piece: Piece
    ) -> TusUpload:
        try:
            return await self._append(request, caller, upload.id, piece)
        except Problem:
            await self._writing.remove(caller, upload.id)  # nobody hears where it is
            await self._creation.take_back(upload)
            raise

    async def _append(self, request: Request, caller: Principal, upload_id: UUID, piece: Piece) -> TusUpload:
        body = request.stream()
        try:
            return await self._writing.append(caller, upload_id, piece, body)
        except Problem:
            await drain(request, body)
            raise

    async def _answer(
        self, caller: Principal, upload: TusUpload, status: int, headers: Mapping[str, str]
    ) -> Response:
        """Of a request that may have brought the last byte: with what becomes of the file, if that shows soon."""
        if upload.state != "receiving":
            upload = await outcome(self._engine, caller.tenant, upload.id, self._stopping) or upload
        if upload.state == "refused":
            document = refusal(upload.problem)
            return JSONResponse(document, document["status"], media_type=CONTENT_TYPE)
        return Response(status_code=status, headers={**headers, **progress_headers(upload)})


def _check_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != VERSION:
        raise VersionUnsupported


def _piece_in(request: Request, offset: int) -> Piece:
    headers = request.headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise UnsupportedMedia(
            "media_type_unsupported",
            f"the body is of type {media_type or 'unknown'!r}, which cannot be taken",
            hint=f"send the header Content-Type: {MEDIA_TYPE}",
        )
    return Piece(
        offset, protocol.body_length_of(headers), protocol.length_of(headers), protocol.checksum_of(headers)
    )
