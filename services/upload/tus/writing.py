"""What requests do to an upload that exists: bring its next bytes, or end it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.upload.blocks import file_too_large
from services.upload.tus import repository
from services.upload.tus.parts import Parts, remove_needless, upload_too_long
from services.upload.tus.problems import Final, Gone, upload_not_found
from services.upload.tus.protocol import Checksum, HeaderInvalid
from services.upload.tus.repository import TusUpload
from shared.contracts.problems import Conflict
from shared.platform.auth import Principal
from shared.platform.logs import get_logger
from shared.platform.objects import Objects
from shared.platform.tenancy import tenant_writing

log = get_logger(__name__)


@dataclass(frozen=True)
class Piece:
    """What a request says of the bytes that it brings.

    Attributes:
        offset: Where they belong.
        size: How many they are; None: that shows at the end.
        length: Of the whole upload, where that was not known before.
    """

    offset: int
    size: int | None
    length: int | None = None
    checksum: Checksum | None = None


class Writing:
    """Writes to uploads, for whoever may."""

    def __init__(
        self,
        engine: AsyncEngine,
        objects: Objects,
        parts: Parts,
        *,
        expires_after: timedelta,
    ) -> None:
        self._engine = engine
        self._objects = objects
        self._parts = parts
        self._expires_after = expires_after

    async def append(
        self, caller: Principal, upload_id: UUID, piece: Piece, body: AsyncIterator[bytes]
    ) -> TusUpload:
        """Add what `body` brings; the upload as it is then. Whoever is still writing to it writes no more.

        Raises:
            Problem: what cannot be added; what arrived before that became clear may have been.
            Exception: whatever `body` raises; what arrived before is kept, unless there is a checksum.
        """
        async with tenant_writing(self._engine, caller.tenant) as connection:
            upload = await _locked(connection, caller, upload_id)
            _check_writable(upload, piece)
            if upload.state != "receiving":
                return upload  # all is there: the answer to the request that brought the last byte was lost
            length = _agreed_length(upload, piece.length)
            room = _room_for(upload, length, piece)
            write = await repository.begin_write(connection, upload, length, self._expires_after)
        return await self._parts.receive(write, body, room=room, parts=upload.parts, checksum=piece.checksum)

    async def remove(self, caller: Principal, upload_id: UUID) -> None:
        """End the upload. An import that it has become stays.

        Raises:
            NotFound: `upload_not_found`.
            Conflict: `upload_in_use`: it, or what is made of it, is being checked.
        """
        async with self._engine.begin() as connection:
            upload = await _locked(connection, caller, upload_id)
            if upload.state == "checking" or await repository.is_needed(connection, upload_id):
                raise Conflict(
                    "upload_in_use",
                    f"the upload {upload_id} is being checked",
                    hint="try again in some seconds; or cancel the import that it becomes",
                )
            await repository.remove(connection, [upload_id])
        try:
            await remove_needless(self._engine, self._objects, [upload_id])
        except Exception as error:  # noqa: BLE001 - the upload is gone, and the sweep removes the rest
            log.warning("tus.parts_not_removed", upload_id=str(upload_id), error=repr(error))


def _check_writable(upload: TusUpload, piece: Piece) -> None:
    if upload.kind == "final":
        raise Final
    check_not_gone(upload)
    if piece.offset != upload.received:
        raise Conflict(
            "upload_offset_conflict",
            f"the upload stands at {upload.received}, and the request begins at {piece.offset}",
            hint="ask by HEAD where the upload stands, and go on from there",
            offset=upload.received,
        )
    if upload.state != "receiving" and piece.size != 0:
        raise upload_too_long()


def check_not_gone(upload: TusUpload) -> None:
    """Whether the upload can still be looked at and gone on with.

    Raises:
        Gone: it was refused, or has expired.
    """
    if upload.state == "refused":
        raise Gone(f"the file was refused: {upload.problem['detail']}")
    if upload.expired:
        raise Gone(f"the upload has expired at {upload.expires_at:%Y-%m-%d %H:%M:%S} UTC")


async def _locked(connection: AsyncConnection, caller: Principal, upload_id: UUID) -> TusUpload:
    upload = await repository.lock(connection, caller.tenant, upload_id)
    if upload is None:
        raise upload_not_found(upload_id)
    return upload


def _agreed_length(upload: TusUpload, length: int | None) -> int | None:
    if length is None:
        known: int | None = upload.length
        return known
    if upload.length is not None and length != upload.length:
        raise HeaderInvalid(
            "Upload-Length", f"the upload's length is {upload.length}, and cannot be changed to {length}"
        )
    if length < upload.received:
        raise HeaderInvalid(
            "Upload-Length", f"{upload.received} bytes have arrived, so the length cannot be {length}"
        )
    return length


def _room_for(upload: TusUpload, length: int | None, piece: Piece) -> int:
    """How many bytes may still come."""
    if length is not None and length > upload.max_bytes:
        raise file_too_large(upload.max_bytes)
    room: int = (upload.max_bytes if length is None else length) - upload.received
    if piece.size is not None and piece.size > room:
        raise file_too_large(upload.max_bytes) if length is None else upload_too_long()
    return room
