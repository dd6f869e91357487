"""The pipeline of one slice: claim, read, check, load, report. Only the load is a transaction; it holds everything."""

import asyncio
import random
from dataclasses import asdict
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.processor import repository
from services.processor.merging import merge_of
from services.processor.repository import LeaseLost, Work
from services.processor.slices import RowError, Slice, SliceReader
from shared.contracts.datasets import datasets
from shared.contracts.dialect import Dialect
from shared.contracts.events import (
    COUNTS,
    AnyEvent,
    Counts,
    Event,
    EventData,
    ImportCompleted,
    ImportFailed,
    ImportProgressed,
    ImportUploaded,
    SliceProcess,
)
from shared.platform.bus import Bus, Later
from shared.platform.logs import get_logger
from shared.platform.objects import ObjectMissing, Objects
from shared.reading.batch import Checkpoint

PROGRESS_SECONDS = 0.5  # progress goes out at most this often for one import
BUSY_SECONDS = 1.0  # when another processor has the import in hand, look again after this
# Two imports may meet in the same keys; PostgreSQL then ends one of the transactions, and it is done again.
COLLISIONS = frozenset({"40001", "40P01", "23505"})  # serialization, deadlock, unique violation
COLLISION_ATTEMPTS = 6
RECORD_SOUGHT_BYTES = 4 * 1024**3  # the end of a record is sought no further: within a lease on a local disk
MAX_TRIES = 20  # claims of one slice, most of which must have ended with the process

log = get_logger(__name__)


class ImportBroken(Exception):
    """The import can never go on (`code` says why). It is ended as failed; the message is not tried again."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Pipeline:
    """Does slices. One instance serves all imports of a process; calls may run side by side."""

    def __init__(
        self,
        engine: AsyncEngine,
        bus: Bus,
        objects: Objects,
        *,
        slice_bytes: int,
        lease_seconds: float,
        row_errors_kept: int,
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._objects = objects
        self._slice_bytes = slice_bytes
        self._lease_seconds = lease_seconds
        self._row_errors_kept = row_errors_kept
        self._announced: dict[UUID, float] = {}
        self._in_hand: set[UUID] = set()

    async def process(self, event: Event[SliceProcess]) -> None:
        """Do the slice that the command asks for, unless it is done.

        Raises:
            Later: another processor has it in hand.
        """
        import_id = event.data.import_id
        if import_id in self._in_hand:
            raise Later(BUSY_SECONDS)
        self._in_hand.add(import_id)
        try:
            work = await self._claim(event.data)
            if work is not None:
                await self._attempt(work)
        finally:
            self._in_hand.discard(import_id)

    async def resume(self) -> None:
        """Ask again for the next slice of every unfinished import, should its command be lost with a broker."""
        async with self._engine.begin() as connection:
            for work in await repository.unfinished(connection):
                await self._publish(
                    connection, work, SliceProcess(import_id=work.import_id, slice=work.slice)
                )

    async def give_up(self, event: AnyEvent, error: BaseException) -> None:
        """End the import that `event` is about as failed, after the last attempt at it."""
        if isinstance(event.data, ImportUploaded):  # not taken on yet, so nobody would hear of its end
            async with self._engine.begin() as connection:
                await repository.add_import(connection, event.tenant, event.data)
        message = f"gave up after repeated errors, the last one: {type(error).__name__}"
        await self._fail(event.data.import_id, "processing_failed", message)

    async def _claim(self, command: SliceProcess) -> Work | None:
        async with self._engine.begin() as connection:
            work = await repository.claim(
                connection,
                command.import_id,
                command.slice,
                owner=self._bus.presence.instance,
                seconds=self._lease_seconds,
            )
            if work is not None:
                return work
            current = await repository.find(connection, command.import_id)
        if current is None or current.status != "processing" or current.slice != command.slice:
            return None  # done before: the command came twice
        raise Later(BUSY_SECONDS)

    async def _attempt(self, work: Work) -> None:
        try:
            await self._do(work)
        except LeaseLost as error:
            log.warning("slice.lease_lost", error=str(error))
        except ImportBroken as broken:
            await self._fail(work.import_id, broken.code, str(broken))
        except BaseException:
            await self._release(work)
            raise

    async def _do(self, work: Work) -> None:
        if work.tries > MAX_TRIES:
            raise ImportBroken("slice_fatal", f"slice {work.slice} has ended its processor {MAX_TRIES} times")
        moved = await self._load_patiently(work, await self._read(work))
        if moved.status == "completed":
            log.info("import.completed", import_id=str(work.import_id), rows=moved.rows_processed)
        else:
            await self._announce(moved)

    async def _read(self, work: Work) -> Slice:
        reader = SliceReader(
            dataset=work.dataset,
            dialect=Dialect.model_validate(work.dialect),
            columns=work.columns,
            column_count=work.column_count,
            checkpoint=Checkpoint(work.byte_offset, work.record_number, work.line_number),
            errors_wanted=self._room(work),
        )
        offset = work.byte_offset
        while not (reader.moved or reader.slice.at_end):
            if offset - work.byte_offset > RECORD_SOUGHT_BYTES:
                raise ImportBroken(
                    "record_endless",
                    f"the record at byte {work.byte_offset} does not end within {RECORD_SOUGHT_BYTES} bytes",
                )
            block = await self._block(work, offset)
            offset += len(block)
            await asyncio.to_thread(reader.feed, block, at_end=offset >= work.file_size)
        return reader.slice

    async def _block(self, work: Work, offset: int) -> bytes:
        length = min(self._slice_bytes, work.file_size - offset)
        if length == 0:
            return b""  # the slice before was full just where the file ends
        try:
            block = await self._objects.read(work.object_key, offset, length)
        except ObjectMissing as error:
            raise ImportBroken("file_missing", "the uploaded file is no longer in the store") from error
        if len(block) < length:
            end = offset + len(block)
            raise ImportBroken("file_truncated", f"the stored file ends at byte {end} of {work.file_size}")
        return block

    async def _load_patiently(self, work: Work, done: Slice) -> Work:
        for attempt in range(1, COLLISION_ATTEMPTS + 1):
            try:
                async with self._engine.begin() as connection:
                    return await self._load(connection, work, done)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in COLLISIONS or attempt == COLLISION_ATTEMPTS:
                    raise
                log.info("slice.collision", import_id=str(work.import_id), attempt=attempt)
                await asyncio.sleep(random.uniform(0, 0.05 * 2**attempt))
        raise AssertionError("unreachable")

    async def _load(self, connection: AsyncConnection, work: Work, done: Slice) -> Work:
        await repository.hold(connection, work)
        dataset = datasets()[work.dataset]
        statements = merge_of(dataset, work.columns)
        merged = await repository.merge(connection, statements, work, done.staged)
        room = self._room(work)
        taken = await repository.duplicates(connection, statements, work, limit=room)
        errors = [*done.errors[:room], *done.duplicate_errors(dataset, work.import_id, taken)][:room]
        await repository.add_row_errors(connection, [_row(work, error) for error in errors])
        balance = Counts(
            rows_processed=done.records,
            rows_inserted=merged.inserted,
            rows_updated=merged.updated,
            rows_unchanged=merged.unchanged,
            rows_duplicate=merged.duplicate,
            rows_rejected=done.rejected,
        )
        moved = await repository.advance(connection, work, done.checkpoint, balance, errors_kept=len(errors))
        if not done.at_end:
            await self._publish(connection, moved, SliceProcess(import_id=work.import_id, slice=moved.slice))
            return moved
        finished = await repository.complete(connection, moved, dataset.version)
        await self._publish(connection, finished, ImportCompleted(**_ended(finished)))
        return finished

    def _room(self, work: Work) -> int:
        return max(0, self._row_errors_kept - int(work.row_errors_kept))

    async def _fail(self, import_id: UUID, code: str, message: str) -> None:
        async with self._engine.begin() as connection:
            failed = await repository.fail(connection, import_id, code, message)
            if failed is not None:
                await self._publish(connection, failed, _failed(failed))
                log.error("import.failed", import_id=str(import_id), code=code, error=message)

    async def _release(self, work: Work) -> None:
        try:
            async with self._engine.begin() as connection:
                await repository.release(connection, work)
        except Exception as error:  # noqa: BLE001 - the lease then ends by itself
            log.warning("slice.not_released", error=repr(error))

    async def _publish(self, connection: AsyncConnection, work: Work, data: EventData) -> None:
        event = self._bus.event(data, tenant=work.tenant, subject=work.import_id)
        await self._bus.publish(connection, event)

    async def _announce(self, work: Work) -> None:
        now = monotonic()
        if now - self._announced.get(work.import_id, 0.0) < PROGRESS_SECONDS:
            return
        recent = {key: at for key, at in self._announced.items() if now - at < PROGRESS_SECONDS}
        self._announced = recent | {work.import_id: now}
        progress = ImportProgressed(
            import_id=work.import_id,
            dataset=work.dataset,
            bytes_processed=work.byte_offset,
            file_size=work.file_size,
            rows_detected=work.rows_detected,
            processing_started_at=work.started_at,
            **_counts(work),
        )
        await self._bus.announce(self._bus.event(progress, tenant=work.tenant, subject=work.import_id))


def _row(work: Work, error: RowError) -> tuple[object, ...]:
    return (work.tenant, work.import_id, *asdict(error).values())


def _counts(work: Work) -> dict[str, Any]:
    return {name: getattr(work, name) for name in COUNTS}


def _ended(work: Work) -> dict[str, Any]:
    return _counts(work) | {
        "import_id": work.import_id,
        "dataset": work.dataset,
        "source": work.source,
        "file_name": work.file_name,
        "processing_started_at": work.started_at,
        "processing_completed_at": work.finished_at,
    }


def _failed(work: Work) -> ImportFailed:
    return ImportFailed(error_code=work.error_code, error_message=work.error_message, **_ended(work))
