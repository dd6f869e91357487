"""Intake: a file streams into the store, is looked at on its way, and becomes an import. Or nothing is left of it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid4

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from services.upload import repository
from services.upload.inspection import Inspection, dataset_named
from shared.contracts.events import ImportUploaded
from shared.contracts.problems import Unprocessable
from shared.platform.auth import Principal
from shared.platform.bus import Bus
from shared.platform.logs import get_logger
from shared.platform.objects import Objects

FIELDS = frozenset({"dataset", "data_source_name"})
MAX_NAME = 255  # characters of a file name or a source
RECORDS_PER_SECOND = 50_000  # what a processor does at least, on the machines we measured

log = get_logger(__name__)


class Accepted(BaseModel):
    """The answer to an upload: what became of it, and where to look."""

    id: UUID
    status: str = "pending"
    dataset: str
    file_name: str
    file_size: int
    sha256: str
    rows_detected: int
    estimated_processing_time: float
    links: dict[str, str]


class Intake:
    """Takes one file at a time per call; calls may run side by side."""

    def __init__(self, engine: AsyncEngine, bus: Bus, objects: Objects, *, max_bytes: int) -> None:
        self._engine = engine
        self._bus = bus
        self._objects = objects
        self._max_bytes = max_bytes

    async def receive(self, caller: Principal, upload: "Upload") -> Accepted:
        """Store and register the file that `upload` brings.

        Raises:
            Problem: the file or a field is no good; nothing is stored.
        """
        import_id = uuid4()
        key = f"uploads/{import_id}"
        inspection = Inspection(self._max_bytes)
        await self._objects.put(key, _inspected(upload.chunks(), inspection, upload))
        try:
            uploaded = await self._describe(import_id, key, inspection, upload)
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
        return _accepted(uploaded)

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

    async def _describe(
        self, import_id: UUID, key: str, inspection: Inspection, upload: "Upload"
    ) -> ImportUploaded:
        fields = await upload.fields()
        if unknown := set(fields) - FIELDS:
            raise Unprocessable(
                "field_unknown",
                f"unknown field {', '.join(sorted(unknown))}",
                hint=f"fields are: file, {', '.join(sorted(FIELDS))}",
            )
        dataset = dataset_named(fields.get("dataset"))
        assert inspection.dialect is not None
        return ImportUploaded(
            import_id=import_id,
            dataset=dataset.name,
            source=_printable(fields.get("data_source_name", "")) or None,
            file_name=_printable(_base_name(upload.file_name)) or "upload.csv",
            file_size=inspection.size,
            sha256=inspection.sha256,
            object_key=key,
            dialect=inspection.dialect,
            columns=dict(inspection.match(dataset).columns),
            column_count=len(inspection.header),
            rows_detected=inspection.rows_detected,
            uploaded_at=datetime.now(UTC),
        )

    async def _register(self, caller: Principal, uploaded: ImportUploaded) -> None:
        event = self._bus.event(uploaded, tenant=caller.tenant, subject=uploaded.import_id)
        async with self._engine.begin() as connection:
            await repository.add_import(
                connection, uploaded, tenant=caller.tenant, uploaded_by=caller.subject
            )
            await self._bus.publish(connection, event)


class Upload(Protocol):
    """One request's file and fields, in whatever form they come. Fields are complete only after the chunks."""

    file_name: str

    def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes; to be read once, to the end."""
        ...

    def early_fields(self) -> dict[str, str]:
        """The fields known while the file still flows."""
        ...

    async def fields(self) -> dict[str, str]:
        """All fields."""
        ...


async def _inspected(
    chunks: AsyncIterator[bytes], inspection: Inspection, upload: Upload
) -> AsyncIterator[bytes]:
    checked = False
    async for chunk in chunks:
        inspection.feed(chunk)
        if not checked and inspection.dialect is not None:
            checked = True
            if name := upload.early_fields().get("dataset"):
                inspection.match(dataset_named(name))
        yield chunk
    inspection.finish()


def _base_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _printable(name: str) -> str:
    """`name` without control characters and surplus length: it is shown and logged, never opened."""
    return "".join(letter for letter in name if letter.isprintable()).strip()[:MAX_NAME]


def _accepted(uploaded: ImportUploaded) -> Accepted:
    link = f"/api/v1/imports/{uploaded.import_id}"
    return Accepted(
        id=uploaded.import_id,
        dataset=uploaded.dataset,
        file_name=uploaded.file_name,
        file_size=uploaded.file_size,
        sha256=uploaded.sha256,
        rows_detected=uploaded.rows_detected,
        estimated_processing_time=round(0.5 + uploaded.rows_detected / RECORDS_PER_SECOND, 1),
        links={
            "self": link,
            "events": f"{link}/events",
            "errors": f"{link}/errors",
            "receipt": f"{link}/receipt",
        },
    )
