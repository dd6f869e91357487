"""Intake: a file streams into the store, is looked at on its way, and becomes an import. Or nothing is left of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from services.upload import repository
from services.upload.blocks import Limits, blocks_of
from services.upload.fields import Asked, asked_in, printable
from services.upload.inspection import dataset_named
from services.upload.look import Look
from services.upload.resources import Accepted, accepted_of
from shared.contracts.events import ImportUploaded
from shared.platform.auth import Principal
from shared.platform.bus import Bus
from shared.platform.logs import get_logger
from shared.platform.objects import CHUNK_BYTES, Objects

log = get_logger(__name__)


class Intake:
    """Takes one file at a time per call; calls may run side by side."""

    def __init__(self, engine: AsyncEngine, bus: Bus, objects: Objects, limits: Limits) -> None:
        self._engine = engine
        self._bus = bus
        self._objects = objects
        self._limits = limits

    async def receive(self, caller: Principal, upload: "Upload") -> Accepted:
        """Store and register the file that `upload` brings.

        Raises:
            Problem: the file or a field is no good; nothing is stored.
        """
        import_id = uuid4()
        key = f"uploads/{import_id}"
        look = self._look_by(upload)
        await self._objects.put(key, self._seen(upload.chunks(), look))
        try:
            uploaded = await self._describe(import_id, key, look, upload)
        except BaseException:
            await self._discard(key)
            raise
        try:
            await self._register(caller, uploaded)
        except BaseException:
            # The connection may have broken behind the commit: a file without an import is harmless, not the reverse.
            if await self._is_surely_unknown(import_id):
                await self._discard(key)
            raise
        log.info(
            "import.uploaded", import_id=str(import_id), dataset=uploaded.dataset, bytes=uploaded.file_size
        )
        return accepted_of(uploaded)

    def _look_by(self, upload: "Upload") -> Look:
        """The look at a file of which some fields may be unknown yet.

        A form that names its dataset before the file has said what leads the look, and hears at once what is wrong with
        the file. One that does not may say anything behind it.
        """
        asked = asked_in(upload.early_fields())
        patient = asked.dataset is None and not upload.fields_are_complete
        return Look(asked, patient=patient)

    async def _seen(self, chunks: AsyncIterator[bytes], look: Look) -> AsyncIterator[bytes]:
        async for block in blocks_of(chunks, self._limits):
            await asyncio.to_thread(look.feed, block)
            yield block
        await asyncio.to_thread(look.finish)

    async def _look_again(self, key: str, asked: Asked) -> Look:
        """Look at the stored file, now that all is said."""
        look = Look(asked, patient=False)
        start = 0
        while block := await self._objects.read(key, start, CHUNK_BYTES):
            await asyncio.to_thread(look.feed, block)
            start += len(block)
        await asyncio.to_thread(look.finish)
        return look

    async def _describe(self, import_id: UUID, key: str, look: Look, upload: "Upload") -> ImportUploaded:
        asked = asked_in(await upload.fields())
        dataset = dataset_named(asked.dataset)
        if not look.holds_for(asked):
            look = await self._look_again(key, asked)
        seen = look.inspection
        assert seen.dialect is not None
        return ImportUploaded(
            import_id=import_id,
            dataset=dataset.name,
            source=asked.source,
            file_name=printable(_base_name(upload.file_name)) or "upload.csv",
            file_size=seen.size,
            sha256=seen.sha256,
            object_key=key,
            dialect=seen.dialect,
            explanation=seen.explanation,
            columns=dict(seen.match(dataset).columns),
            column_count=seen.width,
            header=tuple(seen.header),
            rows_detected=seen.rows_detected,
            lines_detected=seen.lines_detected,
            options=asked.options,
            uploaded_at=datetime.now(UTC),
        )

    async def _register(self, caller: Principal, uploaded: ImportUploaded) -> None:
        event = self._bus.event(uploaded, tenant=caller.tenant, subject=uploaded.import_id)
        async with self._engine.begin() as connection:
            await repository.add_import(
                connection, uploaded, tenant=caller.tenant, uploaded_by=caller.subject
            )
            await self._bus.publish(connection, event)

    async def _is_surely_unknown(self, import_id: UUID) -> bool:
        try:
            async with self._engine.connect() as connection:
                return not await repository.has_import(connection, import_id)
        except Exception as error:  # noqa: BLE001 - then nobody can tell
            log.warning("upload.unknown_outcome", import_id=str(import_id), error=repr(error))
            return False

    async def _discard(self, key: str) -> None:
        try:
            await self._objects.delete(key)
        except Exception as error:  # noqa: BLE001 - the reason for discarding is what the caller must hear
            log.warning("upload.not_discarded", key=key, error=repr(error))


class Upload(Protocol):
    """One request's file and fields, in whatever form they come. Fields are complete only after the chunks."""

    file_name: str
    fields_are_complete: bool

    def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes; to be read once, to the end."""
        ...

    def early_fields(self) -> dict[str, str]:
        """The fields known before the file begins."""
        ...

    async def fields(self) -> dict[str, str]:
        """All fields."""
        ...


def _base_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]
