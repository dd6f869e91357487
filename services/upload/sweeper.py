"""The sweeper: removes what uploads leave behind whose process was killed, or could not reach the store or the database."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from services.upload import repository_admission as noted
from services.upload.admission import Admission
from services.upload.limits import WINDOW
from shared.platform.logs import get_logger
from shared.platform.objects import Objects, StoreUnavailable
from shared.platform.service import Stopping

SWEEP_SECONDS = 60.0
FIRST_SECONDS = (
    2.0  # a killed process's locks end with its connection, which takes PostgreSQL a moment to notice
)
RETRY_LOST = timedelta(hours=1)  # commands come again for much less than that, then they are dead letters

log = get_logger(__name__)

Sweep = Callable[[], Awaitable[None]]


class Sweeper:
    """Sweeps now and then until the process stops. Any number of processes may do so side by side.

    Args:
        further: Other sweeps to do with this one.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        objects: Objects,
        admission: Admission,
        stopping: Stopping,
        *,
        further: tuple[Sweep, ...] = (),
    ) -> None:
        self._engine = engine
        self._objects = objects
        self._admission = admission
        self._stopping = stopping
        self._sweeps: tuple[Sweep, ...] = (self.sweep_uploads, self.sweep_notes, *further)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def sweep_uploads(self) -> None:
        """Remove the files of uploads that nobody has in hand any more, and free their idempotency keys."""
        admission = self._admission
        async with self._engine.begin() as connection:
            taken = await noted.take_over_intakes(connection, admission.owner, admission.in_hand)
            # One may have begun while the statement was on its way. It stays in hand as long as its note is locked here.
            left = [upload for upload in taken if upload.import_id not in admission.in_hand]
            # Now they are in hand: nobody may begin one of them anew while its file is being removed.
            admission.in_hand.update(upload.import_id for upload in left)
        try:
            for upload in left:
                await self._sweep_upload(upload.import_id, upload.object_key)
        finally:
            admission.in_hand.difference_update(upload.import_id for upload in left)

    async def _sweep_upload(self, import_id: UUID, object_key: str) -> None:
        try:
            await self._objects.discard(object_key)
        except StoreUnavailable:
            return  # the next sweep does it; the others need not wait for that
        async with self._engine.begin() as connection:
            await noted.release_key(connection, import_id)
            await noted.end_intake(connection, import_id, self._admission.owner)
        log.info("upload.swept", import_id=str(import_id))

    async def sweep_notes(self) -> None:
        """Forget idempotency keys, rates and open imports that are over."""
        async with self._engine.begin() as connection:
            await noted.remove_expired(connection, WINDOW)
            await noted.remove_ended(connection, lost_after=RETRY_LOST)

    async def _run(self) -> None:
        pause = FIRST_SECONDS
        while not await self._stopping.wait(pause):
            pause = SWEEP_SECONDS
            for sweep in self._sweeps:
                try:
                    await sweep()
                except Exception as error:  # noqa: BLE001 - the next sweep does it
                    log.warning("upload.sweep_failed", error=repr(error))
