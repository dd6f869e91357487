"""Forgetting what is old, some thousand rows in a transaction, so that nobody waits for long."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Table, delete, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.platform.logs import get_logger
from shared.platform.service import Stopping

STEP = 2000  # rows in a transaction
PURGE_SECONDS = 3600.0
FIRST_SECONDS = 60.0  # soon after a start, and not in the midst of it

log = get_logger(__name__)


async def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Rule:
    """What goes when it is old.

    Attributes:
        what: In a few words: `files of imports`.
        setting: Which one says for how many days it is kept.
        days: Its value; None: it is kept for good.
        count: How many there are that are older.
        forget: Removes them: how many. Any number of processes may do so side by side.
        finish: Ends what a process had begun that did not come to the end, also when nothing is to go any more.
    """

    what: str
    setting: str
    days: int | None
    count: Callable[[timedelta], Awaitable[int]]
    forget: Callable[[timedelta], Awaitable[int]]
    finish: Callable[[], Awaitable[None]] = _nothing

    async def counted(self) -> int:
        return 0 if self.days is None else await self.count(timedelta(days=self.days))

    async def applied(self) -> int:
        await self.finish()
        return 0 if self.days is None else await self.forget(timedelta(days=self.days))


class Retention:
    """Applies the rules of a service now and then until the process stops."""

    def __init__(self, service: str, stopping: Stopping, rules: Sequence[Rule]) -> None:
        self._service = service
        self._stopping = stopping
        self._rules = rules
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"{self._service}.retention")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        seconds = FIRST_SECONDS
        while not await self._stopping.wait(seconds):
            for rule in self._rules:
                try:
                    if removed := await rule.applied():
                        log.info("retention.purged", what=rule.what, removed=removed)
                except Exception as error:  # noqa: BLE001 - what is old may be removed an hour later
                    log.warning("retention.not_purged", what=rule.what, error=repr(error))
            seconds = PURGE_SECONDS


def old_rows(
    engine: AsyncEngine, table: Table, moment: str, *, what: str, setting: str, days: int | None
) -> Rule:
    """That rows of `table` go whose column `moment` says that they are old; it has a primary key."""
    when, keys = table.c[moment], list(table.primary_key)

    def before(age: timedelta) -> Any:
        return when < func.now() - literal(age)

    async def count(age: timedelta) -> int:
        async with engine.connect() as connection:
            found = select(func.count()).select_from(table).where(before(age))
            return int((await connection.execute(found)).scalar_one())

    async def forget(age: timedelta) -> int:
        old = select(*keys).where(before(age)).order_by(when).limit(STEP).with_for_update(skip_locked=True)
        removed, number = 0, STEP
        while number == STEP:
            async with engine.begin() as connection:
                number = (await connection.execute(delete(table).where(tuple_(*keys).in_(old)))).rowcount
            removed += number
        return removed

    return Rule(what, setting, days, count, forget)


def handled_events(engine: AsyncEngine, inbox: Table, days: int) -> Rule:
    """That a service forgets which events it has handled long ago: none comes again as late as that."""
    setting = "PENSTOCK_EVENT_RETENTION_DAYS"
    return old_rows(engine, inbox, "handled_at", what="events handled (inbox)", setting=setting, days=days)
