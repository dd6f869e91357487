"""Imports of which no event has told for long are made known, so that a list need not look for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.imports import repository
from shared.platform.logs import get_logger
from shared.platform.service import Stopping

SWEEP_SECONDS = 60.0  # `repository.UNHEARD` is ten of them
# An import says that it was uploaded at a time before its transaction commits: seconds, where a lock is waited for.
LATE = timedelta(hours=1)

log = get_logger(__name__)


@asynccontextmanager
async def adopting(engine: AsyncEngine, stopping: Stopping) -> AsyncIterator[None]:
    """While entered, `sweep` now and then; first before anything is listed, for all the time that nobody ran here."""
    swept = await sweep(engine, None)
    task = asyncio.create_task(_keep_sweeping(engine, stopping, swept))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def sweep(engine: AsyncEngine, since: datetime | None) -> datetime:
    """Adopt what was uploaded since then; None: ever. Returns the moment from which the next sweep looks."""
    async with engine.begin() as connection:
        now = await repository.database_time(connection)
        adopted = await repository.adopt_uploaded(connection, since)
    if adopted:
        log.warning("imports.adopted", count=adopted)
    return now - LATE


async def _keep_sweeping(engine: AsyncEngine, stopping: Stopping, since: datetime) -> None:
    while not await stopping.wait(SWEEP_SECONDS):
        try:
            since = await sweep(engine, since)
        except Exception as error:  # noqa: BLE001 - the database may be away; there is a next time
            log.warning("imports.not_swept", error=repr(error))
