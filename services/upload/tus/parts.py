"""A request's body becomes parts in the store, and parts become a file again.

What has arrived is kept, however the request ends; but for one with a checksum, of which all counts or nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from services.upload.blocks import file_too_large
from services.upload.intake import Upload
from services.upload.places import Place
from services.upload.tus import repository
from services.upload.tus.problems import ChecksumMismatch, taken_over
from services.upload.tus.protocol import Checksum
from services.upload.tus.repository import Part, TakenOver, TusUpload, Write
from shared.contracts.events import UploadFinish
from shared.contracts.problems import TooLarge, Unavailable
from shared.platform.bus import Bus
from shared.platform.logs import get_logger
from shared.platform.objects import ObjectMissing, Objects
from shared.platform.places import Places
from shared.platform.service import Stopping

MIB = 1024 * 1024
PART_BYTES = 4 * MIB  # held in memory by a request; more only where a file may have more than 19 GiB
MAX_PARTS = 10_000  # of one upload, that its last step may not take for ever: each is a request to the store
DELETES_AT_ONCE = 16
REMOVED_AT_ONCE = 500  # rows of one transaction

log = get_logger(__name__)


class Parts:
    """Stores the parts of this process's requests."""

    def __init__(
        self,
        engine: AsyncEngine,
        bus: Bus,
        objects: Objects,
        places: Places,
        stopping: Stopping,
        *,
        expires_after: timedelta,
    ) -> None:
        self._engine = engine
        self._places = places
        self._bus = bus
        self._objects = objects
        self._stopping = stopping
        self._expires_after = expires_after

    async def receive(
        self, write: Write, body: AsyncIterator[bytes], *, room: int, parts: int, checksum: Checksum | None
    ) -> TusUpload:
        """Store and count `body`; the upload as it is then.

        Args:
            write: The right to do so.
            body: The bytes from `write.start` on.
            room: Bytes that the upload has room for.
            parts: Those that the upload has already.
            checksum: What the body must have.

        Raises:
            Problem: nothing more counts than what was counted before: the upload tells how much that is.
            Exception: whatever `body` raises; what arrived before counts, unless there is a checksum.
        """
        received, upload = write.start, None
        limit = write.start + room
        uncounted: list[str] = []
        try:
            async with Place(self._places, write.tenant) as place:
                async for piece in self._pieces(write, place.paced(body), room, checksum):
                    _check_parts(parts + len(uncounted), limit)
                    uncounted.append(f"tus/{write.upload_id}-{write.fence}-{received}")
                    await self._store(write, uncounted[-1], received, piece)
                    received += len(piece)
                    if checksum is None:
                        upload = await self._count(write, received, uncounted)
                        uncounted.clear()
                        parts += 1
            _check_sum(checksum)
            if upload is None:
                upload = await self._count(write, received, uncounted)
        except TakenOver as error:
            await self._abandon(uncounted)
            raise taken_over() from error
        except BaseException:
            await self._abandon(uncounted)
            raise
        return upload

    async def _pieces(
        self, write: Write, body: AsyncIterator[bytes], room: int, checksum: Checksum | None
    ) -> AsyncIterator[bytearray]:
        """The body in pieces of a part's size, and what there is of one when the body breaks off."""
        part_bytes = part_bytes_of(write.start + room)
        piece = bytearray()
        broken: Exception | None = None
        arrived = 0
        while True:
            try:
                chunk = await anext(body, None)
            except Exception as error:  # noqa: BLE001 - whatever it is, what came before it counts
                broken = error
                break
            if chunk is None:
                break
            arrived += len(chunk)
            if arrived > room:
                raise file_too_large(write.start + room) if write.length is None else upload_too_long()
            if checksum is not None:
                checksum.feed(chunk)
            # One that is full waits for what follows: should that be too much, the upload must not be complete yet.
            if piece and len(piece) + len(chunk) > part_bytes:
                yield piece
                piece = bytearray()
            piece += chunk
            if self._stopping and arrived < room:
                broken = Unavailable("service_stopping", "the service is being stopped", retry_after=1)
                break
        if piece and (broken is None or checksum is None):
            yield piece
        if broken is not None:
            raise broken

    async def _store(self, write: Write, key: str, start: int, piece: bytearray) -> None:
        async with self._engine.begin() as connection:
            await repository.intend(
                connection,
                write,
                object_key=key,
                start=start,
                size=len(piece),
                owner=self._bus.presence.instance,
            )
        await self._objects.put_whole(key, piece)

    async def _count(self, write: Write, received: int, object_keys: Sequence[str]) -> TusUpload:
        async with self._engine.begin() as connection:
            upload = await repository.keep(connection, write, received, object_keys, self._expires_after)
            if upload.state == "checking":
                command = UploadFinish(upload_id=upload.id)
                await self._bus.publish(
                    connection, self._bus.event(command, tenant=upload.tenant, subject=upload.id)
                )
        return upload

    async def _abandon(self, object_keys: Sequence[str]) -> None:
        if not object_keys:
            return
        try:
            # The connection may have broken behind the commit: what was counted after all must stay.
            async with self._engine.begin() as connection:
                given_up = await repository.abandon(connection, object_keys)
            await _remove(self._engine, self._objects, given_up)
        except Exception as error:  # noqa: BLE001 - the sweep does it; the reason for giving up is what the caller must hear
            log.warning("tus.parts_not_removed", object_keys=list(object_keys), error=repr(error))


async def remove_needless(
    engine: AsyncEngine, objects: Objects, upload_ids: Sequence[UUID] | None = None
) -> int:
    """Remove the parts that nobody needs, of these uploads or of all, from the store, then from the table.

    Returns:
        How many.

    Raises:
        StoreUnavailable: some may be left, and their rows with them.
    """
    removed = 0
    while True:
        async with engine.connect() as connection:
            needless = await repository.find_needless(connection, REMOVED_AT_ONCE, upload_ids)
        if not needless:
            return removed
        await _remove(engine, objects, needless)
        removed += len(needless)


async def _remove(engine: AsyncEngine, objects: Objects, parts: Sequence[Part]) -> None:
    limit = asyncio.Semaphore(DELETES_AT_ONCE)

    async def remove(part: Part) -> None:
        async with limit:
            # One that was never kept may be half-written.
            await (objects.discard if part.state == "abandoned" else objects.delete)(part.object_key)

    outcomes = await asyncio.gather(*(remove(part) for part in parts), return_exceptions=True)
    gone = [part.object_key for part, error in zip(parts, outcomes, strict=True) if error is None]
    async with engine.begin() as connection:
        await repository.forget_parts(connection, gone)
    for error in filter(None, outcomes):
        raise error


class TusFile(Upload):
    """The file that came in `parts`, for the intake."""

    fields_are_complete = True

    def __init__(self, upload: TusUpload, parts: Sequence[Part], objects: Objects) -> None:
        self.file_name: str = upload.file_name
        self._fields: dict[str, str] = upload.fields
        self._parts = parts
        self._objects = objects

    async def chunks(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            for start in range(0, part.size, PART_BYTES):
                length = min(PART_BYTES, part.size - start)
                chunk = await self._objects.read(part.object_key, start, length)
                if len(chunk) < length:
                    raise ObjectMissing(f"object {part.object_key!r} ends before its {part.size} bytes")
                yield chunk

    def early_fields(self) -> dict[str, str]:
        return self._fields

    async def fields(self) -> dict[str, str]:
        return self._fields


def upload_too_long() -> TooLarge:
    return TooLarge(
        "upload_too_long",
        "the request brings more bytes than the upload has room for",
        hint="send as many as Upload-Length says, counted from the offset",
    )


def part_bytes_of(limit: int) -> int:
    """Bytes of a full part of an upload of at most `limit` bytes: half of the parts that it may have are enough."""
    return max(PART_BYTES, -(-limit * 2 // MAX_PARTS))


def _check_parts(count: int, limit: int) -> None:
    if count >= MAX_PARTS:
        raise TooLarge(
            "upload_parts_too_many",
            f"the upload has come in {MAX_PARTS} pieces, which is all that it may",
            hint=f"create a new upload, and send at least {-(-limit // (MAX_PARTS * MIB))} MiB with each request",
            limit_parts=MAX_PARTS,
        )


def _check_sum(checksum: Checksum | None) -> None:
    if checksum is not None and not checksum.matches():
        raise ChecksumMismatch(checksum.algorithm)
