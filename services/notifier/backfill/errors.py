"""Errors of ClickHouse made investigation events: batch by batch, each in a transaction that moves the watermark too."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import datetime
from operator import attrgetter

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.backfill import repository
from services.notifier.backfill.matching import Matching
from services.notifier.backfill.rows import Ids, Meanings, Row, instant
from services.notifier.backfill.source import ClickHouse
from services.notifier.backfill.suppliers import Suppliers
from services.notifier.backfill.windows import Window
from services.notifier.investigations.grouping import Reported
from services.notifier.investigations.locking import lock
from services.notifier.logbook.logbook import Logbook, Logged
from services.notifier.logbook.matching import Sighting
from services.notifier.logbook.repository import kept
from shared.contracts.problems import Problem

SOURCE = "errors"
BATCH = 500  # others who log for the tenant wait for a batch, some 25 ms
# Rows that are sorted by what they are of, so that a batch concerns few investigations: each is written once for it.
CHUNK = 20_000
STEP = 100  # rows that are made events while nobody else has a turn, some 1 ms


@dataclass
class Count:
    """Rows that were read, and what became of them.

    Attributes:
        matched: One with an event that was logged by API.
        refused: An event of another origin has the id that the row would have.
    """

    read: int = 0
    added: int = 0
    matched: int = 0
    already_there: int = 0
    refused: int = 0


class Errors:
    """One run's taking over of errors."""

    def __init__(
        self,
        engine: AsyncEngine,
        logbook: Logbook,
        suppliers: Suppliers,
        tenant: str,
        *,
        stage: str,
        watermark: datetime | None,
    ) -> None:
        self._engine = engine
        self._logbook = logbook
        self._suppliers = suppliers
        self._tenant = tenant
        self._stage = stage
        self._watermark = watermark
        self._ids = Ids()
        self._matching = Matching()
        self._count = Count()

    async def take_over(self, source: ClickHouse, windows: Sequence[Window]) -> Mapping[str, int]:
        """All rows of these times, which are in order. What a `Count` says is returned.

        Raises:
            ClickHouseFailed: what was taken over until then stays.
        """
        meanings = Meanings(await source.reasons())
        for window in windows:
            async with aclosing(self._prepared(source, window, meanings)) as chunks:
                async for chunk in chunks:
                    await self._take(chunk)
        return asdict(self._count)

    async def _prepared(
        self, source: ClickHouse, window: Window, meanings: Meanings
    ) -> AsyncGenerator[Sequence[Reported]]:
        """Chunks sorted by kind, then by time: one is made while the one before is logged."""
        ready: Sequence[Reported] | None = None
        async for rows in _chunks(source, window):
            making = asyncio.create_task(self._made_of(rows, meanings))
            try:
                if ready is not None:
                    yield ready
                ready = await making
            finally:
                making.cancel()
        if ready is not None:
            yield ready

    async def _made_of(self, rows: Sequence[Row], meanings: Meanings) -> Sequence[Reported]:
        """Step by step, where others wait for PostgreSQL: a thread would hold up every answer of it for 5 ms."""
        made: list[Reported] = []
        for begin in range(0, len(rows), STEP):
            made += [self._reported(row, meanings) for row in rows[begin : begin + STEP]]
            await asyncio.sleep(0)
        return sorted(made, key=attrgetter("fingerprint"))

    async def _take(self, chunk: Sequence[Reported]) -> None:
        """The watermark moves with the last batch: where one fails, those before it are found to be there again."""
        last = max(one.occurred_at for one in chunk)
        for begin in range(0, len(chunk), BATCH):
            batch = chunk[begin : begin + BATCH]
            is_last = begin + BATCH >= len(chunk)
            async with self._engine.begin() as connection:
                await self._log(connection, batch, last if is_last else None)
        self._matching.forget_before(last)

    def _reported(self, row: Row, meanings: Meanings) -> Reported:
        return Reported(
            event_id=self._ids.of(row),
            occurred_at=instant(row.micros),
            supplier=row.supplier or None,
            stage=self._stage,
            reason=meanings.reason(row.error),
            severity="error",
            summary=None,  # the reason says it all, and a million of them are a lot of room
            detail="",
            digest=None,
            origin="clickhouse",
        )

    async def _log(
        self, connection: AsyncConnection, batch: Sequence[Reported], watermark: datetime | None
    ) -> None:
        await repository.commit_unhurried(connection)
        await self._suppliers.know(connection, {one.supplier for one in batch if one.supplier is not None})
        await lock(connection, self._tenant)
        there = await self._there(connection, batch)
        new = [one for one in batch if one.event_id not in there]
        matched = await self._matched(connection, new)
        wanted = [one for one in new if one.event_id not in matched]
        results = await self._logbook.log(connection, self._tenant, wanted)
        refused = sum(isinstance(result, Problem) for result in results)
        # Behind the watermark: those of a run that failed within a chunk.
        twice = sum(isinstance(result, Logged) and result.outcome == "duplicate" for result in results)
        added = len(wanted) - refused - twice
        await repository.move_watermark(connection, self._tenant, SOURCE, watermark, added=added)
        self._count.read += len(batch)
        self._count.added += added
        self._count.matched += len(matched)
        self._count.already_there += len(there) + twice
        self._count.refused += refused

    async def _there(self, connection: AsyncConnection, batch: Sequence[Reported]) -> Collection[str]:
        """Those that were taken over before. Behind the watermark none was, unless a run failed within a chunk."""
        ids = [
            one.event_id
            for one in batch
            if self._watermark is not None and one.occurred_at <= self._watermark
        ]
        return await kept(connection, self._tenant, ids) if ids else ()

    async def _matched(self, connection: AsyncConnection, new: Sequence[Reported]) -> set[str]:
        kinds = {(one.supplier, one.reason) for one in new if one.supplier is not None}
        if not kinds:
            return set()
        times = [one.occurred_at for one in new]
        reported = await repository.reported(connection, self._tenant, kinds, min(times), max(times))
        if not reported:
            return set()
        rows = (
            Sighting(one.event_id, one.supplier, one.reason, one.occurred_at)
            for one in new
            if one.supplier is not None
        )
        return self._matching.of(rows, reported)


async def _chunks(source: ClickHouse, window: Window) -> AsyncIterator[Sequence[Row]]:
    """Blocks put together and cut, whatever their sizes."""
    left: list[Row] = []
    async for block in source.errors(window):
        left.extend(block)
        while len(left) >= CHUNK:
            yield left[:CHUNK]
            del left[:CHUNK]
    if left:
        yield left
