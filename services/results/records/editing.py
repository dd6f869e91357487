"""The verb of edits: ask the processor, which alone writes records, and wait for what became of it.

`shared.contracts.record_edits` tells why what is answered here is true. Whoever asks holds a session of PostgreSQL while
it waits, so there are places for few: what is more waits in line for a moment, then is answered 503.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.results.records import repository_edits as repository
from services.results.records.repository_edits import Reply
from shared.contracts.datasets import Dataset
from shared.contracts.events import AnyEvent, RecordCommand, RecordReplied, RecordsDeleteAll
from shared.contracts.problems import (
    Conflict,
    NoAnswer,
    NotFound,
    PreconditionFailed,
    Problem,
    Unavailable,
    Unprocessable,
)
from shared.contracts.record_edits import EditLocks, edit_locks
from shared.platform.bus import Bus
from shared.platform.logs import get_logger
from shared.platform.places import Places
from shared.platform.service import Stopping
from shared.platform.tenancy import tenant_reading, tenant_writing

PLACES = 10  # edits that wait in one process, each with a session of PostgreSQL
SHARE = 5  # of them, that one tenant may have at a time
IN_LINE_SECONDS = 1.0
ANSWER_SECONDS = 5.0  # until the reply to an edit of one record; usually it takes some 20 ms
ANSWER_ALL_SECONDS = 40.0  # millions of records take some seconds; a request may take 60 s in all
LEAVING_SECONDS = 1.2  # the same once the process was told to stop: a request gets 2 s then
LOOK_SECONDS = 0.2  # the event that wakes may be lost
SETTLE_SECONDS = 5.0  # a processor decides within a commit
SETTLE_ANEW_SECONDS = 8.0  # a PostgreSQL that was killed is back by then
SETTLE_PAUSE_SECONDS = 0.25
RETRY_SECONDS = 5

log = get_logger(__name__)


_Leave = Callable[[AsyncConnection, EditLocks], Awaitable[bool]]
_OF_EVERY_PROBLEM = frozenset({"type", "title", "status", "code", "detail", "hint"})


class _Held(Exception):
    """The lock that was to be free is held, so the edit may still be done. To be asked again."""


class Edits:
    """Asks for edits. One instance serves a process.

    Args:
        engine: For what takes a moment.
        sessions: An engine of its own with room for PLACES connections, each held as long as an edit takes.
        stopping: Once the process was told to stop, nobody waits any longer than requests may take then.
    """

    def __init__(self, engine: AsyncEngine, sessions: AsyncEngine, bus: Bus, stopping: Stopping) -> None:
        self._engine = engine
        self._sessions = sessions
        self._bus = bus
        self._stopping = stopping
        self._places = Places(PLACES, SHARE)
        self._waiting: dict[UUID, asyncio.Event] = {}

    async def hear(self, event: AnyEvent) -> None:
        """A listener to live events: wakes whoever waits for this reply."""
        if isinstance(event.data, RecordReplied) and (waiting := self._waiting.get(event.data.edit_id)):
            waiting.set()

    async def ask(self, tenant: str, dataset: Dataset, command: RecordCommand) -> Reply:
        """Have `command` done.

        Raises:
            Problem: why it was not done, as the processor says it: `record_exists`, `record_not_found`,
                `record_changed`, `record_invalid`, `record_key_differs`, `records_busy`.
            Unavailable: `edits_busy`, `processor_unavailable`: nothing was done, and nothing will be.
            NoAnswer: `edit_unknown`: it cannot be found out whether it was done.
        """
        async with self._place(tenant):
            reply = await self._asked(tenant, dataset, command)
        if reply is None:
            raise Unavailable(
                "processor_unavailable",
                "the processor, which writes records, has not answered in time; nothing was changed",
                retry_after=RETRY_SECONDS,
                hint="try again later",
            )
        if reply.problem is not None:
            raise _problem_from(reply.problem)
        return reply

    @asynccontextmanager
    async def _place(self, tenant: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(IN_LINE_SECONDS):
                await self._places.take(tenant)
        except TimeoutError as error:
            raise Unavailable(
                "edits_busy",
                "as many edits as may wait for their answer at a time do so already; nothing was changed",
                retry_after=1,
                hint="send fewer at a time",
            ) from error
        try:
            yield
        finally:
            self._places.give_back(tenant)

    async def _asked(self, tenant: str, dataset: Dataset, command: RecordCommand) -> Reply | None:
        """The reply, or None if there will be none."""
        edit = _Edit(tenant, dataset, command.edit_id)
        async with self._waiting_session(edit.locks) as session:
            try:
                reply = await self._answer(edit, command)
                return reply or await self._settle(session, edit, repository.leave)
            except (SQLAlchemyError, OSError) as error:
                log.warning("edit.interrupted", edit_id=str(edit.edit_id), error=repr(error))
                await session.invalidate()
                return await self._settle_anew(edit)

    @asynccontextmanager
    async def _waiting_session(self, locks: EditLocks) -> AsyncIterator[AsyncConnection]:
        """A session that says that somebody waits. However the block ends, it says so no longer."""
        async with self._sessions.connect() as session:
            try:
                await repository.ask(session, locks)
                yield session
                if not session.invalidated:
                    await repository.leave(session, locks)
                    await session.commit()
            except BaseException:
                await session.invalidate()
                raise

    async def _answer(self, edit: "_Edit", command: RecordCommand) -> Reply | None:
        """Have the command go out, and wait for the reply."""
        woken = self._waiting[edit.edit_id] = asyncio.Event()
        try:
            async with tenant_writing(self._engine, edit.tenant) as connection:
                event = self._bus.event(command, tenant=edit.tenant, subject=edit.edit_id)
                await self._bus.publish(connection, event)
            of_all = isinstance(command, RecordsDeleteAll)
            until = monotonic() + (ANSWER_ALL_SECONDS if of_all else ANSWER_SECONDS)
            leaving = False
            while (left := until - monotonic()) > 0:
                if self._stopping and not leaving:
                    leaving, until = True, min(until, monotonic() + LEAVING_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, LOOK_SECONDS)):
                        await woken.wait()
                woken.clear()
                if reply := await self._look(edit):
                    return reply
        finally:
            del self._waiting[edit.edit_id]
        return None

    async def _look(self, edit: "_Edit") -> Reply | None:
        async with tenant_reading(self._engine, edit.tenant) as connection:
            return await repository.find_reply(connection, edit.tenant, edit.dataset, edit.edit_id)

    async def _settle(self, session: AsyncConnection, edit: "_Edit", leave: _Leave) -> Reply | None:
        """What became of the edit, now that nobody waits any longer: the reply; or None, and there will be none.

        Raises:
            _Held: somebody still seems to wait, so the edit may still be done.
            DBAPIError: 55P03: a processor has been deciding for SETTLE_SECONDS.
        """
        async with session.begin():
            await repository.decide(session, edit.locks, seconds=SETTLE_SECONDS)
            reply = await self._look(edit)
            if reply is None and not await leave(session, edit.locks):
                raise _Held
            return reply

    async def _settle_anew(self, edit: "_Edit") -> Reply | None:
        """`_settle` when the session that waited is lost: as soon as PostgreSQL has noticed, too."""
        until = monotonic() + SETTLE_ANEW_SECONDS
        while monotonic() < until:
            with suppress(_Held, SQLAlchemyError, OSError):
                async with self._engine.connect() as session:
                    return await self._settle(session, edit, repository.has_left)
            await asyncio.sleep(SETTLE_PAUSE_SECONDS)
        raise NoAnswer(
            "edit_unknown",
            "the database was lost while the edit was under way; it may have been done, or may not",
            hint="read the record, and try again if it is as it was",
        )


@dataclass(frozen=True)
class _Edit:
    """What is waited for."""

    tenant: str
    dataset: Dataset
    edit_id: UUID

    @property
    def locks(self) -> EditLocks:
        return edit_locks(self.edit_id)


_KINDS: Mapping[int, type[Problem]] = MappingProxyType(
    {kind.status: kind for kind in (NotFound, Conflict, PreconditionFailed, Unprocessable, Unavailable)}
)


def _problem_from(document: dict[str, Any]) -> Problem:
    """The problem in a reply, to be answered with."""
    extra = {name: value for name, value in document.items() if name not in _OF_EVERY_PROBLEM}
    kind = _KINDS[document["status"]]
    problem = kind(document["code"], document["detail"], hint=document.get("hint"), **extra)
    return problem.answered_with({"ETag": extra["etag"]}) if "etag" in extra else problem
