"""The ends of mutes until a date: seen about once a minute, by whichever process comes first."""

import asyncio
from collections.abc import Sequence

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.investigations.changing import Alone, Step, alone, keep
from services.notifier.investigations.deciding import NO_MUTE
from services.notifier.investigations.derived import Columns
from services.notifier.tables import investigations
from shared.platform.bus import Publish
from shared.platform.logs import get_logger
from shared.platform.service import Stopping

SWEEP_SECONDS = 60.0
STEP = 200  # in one transaction, for which the tenant's events wait

_TENANTS = text("""
    SELECT DISTINCT tenant FROM notifier.investigations
    WHERE muted_until <= clock_timestamp() AND merged_into IS NULL ORDER BY tenant
""")

log = get_logger(__name__)


class MuteEnds:
    """Sweeps now and then until the process stops. Any number of processes may do so side by side."""

    def __init__(self, engine: AsyncEngine, stopping: Stopping, *, publish: Publish) -> None:
        self._engine = engine
        self._stopping = stopping
        self._publish = publish
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="notifier.mutes")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while not await self._stopping.wait(SWEEP_SECONDS):
            try:
                if ended := await end_mutes(self._engine, self._publish):
                    log.info("mutes.ended", investigations=ended)
            except Exception as error:  # noqa: BLE001 - they may end a minute later
                log.warning("mutes.not_ended", error=repr(error))


async def end_mutes(engine: AsyncEngine, publish: Publish) -> int:
    """End the mutes whose time has come: how many, of all tenants."""
    async with engine.connect() as connection:
        tenants: Sequence[str] = list(await connection.scalars(_TENANTS))
    ended = 0
    for tenant in tenants:
        while count := await _some(engine, tenant, publish):
            ended += count
    return ended


async def _some(engine: AsyncEngine, tenant: str, publish: Publish) -> int:
    async with engine.begin() as connection:
        own = await alone(connection, tenant)
        # One that is resolved, or has been heard of since, is told to be so already.
        steps = [
            Step(row, NO_MUTE, "unmuted" if row["state"] == "muted" else None, own.now, cause="mute_ended")
            for row in await _due(own)
        ]
        await keep(own, steps, publish)
    return len(steps)


async def _due(own: Alone) -> Sequence[Columns]:
    query = (
        select(investigations)
        .where(
            investigations.c.tenant == own.tenant,
            investigations.c.muted_until <= own.now,
            investigations.c.merged_into.is_(None),
        )
        .order_by(investigations.c.muted_until)
        .limit(STEP)
    )
    return [dict(row) for row in (await own.connection.execute(query)).mappings()]
