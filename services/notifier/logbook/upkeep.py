"""What is to be done with events now and then: release those whose supplier has become known, and forget what is old."""

import asyncio
from datetime import timedelta
from time import monotonic

from sqlalchemy import Interval, bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.logbook.logbook import RELEASED_AT_ONCE, Logbook
from shared.platform.logs import get_logger
from shared.platform.retention import Rule
from shared.platform.service import Stopping

RELEASE_SECONDS = 10.0  # who adds a supplier has up to 1,000 of its events at once, and watches the rest come
PURGE_SECONDS = 3600.0
STEP = 2000  # rows in a transaction

# From one supplier to the next by the index, as there may be a million events of each. Their tenant's suppliers say who of
# them is known, so a process that died in the middle of a release, or before one, leaves nothing behind.
_KNOWN_BY_NOW = text("""
    WITH RECURSIVE waiting AS (
        (SELECT tenant, supplier FROM notifier.quarantined_events ORDER BY tenant, supplier LIMIT 1)
        UNION ALL
        SELECT next.tenant, next.supplier FROM waiting w, LATERAL (
            SELECT q.tenant, q.supplier FROM notifier.quarantined_events q
            WHERE (q.tenant, q.supplier) > (w.tenant, w.supplier) ORDER BY q.tenant, q.supplier LIMIT 1
        ) AS next
    )
    SELECT w.tenant, w.supplier FROM waiting w
    JOIN notifier.suppliers s ON s.tenant = w.tenant AND s.id = w.supplier ORDER BY 1, 2
""")

_OLD = text("""
    DELETE FROM notifier.investigation_events WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM notifier.investigation_events
        WHERE received_at < now() - :retention LIMIT :step FOR UPDATE SKIP LOCKED
    ))
""").bindparams(bindparam("retention", type_=Interval()))

_COUNT = text("""
    SELECT count(*) FROM notifier.investigation_events WHERE received_at < now() - :retention
""").bindparams(bindparam("retention", type_=Interval()))

log = get_logger(__name__)


class Upkeep:
    """Does so until the process stops. Any number of processes may do so side by side.

    Args:
        days: For how long events are kept.
    """

    def __init__(self, engine: AsyncEngine, stopping: Stopping, logbook: Logbook, *, days: int) -> None:
        self._engine = engine
        self._stopping = stopping
        self._logbook = logbook
        self._days = days
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="notifier.upkeep")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        purged_at = monotonic()
        while not await self._stopping.wait(RELEASE_SECONDS):
            try:
                if released := await release_known(self._engine, self._logbook):
                    log.info("quarantine.released", events=released)
                if monotonic() - purged_at >= PURGE_SECONDS:
                    purged_at = monotonic()
                    if removed := await purge(self._engine, self._days):
                        log.info("investigation_events.purged", rows=removed)
            except Exception as error:  # noqa: BLE001 - it may be done a little later
                log.warning("upkeep.failed", error=repr(error))


async def release_known(engine: AsyncEngine, logbook: Logbook) -> int:
    """Log what is in quarantine of suppliers that are known by now, some of it in a transaction: how many events."""
    async with engine.connect() as connection:
        waiting = [tuple(row) for row in await connection.execute(_KNOWN_BY_NOW)]
    released = 0
    for tenant, supplier in waiting:
        try:
            released += await _release_all(engine, logbook, tenant, supplier)
        except Exception as error:  # noqa: BLE001 - what is in the way of one is not to keep the others waiting
            log.warning("quarantine.not_released", tenant=tenant, supplier=supplier, error=repr(error))
    return released


async def _release_all(engine: AsyncEngine, logbook: Logbook, tenant: str, supplier: str) -> int:
    released, number = 0, RELEASED_AT_ONCE
    while number == RELEASED_AT_ONCE:
        async with engine.begin() as connection:
            number = await logbook.release(connection, tenant, [supplier])
        released += number
    return released


def rule(engine: AsyncEngine, days: int) -> Rule:
    """That events are removed `days` after they were received, as a rule."""

    async def count(age: timedelta) -> int:
        async with engine.connect() as connection:
            return int((await connection.execute(_COUNT, {"retention": age})).scalar_one())

    async def forget(age: timedelta) -> int:
        return await purge(engine, age.days)

    return Rule("investigation events", "PENSTOCK_INVESTIGATION_RETENTION_DAYS", days, count, forget)


async def purge(engine: AsyncEngine, days: int) -> int:
    """Remove events that were received more than `days` ago: how many. What was counted of them stays, also by day."""
    removed, number = 0, STEP
    while number == STEP:
        async with engine.begin() as connection:
            values = {"retention": timedelta(days=days), "step": STEP}
            number = (await connection.execute(_OLD, values)).rowcount
        removed += number
    return removed
