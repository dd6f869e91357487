"""Jobs for tests, and schedulers that run them on one database.

As a program it is a process that begins a run and never ends it: `python -m tests.notifier.given_jobs DATABASE_URL TENANT`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.jobs.attempting import News
from services.notifier.jobs.job import Job
from services.notifier.jobs.scheduler import Scheduler
from shared.platform.database import engine_for
from shared.platform.logs import configure
from shared.platform.presence import Presence
from shared.platform.service import Stopping

UTC = ZoneInfo("UTC")
Run = Callable[[str, date], Awaitable[Mapping[str, Any]]]


def job(name: str, run: Run, *tenants: str, after: str | None = None, at: time = time(0)) -> Job:
    """A job that is due for `tenants` as soon as a day is over."""

    async def all_tenants(_: Any) -> Sequence[str]:
        return tenants

    return Job(name, f"Does what {name} does.", at, run, all_tenants, after)


@dataclass
class Deployment:
    """Processes with schedulers on one database, at any time.

    Attributes:
        ahead: How far time is ahead of the database's, for all of them.
        news: What was told.
    """

    database_url: str
    engine: AsyncEngine
    ahead: timedelta = timedelta()
    news: list[News] = field(default_factory=list)

    async def hear(self, _: Any, news: News) -> None:
        self.news.append(news)

    @asynccontextmanager
    async def process(
        self, *jobs: Job, visible: bool = True, zone: ZoneInfo = UTC, catch_up_days: int = 31
    ) -> AsyncIterator[Scheduler]:
        """One with these jobs. `visible`: whether others can see that it lives."""
        presence = Presence(self.database_url, "notifier")
        if visible:
            await presence.start([])
        scheduler = Scheduler(
            self.engine,
            Stopping(),
            jobs,
            zone=zone,
            runner=presence.instance,
            catch_up_days=catch_up_days,
            tell=self.hear,
            ahead=lambda: self.ahead,
        )
        scheduler.start()
        try:
            yield scheduler
        finally:
            await scheduler.stop(0.1)
            await presence.stop()


@asynccontextmanager
async def deployment(database_url: str) -> AsyncIterator[Deployment]:
    engine = engine_for(database_url, "notifier", pool_size=5)
    yield Deployment(database_url, engine)
    await engine.dispose()


async def never_ending(database_url: str, tenant: str) -> None:
    async def run(_: str, logical_date: date) -> Mapping[str, Any]:
        sys.stdout.write(f"{logical_date}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
        return {}

    async with deployment(database_url) as one, one.process(job("slow", run, tenant)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    configure(level="error", style="json")
    asyncio.run(never_ending(*sys.argv[1:]))
