"""Intake: a file streams into the store, is looked at on its way, and becomes an import. Or nothing is left of it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.upload import idempotency, repository
from services.upload import repository_admission as noted
from services.upload.admission import Admission, Earlier, Entry, check_open
from services.upload.blocks import FileLimits, blocks_of, file_too_large
from services.upload.corrections import with_dataset
from services.upload.fields import Asked, asked_in
from services.upload.inspection import dataset_named
from services.upload.look import Look
from services.upload.names import base_name, printable
from services.upload.places import Place
from services.upload.resources import Accepted, accepted_of, already_imported
from shared.contracts.events import ImportUploaded
from shared.contracts.problems import Unavailable
from shared.platform.bus import Bus
from shared.platform.logs import get_logger
from shared.platform.objects import CHUNK_BYTES, Objects
from shared.platform.places import Places
from shared.platform.tenancy import tenant_reading

log = get_logger(__name__)

Registering = Callable[[AsyncConnection], Awaitable[None]]


class Intake:
    """Takes one file at a time per call; calls may run side by side."""

    def __init__(
        self,
        engine: AsyncEngine,
        bus: Bus,
        objects: Objects,
        admission: Admission,
        places: Places,
        *,
        max_ratio: int,
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._objects = objects
        self._admission = admission
        self._max_ratio = max_ratio
        self._places = places

    async def receive(
        self, entry: Entry, upload: "Upload", declared: int = 0, *, within: Registering | None = None
    ) -> Accepted:
        """Store and register the file that `upload` brings, as the import that `entry` has made room for.

        Args:
            declared: Bytes that the file has at least, as was said before it came.
            within: Called in the transaction that registers the import; what it raises undoes all.

        Raises:
            Problem: the file or a field is no good, or the same file is there already; nothing is left of it.
        """
        try:
            uploaded, asked = await self._store(entry, upload, declared)
            accepted = await self._register(entry, uploaded, asked, upload, within)
        except BaseException:
            await self._withdraw(entry)
            raise
        finally:
            self._admission.done(entry)
        log.info(
            "import.uploaded",
            import_id=str(entry.import_id),
            dataset=uploaded.dataset,
            bytes=uploaded.file_size,
        )
        return accepted

    async def answer_again(self, earlier: Earlier, upload: "Upload") -> Accepted:
        """The answer that the request with this idempotency key was given, if `upload` is the same request.

        Raises:
            Unprocessable: `idempotency_key_reused`: it is another one.
        """
        sha256 = hashlib.sha256()
        limits = FileLimits(earlier.sizes.limit(None), self._max_ratio)
        async for block in blocks_of(upload.chunks(), limits):
            await asyncio.to_thread(sha256.update, block)
        fields = await upload.fields()
        if idempotency.fingerprint_of(sha256.hexdigest(), upload.file_name, fields) != earlier.fingerprint:
            raise idempotency.reused()
        return Accepted.model_validate(earlier.answer)

    async def _store(self, entry: Entry, upload: "Upload", declared: int) -> tuple[ImportUploaded, Asked]:
        look = await self._look_by(entry, upload)
        limits = FileLimits(entry.sizes.limit(look.asked.dataset), self._max_ratio)
        if declared > limits.max_bytes:
            raise file_too_large(limits.max_bytes)
        async with Place(self._places, entry.caller.tenant) as place:
            blocks = place.paced(blocks_of(upload.chunks(), limits))
            await self._objects.put(entry.object_key, self._seen(blocks, look))
        asked = await self._with_dataset(entry, asked_in(await upload.fields()))
        if not look.holds_for(asked):
            look = await self._look_again(entry.object_key, asked)
        return self._describe(entry, look, asked, upload), asked

    async def _look_by(self, entry: Entry, upload: "Upload") -> Look:
        """The look at a file of which some fields may be unknown yet.

        A form that names its dataset before the file has said what leads the look, and hears at once what is wrong with
        the file. One that does not may say anything behind it.
        """
        asked = await self._with_dataset(entry, asked_in(upload.early_fields()))
        patient = asked.dataset is None and not upload.fields_are_complete
        return Look(asked, patient=patient)

    async def _with_dataset(self, entry: Entry, asked: Asked) -> Asked:
        if asked.corrects is None:
            return asked
        async with tenant_reading(self._engine, entry.caller.tenant) as connection:
            return await with_dataset(connection, entry.caller.tenant, asked)

    async def _seen(self, blocks: AsyncIterator[bytes], look: Look) -> AsyncIterator[bytes]:
        """The file's blocks. While one is looked at, the one before is stored and the next one comes in."""
        looking: asyncio.Task[None] | None = None
        try:
            async for block in blocks:
                if looking is not None:
                    await looking
                looking = asyncio.create_task(asyncio.to_thread(look.feed, block))
                yield block
            if looking is not None:
                await looking
        finally:
            if looking is not None:
                await asyncio.gather(looking, return_exceptions=True)  # no thread is left behind
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

    def _describe(self, entry: Entry, look: Look, asked: Asked, upload: "Upload") -> ImportUploaded:
        dataset = dataset_named(asked.dataset)
        seen = look.inspection
        if seen.size > (limit := entry.sizes.limit(dataset.name)):
            raise file_too_large(limit)
        assert seen.dialect is not None
        return ImportUploaded(
            import_id=entry.import_id,
            dataset=dataset.name,
            source=asked.source,
            file_name=printable(base_name(upload.file_name)) or "upload.csv",
            file_size=seen.size,
            sha256=seen.sha256,
            object_key=entry.object_key,
            dialect=seen.dialect,
            explanation=seen.explanation,
            columns=dict(seen.match(dataset).columns),
            column_count=seen.width,
            header=tuple(seen.header),
            rows_detected=seen.rows_detected,
            lines_detected=seen.lines_detected,
            options=asked.options,
            corrects=asked.corrects,
            uploaded_at=datetime.now(UTC),
        )

    async def _register(
        self,
        entry: Entry,
        uploaded: ImportUploaded,
        asked: Asked,
        upload: "Upload",
        within: Registering | None,
    ) -> Accepted:
        tenant = entry.caller.tenant
        event = self._bus.event(uploaded, tenant=tenant, subject=uploaded.import_id)
        fields = await upload.fields()
        async with self._engine.begin() as connection:
            rows_per_second = await noted.find_speed(connection)
            await noted.lock_tenant(connection, tenant)
            now = await noted.find_circumstances(
                connection, tenant, uploaded.dataset, uploaded.sha256, import_id=uploaded.import_id
            )
            check_open(now.open, entry.imports_at_once, {})
            if now.same and not asked.force and not asked.options.dry_run:
                raise already_imported(now.same, uploaded.dataset)
            accepted = accepted_of(uploaded, rows_ahead=now.rows_ahead, rows_per_second=rows_per_second)
            if not await repository.add_import(
                connection,
                uploaded,
                tenant=tenant,
                uploaded_by=entry.caller.subject,
                forced=asked.force,
                owner=self._admission.owner,
            ):
                raise _taken_over()
            if entry.key is not None:
                fingerprint = idempotency.fingerprint_of(uploaded.sha256, upload.file_name, fields)
                answer = accepted.model_dump_json()
                if not await noted.complete_key(
                    connection,
                    tenant,
                    entry.key,
                    import_id=entry.import_id,
                    fingerprint=fingerprint,
                    answer=answer,
                ):
                    raise _taken_over()
            if within is not None:
                await within(connection)
            await self._bus.publish(connection, event)
        return accepted

    async def _withdraw(self, entry: Entry) -> None:
        """Leave nothing of an upload that came to nothing. What cannot be done now, the sweeper does."""
        try:
            async with self._engine.connect() as connection:
                if not await noted.may_be_removed(connection, entry.import_id, self._admission.owner):
                    return
            await self._objects.discard(entry.object_key)
        except Exception as error:  # noqa: BLE001 - the reason for withdrawing is what the caller must hear
            log.warning("upload.not_withdrawn", import_id=str(entry.import_id), error=repr(error))
            return
        await self._admission.leave(entry)


def _taken_over() -> Unavailable:
    # This process was cut off from the database for so long that others took it for dead.
    return Unavailable("upload_interrupted", "the upload was interrupted on our side; nothing was kept of it")


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
