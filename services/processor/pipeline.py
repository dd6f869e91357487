"""The pipeline of an import: claim, then read, check and load slice after slice while the next one is read already.

Each slice is one transaction that holds everything: records, row errors, checkpoint. What a handler does not finish
within RUN_SECONDS it asks for with the next command, so that no message is held for long and other imports get a turn.

An import goes through phases:
    reading   slices are read, checked, and loaded, or kept until the end if nothing may be seen before it
    applying  what was kept is loaded in one transaction
    filing    duplicates that loading found are written into the error file
"""

import asyncio
import random
from collections.abc import Callable
from time import monotonic
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.processor import repository
from services.processor.editing.repository import forget_replies
from services.processor.figures import count_end, count_step
from services.processor.job import Job, Step
from services.processor.loading import drop_stage
from services.processor.reasons import (
    COLLISIONS,
    LOCK_NOT_AVAILABLE,
    ImportBroken,
    reason_of,
    refusal_of,
    sqlstate_of,
)
from services.processor.reports import cancelled, changed, completed, failed, progressed, resumed
from services.processor.repository import LeaseLost, Work
from shared.contracts.datasets import datasets
from shared.contracts.events import (
    FINAL_ERROR_CODES,
    AnyEvent,
    Event,
    EventData,
    ImportCancel,
    ImportRetry,
    ImportUploaded,
    SliceProcess,
)
from shared.platform.bus import Bus, Later
from shared.platform.logs import get_logger
from shared.platform.objects import Objects
from shared.platform.telemetry.figures import SLICE_SECONDS
from shared.platform.telemetry.tracing import span

PROGRESS_SECONDS = 0.5  # progress goes out at most this often for one import
BUSY_SECONDS = 1.0  # when another processor has the import in hand, look again after this
RUN_SECONDS = (
    5.0  # one command's work, slices begun within it; a stopping process waits for the slice in hand only
)
COLLISION_ATTEMPTS = 6
WATCH_SECONDS = 10.0
MAX_TRIES = 20  # claims of one slice, most of which must have ended with the process

log = get_logger(__name__)


class Pipeline:
    """Does imports. One instance serves all imports of a process; calls may run side by side.

    `stopping` tells when to begin no further slice: what is in hand ends with the next commit.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        bus: Bus,
        objects: Objects,
        *,
        slice_bytes: int,
        lease_seconds: float,
        row_errors_kept: int,
        stopping: Callable[[], bool] = lambda: False,
        run_seconds: float = RUN_SECONDS,
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._objects = objects
        self._slice_bytes = slice_bytes
        self._lease_seconds = lease_seconds
        self._row_errors_kept = row_errors_kept
        self._run_seconds = run_seconds
        self._announced: dict[UUID, float] = {}
        self._in_hand: set[UUID] = set()
        self._stopping = stopping

    def is_busy(self) -> bool:
        """Whether a slice is in hand."""
        return bool(self._in_hand)

    async def process(self, event: Event[SliceProcess]) -> None:
        """Do what the command asks for, unless it is done.

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
                await self._announce(work)  # being processed from now on, not from its first slice's end
                await self._attempt(work)
        finally:
            self._in_hand.discard(import_id)

    async def resume(self) -> None:
        """Ask again for the next slice of every unfinished import, should its command be lost with a broker."""
        async with self._engine.begin() as connection:
            for work in await repository.unfinished(connection):
                await self._command(connection, work)

    async def watch(self) -> None:
        """For ever: every WATCH_SECONDS, `remind` and `tidy`."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self.remind()
                await self.tidy()
            except Exception as error:  # noqa: BLE001 - the database may be away; there is a next time
                log.warning("imports.not_watched", error=repr(error))

    async def remind(self) -> None:
        """Ask again for imports that were left in the middle. A command too many does nothing."""
        async with self._engine.begin() as connection:
            for work in await repository.abandoned(connection, self._bus.presence.instance, self._in_hand):
                log.warning("import.abandoned", import_id=str(work.import_id), slice=work.slice)
                await self._command(connection, work)

    async def tidy(self) -> None:
        """Remove replies to edits that nobody will read any more, and cancels of imports that never came."""
        async with self._engine.begin() as connection:
            await forget_replies(connection)
            await repository.forget_early_cancels(connection)

    async def take_on(self, connection: AsyncConnection, event: Event[ImportUploaded]) -> None:
        """Take a new import on, and ask for its first slice; one that was cancelled before ends here."""
        uploaded = event.data
        if await repository.add_import(connection, event.tenant, uploaded):
            count_end(await self._end_cancelled(connection, uploaded.import_id))
            return
        command = SliceProcess(import_id=uploaded.import_id, slice=0)
        await self._bus.publish(
            connection, self._bus.event(command, tenant=event.tenant, subject=uploaded.import_id)
        )

    async def cancel(self, connection: AsyncConnection, event: Event[ImportCancel]) -> None:
        """End the import within one slice, or as it is taken on; one that has ended stays as it is.

        Raises:
            Later: a transaction has it in hand.
        """
        import_id = event.data.import_id
        if await repository.cancel_early(connection, import_id):
            return
        try:
            work = await repository.request_cancel(connection, import_id)
        except repository.Locked as error:
            raise Later(BUSY_SECONDS) from error
        if work is None:
            return
        if await repository.has_duplicates(connection, import_id):
            await self._command(connection, work)  # to be filed first; the last command may be minutes away
        else:
            count_end(await self._end_cancelled(connection, import_id))

    async def retry(self, connection: AsyncConnection, event: Event[ImportRetry]) -> None:
        """Take a failed import up again at its checkpoint; any other stays as it is."""
        work = await repository.resume(connection, event.data.import_id)
        if work is not None:
            await self._publish(connection, work, resumed(work))
            await self._command(connection, work)

    async def give_up(self, event: AnyEvent, error: BaseException) -> None:
        """End the import that `event` is about as failed, after the last attempt at it."""
        if isinstance(event.data, ImportCancel | ImportRetry):
            return
        if isinstance(event.data, ImportUploaded):  # not taken on yet, so nobody would hear of its end
            async with self._engine.begin() as connection:
                await repository.add_import(connection, event.tenant, event.data)
        commanded = event.data.slice if isinstance(event.data, SliceProcess) else None
        await self._fail(event.data.import_id, reason_of(error), commanded=commanded)

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
        if current is None or current.status != "processing" or current.commanded != command.slice:
            return None  # done before: the command came twice
        raise Later(BUSY_SECONDS)

    async def _attempt(self, work: Work) -> None:
        try:
            await self._run(work)
        except LeaseLost as error:
            log.warning("slice.lease_lost", error=str(error))
        except ImportBroken as broken:
            await self._fail(work.import_id, broken, fence=work.fence)
        except BaseException as error:
            if refused := refusal_of(error):
                await self._fail(work.import_id, refused, fence=work.fence)
                return
            await self._release(work)
            raise

    async def _run(self, work: Work) -> None:
        """Do steps of the import until it has ended, or the time is over."""
        if work.tries > MAX_TRIES:
            raise ImportBroken("slice_fatal", f"slice {work.slice} has ended its processor {MAX_TRIES} times")
        until = monotonic() + self._run_seconds
        job = Job(
            work,
            self._engine,
            self._objects,
            slice_bytes=self._slice_bytes,
            row_errors_kept=self._row_errors_kept,
        )
        try:
            while work.status == "processing":
                work = await self._step(job, work, until)
                if work.lease_owner is None:
                    break
        finally:
            await job.close()

    async def _step(self, job: Job, work: Work, until: float) -> Work:
        begun = monotonic()
        with span("slice", dataset=work.dataset, slice=work.slice) as current:
            step = await job.next(work)
            going_on = monotonic() < until and not self._stopping()
            if going_on:
                job.read_ahead(work, step)
            moved = await self._commit_patiently(job, work, step, going_on=going_on)
            current.set_attribute("records", moved.rows_processed - work.rows_processed)
        SLICE_SECONDS.labels(work.dataset).observe(monotonic() - begun)
        count_step(work, moved, step)
        if moved.status != "processing":
            count_end(moved)
        if moved.status == "completed":
            log.info("import.completed", import_id=str(work.import_id), rows=moved.rows_processed)
        elif moved.status == "processing":
            await self._announce(moved)
        return moved

    async def _commit_patiently(self, job: Job, work: Work, step: Step, *, going_on: bool) -> Work:
        for attempt in range(1, COLLISION_ATTEMPTS + 1):
            try:
                async with self._engine.begin() as connection:
                    return await self._commit(connection, job, work, step, going_on=going_on)
            except Exception as error:
                if (
                    sqlstate_of(error) == LOCK_NOT_AVAILABLE
                ):  # another import writes the same tables, for long
                    raise Later(BUSY_SECONDS) from error
                if sqlstate_of(error) not in COLLISIONS or attempt == COLLISION_ATTEMPTS:
                    raise
                log.info("slice.collision", import_id=str(work.import_id), attempt=attempt)
                await asyncio.sleep(random.uniform(0, 0.05 * 2**attempt))
        raise AssertionError("unreachable")

    async def _commit(
        self, connection: AsyncConnection, job: Job, work: Work, step: Step, *, going_on: bool
    ) -> Work:
        held = await repository.hold(connection, work)
        if held.cancel_requested and not work.cancel_requested and work.phase == "applying":
            return held  # nothing is loaded yet, and need not be
        done = await job.do(connection, work, step, lease_seconds=self._lease_seconds if going_on else None)
        moved = done.work
        for told in changed(held, moved, done.beside):
            await self._publish(connection, moved, told)
        if job.is_filed(moved) and not await repository.has_duplicates(connection, work.import_id):
            if not job.is_loaded(moved):
                return await self._end_cancelled(connection, work.import_id)
            finished = await repository.complete(connection, moved, datasets()[work.dataset].version)
            await self._publish(connection, finished, completed(finished))
            return finished
        if not going_on:
            await self._command(connection, moved)
        return moved

    async def _fail(
        self, import_id: UUID, reason: ImportBroken, *, fence: int | None = None, commanded: int | None = None
    ) -> None:
        async with self._engine.begin() as connection:
            final = reason.code in FINAL_ERROR_CODES
            work = await repository.end(
                connection,
                import_id,
                "failed",
                code=reason.code,
                message=str(reason),
                for_good=final,
                fence=fence,
                commanded=commanded,
            )
            if work is None:
                return
            if final:
                await drop_stage(connection, import_id)
            await self._publish(connection, work, failed(work))
        count_end(work)
        log.error("import.failed", import_id=str(import_id), code=reason.code, error=str(reason))

    async def _end_cancelled(self, connection: AsyncConnection, import_id: UUID) -> Work:
        work = await repository.end(connection, import_id, "cancelled", for_good=True)
        assert work is not None, "held under a lock while it was processing"
        await drop_stage(connection, import_id)
        await self._publish(connection, work, cancelled(work))
        log.info("import.cancelled", import_id=str(import_id), rows=work.rows_processed)
        return work

    async def _release(self, work: Work) -> None:
        try:
            async with self._engine.begin() as connection:
                await repository.release(connection, work)
        except Exception as error:  # noqa: BLE001 - the lease then ends by itself
            log.warning("slice.not_released", error=repr(error))

    async def _command(self, connection: AsyncConnection, work: Work) -> None:
        await self._publish(connection, work, SliceProcess(import_id=work.import_id, slice=work.commanded))

    async def _publish(self, connection: AsyncConnection, work: Work, data: EventData) -> None:
        event = self._bus.event(data, tenant=work.tenant, subject=work.import_id)
        await self._bus.publish(connection, event)

    async def _announce(self, work: Work) -> None:
        now = monotonic()
        if now - self._announced.get(work.import_id, 0.0) < PROGRESS_SECONDS:
            return
        recent = {key: at for key, at in self._announced.items() if now - at < PROGRESS_SECONDS}
        self._announced = recent | {work.import_id: now}
        await self._bus.announce(
            self._bus.event(progressed(work), tenant=work.tenant, subject=work.import_id)
        )
