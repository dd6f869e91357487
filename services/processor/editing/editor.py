"""One command is one transaction, as `shared.contracts.record_edits` has it: what is answered is what was done."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.processor import searching
from services.processor.editing import repository
from services.processor.editing.changes import Edited, edit
from services.processor.reasons import COLLISIONS, LOCK_NOT_AVAILABLE, sqlstate_of
from shared.contracts.events import AnyEvent, RecordReplied, RecordsDeleteAll
from shared.contracts.problems import Unavailable
from shared.contracts.record_edits import edit_locks
from shared.platform.bus import Bus, Later
from shared.platform.logs import get_logger

# For a lock: what a slice takes. An import that is applied all at once may have it for minutes, and whoever waits keeps a
# worker from all other tenants' edits: so it goes to the end of the queue, and tries again.
LOCK_SECONDS = 0.5
# To delete all waits in line with the slices of the imports that are being loaded, whose end it would never come to if it
# gave up its place each time. One at a time does so in a process: a worker is all that this takes.
IN_LINE_SECONDS = 10.0
LATER_SECONDS = 0.2  # the bus looks once a second
# Who asks waits 5 s for one record, and 40 s for all to be deleted: tried again for less, so that it hears why.
WAITING_SECONDS = 2.5
WAITING_FOR_SLICES_SECONDS = 25.0
COLLISION_ATTEMPTS = 5

log = get_logger(__name__)


class NobodyWaits(Exception):
    """Who asked for the edit waits no longer, or was answered before. What was begun is rolled back; nothing is missing."""


class Editor:
    """Does edits. One instance serves a process; calls may run side by side."""

    def __init__(self, engine: AsyncEngine, bus: Bus) -> None:
        self._engine = engine
        self._bus = bus
        self._in_line = asyncio.Semaphore()

    async def handle(self, command: AnyEvent) -> None:
        """Do what the command asks for, and reply; nothing, if nobody waits for it.

        Raises:
            Later: somebody else has the records in hand.
        """
        try:
            edited = await self._attempt(command)
        except NobodyWaits:
            log.info("edit.not_awaited", edit_id=str(command.data.edit_id), command=command.type)
        else:
            log.info("edit.done", edit_id=str(command.data.edit_id), outcome=edited.outcome)
        # Also where the reply was there before: that may be what is being waited for.
        replied = RecordReplied(edit_id=command.data.edit_id)
        await self._bus.announce(
            self._bus.event(replied, tenant=command.tenant, subject=command.data.edit_id)
        )

    async def _attempt(self, command: AnyEvent) -> Edited:
        for attempt in range(1, COLLISION_ATTEMPTS + 1):
            try:
                async with self._patience(command) as seconds, self._engine.begin() as connection:
                    return await self._decided(connection, command, lock_seconds=seconds)
            except DBAPIError as error:
                state = sqlstate_of(error)
                if state == LOCK_NOT_AVAILABLE:
                    if _may_wait(command):
                        raise Later(LATER_SECONDS) from error
                    return await self._refuse_as_busy(command)
                if state not in COLLISIONS or attempt == COLLISION_ATTEMPTS:
                    raise
                log.info("edit.collision", edit_id=str(command.data.edit_id), attempt=attempt)
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _patience(self, command: AnyEvent) -> AsyncIterator[float]:
        """For how many seconds the block is to wait for a lock."""
        if not isinstance(command.data, RecordsDeleteAll) or self._in_line.locked():
            yield LOCK_SECONDS
            return
        async with self._in_line:
            yield IN_LINE_SECONDS

    async def _decided(
        self, connection: AsyncConnection, command: AnyEvent, *, lock_seconds: float
    ) -> Edited:
        """The change, unless nobody waits for it; then the reply, its place in `edits` and its event, if nobody has left."""
        edit_id, locks = command.data.edit_id, edit_locks(command.data.edit_id)
        if not await repository.begin(connection, edit_id, locks, seconds=lock_seconds):
            raise NobodyWaits
        edited = await edit(connection, command)
        await self._keep(connection, command, edited)
        await self._reply(connection, command, edited)
        return edited

    async def _keep(self, connection: AsyncConnection, command: AnyEvent, edited: Edited) -> None:
        if edited.told is None:
            return
        await repository.keep(
            connection,
            command.data.edit_id,
            tenant=command.tenant,
            dataset=command.data.dataset,
            action=edited.outcome,
            key=edited.key,
            records=edited.records,
            before=edited.before,
            requested_by=command.data.requested_by,
        )
        await self._have_found(connection, command, edited)
        event = self._bus.event(edited.told, tenant=command.tenant, subject=command.data.edit_id)
        await self._bus.publish(connection, event)

    async def _have_found(self, connection: AsyncConnection, command: AnyEvent, edited: Edited) -> None:
        """Have what was changed found by its words of now."""
        if edited.key is None:
            await searching.clear(connection, command.tenant, command.data.dataset)
        else:
            await searching.put(connection, command.tenant, command.data.dataset, [edited.key])

    async def _reply(self, connection: AsyncConnection, command: AnyEvent, edited: Edited) -> None:
        """The last thing that a transaction does: from here to its commit who asked cannot leave."""
        edit_id, locks = command.data.edit_id, edit_locks(command.data.edit_id)
        await repository.decide(connection, locks)
        told = await repository.reply(
            connection,
            edit_id,
            tenant=command.tenant,
            outcome=edited.outcome,
            record=edited.stored and edited.stored.row,
            etag=edited.stored and edited.stored.etag,
            deleted=edited.records if edited.outcome == "all_deleted" else None,
            problem=edited.problem and edited.problem.document(),
        )
        if not told or not await repository.is_asked(connection, locks):
            raise NobodyWaits

    async def _refuse_as_busy(self, command: AnyEvent) -> Edited:
        busy = Unavailable(
            "records_busy",
            "somebody else is writing these records, and has done so for seconds; nothing was changed",
            hint="try again later: when the import, or the deletion of all records, that is under way has ended",
        )
        refused = Edited("refused", problem=busy)
        async with self._engine.begin() as connection:
            await self._reply(connection, command, refused)
        return refused


def _may_wait(command: AnyEvent) -> bool:
    """Whether who asks will wait for another attempt, and for what is answered if that fails, too.

    By the asker's clock and this one; where they differ by seconds, it hears less well why, and nothing else.
    """
    of_all = isinstance(command.data, RecordsDeleteAll)
    seconds = WAITING_FOR_SLICES_SECONDS if of_all else WAITING_SECONDS
    return (datetime.now(UTC) - command.time).total_seconds() < seconds
