"""The indexer: runs in every processor beside its imports, and brings what can be found by words up to what was written.

Searches are right without it, and slow where much is marked. It leaves the machine to slices while they are few seconds'
work; a process that never rests has it work half of the time instead.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from time import monotonic

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.processor.searching.indexing import Part, index_some, table_of, waiting
from shared.platform.logs import get_logger

POLL_SECONDS = 0.5
# Several million records are loaded meanwhile. An import of a million takes some seconds, longer with an
# indexer beside it.
PATIENCE_SECONDS = 60.0
MOST_PAUSE_SECONDS = 60.0  # between attempts that fail

# When the planner's statistics follow at once: autovacuum comes by once a minute, and until then every word of a new
# table is as rare to the planner as any other.
ANALYZED_KEYS = 1_000
ANALYZED_SHARE = 0.1  # of the table, as autovacuum's

log = get_logger(__name__)


class Indexer:
    """Indexes what is marked, for ever. One instance a process; those of other processes work on other parts.

    `is_busy` tells whether this process has a slice in hand.
    """

    def __init__(self, engine: AsyncEngine, is_busy: Callable[[], bool]) -> None:
        self._engine = engine
        self._is_busy = is_busy
        self._rested = monotonic()  # when nothing was due, or was last done
        self._overdue = False
        self._failures = 0
        self._not_analyzed: Counter[str] = Counter()

    async def run(self) -> None:
        """Until it is cancelled. What a step had begun is then rolled back, and done by the next one."""
        while True:
            try:
                pause = 0.0 if await self.turn() else POLL_SECONDS
                self._failures = 0
            except Exception as error:  # noqa: BLE001 - the database may be away; what is marked stays so
                self._failures += 1
                pause = min(POLL_SECONDS * 2 ** min(self._failures, 10), MOST_PAUSE_SECONDS)
                log.warning("search.not_indexed", error=repr(error), failures=self._failures)
            await asyncio.sleep(pause)

    async def turn(self) -> int:
        """One step for each part where anything is marked, unless slices go first; how many records were looked at."""
        async with self._engine.connect() as connection:
            parts = await waiting(connection)
        if not parts:
            self._rested, self._overdue = monotonic(), False
            await self._analyze()
            return 0
        errors: list[Exception] = []
        done = 0
        for part in sorted(parts):
            if not self._goes_on():
                break
            try:
                done += await self._step(part)
            except Exception as error:  # noqa: BLE001 - one part must not hold up the others
                log.warning("search.part_not_indexed", dataset=part.dataset, error=repr(error))
                errors.append(error)
        if errors and not done:
            raise errors[0]
        return done

    def _goes_on(self) -> bool:
        if not self._is_busy():
            return True
        self._overdue = self._overdue or monotonic() - self._rested > PATIENCE_SECONDS
        return self._overdue

    async def _step(self, part: Part) -> int:
        began = monotonic()
        async with self._engine.begin() as connection:
            done = await index_some(connection, part)
        self._rested = monotonic()
        if done and (table := table_of(part)):
            self._not_analyzed[table] += done
        if self._is_busy():
            await asyncio.sleep(self._rested - began)
        return done

    async def _analyze(self) -> None:
        """Tell the planner of what was added since."""
        for table, added in list(self._not_analyzed.items()):
            async with self._engine.begin() as connection:
                known = await connection.scalar(_ROWS_KNOWN, {"name": table})
                if added >= max(ANALYZED_KEYS, ANALYZED_SHARE * known):
                    await connection.execute(text(f"ANALYZE {table}"))
                    del self._not_analyzed[table]


_ROWS_KNOWN = text("SELECT reltuples FROM pg_class WHERE oid = CAST(:name AS regclass)")
