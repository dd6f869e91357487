"""The scheduler: makes the runs that are due, claims them, runs them; with as many others as there are processes.

Each run is one process's at a time. One that takes long stays its process's; one whose process is gone is taken over as
soon as somebody looks; one that was taken over by mistake, as its process could not be seen, is given up there.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.jobs import repository
from services.notifier.jobs.attempting import STOPPED, Books, Tell, attempted
from services.notifier.jobs.calendar import dates_due, due_at, latest_due
from services.notifier.jobs.job import Job
from services.notifier.jobs.runs import Claimed
from shared.platform.health import Check
from shared.platform.logs import get_logger
from shared.platform.service import Stopping

AT_ONCE = 2  # runs in one process, each of another job, so that none waits for another job's to end
LOOK_SECONDS = 5.0  # how long a dead process's run, or one that another process was asked for, may wait
DUE_SECONDS = 30.0  # how late the schedule may be
RECORD_RETRY_SECONDS = 2.0

log = get_logger(__name__)


class Scheduler:
    """Runs this deployment's jobs.

    Args:
        jobs: Of a name each. One that is after another must not be due before it.
        zone: Whose days and times of day are meant.
        runner: This process's presence key; its runs are taken over when it is seen to be dead.
        catch_up_days: How many dates that were missed are made up for, at most.
        tell: Hears of what failed for good, and of its end.
        ahead: How far time is ahead of the database's, for trials of what takes days.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        stopping: Stopping,
        jobs: Sequence[Job],
        *,
        zone: ZoneInfo,
        runner: int,
        catch_up_days: int,
        tell: Tell,
        ahead: Callable[[], timedelta] = timedelta,
    ) -> None:
        self.jobs = in_order(jobs)
        self.zone = zone
        self._engine = engine
        self._stopping = stopping
        self._runner = runner
        self._catch_up_days = catch_up_days
        self._ahead = ahead
        self._books = Books(engine, tell, ahead)
        self._by_name = {job.name: job for job in self.jobs}
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._in_hand: dict[Claimed, asyncio.Task[None]] = {}
        # Of these, those whose job runs; the others are being written down.
        self._working: set[Claimed] = set()
        self._stopped = False
        self._scheduled_at = float("-inf")
        self._failing = ""

    def wake(self) -> None:
        """There may be something due."""
        self._wake.set()

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="notifier.jobs")

    async def stop(self, seconds: float) -> None:
        """Claim nothing more; what runs gets `seconds` to end, and what has not by then comes again."""
        self._stopped = True
        self._wake.set()
        tasks = {*self._in_hand.values(), *([self._loop] if self._loop else [])}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._give_back()

    def check(self) -> Check:
        """Whether the scheduler runs, and can see what is due."""
        running = self._loop is not None and not self._loop.done()
        detail = self._failing or ("" if running else "the scheduler does not run")
        return Check("jobs", ok=not detail, detail=detail)

    async def _run(self) -> None:
        while not (self._stopped or self._stopping):
            self._wake.clear()
            try:
                await self._look()
                self._failing = ""
            except Exception as error:
                if not self._failing:  # told once, not at every look
                    log.exception("jobs.not_scheduled")
                # Runs stay due, and readiness shows it.
                self._failing = f"what is due cannot be seen: {type(error).__name__}"
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()

    async def _look(self) -> None:
        await self._see_what_runs()
        try:
            if time.monotonic() >= self._scheduled_at + DUE_SECONDS:
                await self._schedule()
                self._scheduled_at = time.monotonic()
        finally:
            # What is due does not wait for what cannot be scheduled.
            while not self._stopped and (claimed := await self._claim()):
                self._begin(claimed)

    async def _see_what_runs(self) -> None:
        known = set(self._in_hand)
        async with self._engine.begin() as connection:
            mine = {one for one, runner in await repository.running(connection) if runner == self._runner}
            # What this process claimed and does not know of: the claim's answer was lost on its way.
            for claimed in mine - known:
                await self._books.write(connection, claimed, STOPPED)
            await self._books.free_abandoned(connection, runner=self._runner)
        for claimed in self._working - mine:
            log.warning("job.taken_over", job=claimed.job, tenant=claimed.tenant)
            self._in_hand[claimed].cancel()

    async def _schedule(self) -> None:
        """Make what is due. All jobs at one moment, each behind the one that it is after."""
        async with self._engine.connect() as connection:
            now = await repository.now_of(connection, self._ahead())
        for job in self.jobs:
            await self._schedule_job(job, now)

    async def _schedule_job(self, job: Job, now: datetime) -> None:
        latest = latest_due(now, job.at, self.zone)
        async with self._engine.begin() as connection:
            tenants = await job.tenants(connection)
            scheduled = await repository.latest_scheduled(connection, job.name, tenants)
            due = [
                (tenant, logical_date, due_at(logical_date, job.at, self.zone))
                for tenant, before in scheduled.items()
                for logical_date in self._dates_due(job, tenant, latest, before)
            ]
            if due:
                await repository.lock_claims(connection)
                await repository.schedule(connection, job.name, due, self._ahead())
                log.info("job.due", job=job.name, runs=len(due))

    def _dates_due(self, job: Job, tenant: str, latest: date, scheduled: date | None) -> Sequence[date]:
        dates = dates_due(latest, scheduled, most=self._catch_up_days)
        if scheduled and dates and (dates[0] - scheduled).days > 1:
            log.warning(
                "job.dates_skipped",
                job=job.name,
                tenant=tenant,
                after=scheduled.isoformat(),
                before=dates[0].isoformat(),
            )
        return dates

    async def _claim(self) -> Claimed | None:
        busy = {claimed.job for claimed in self._in_hand}
        free = {job.name: job.after for job in self.jobs if job.name not in busy}
        if not free or len(self._in_hand) >= AT_ONCE:
            return None
        async with self._engine.begin() as connection:
            await repository.lock_claims(connection)
            return await repository.claim(connection, free, runner=self._runner, ahead=self._ahead())

    def _begin(self, claimed: Claimed) -> None:
        task = asyncio.create_task(self._attempt(claimed), name=f"notifier.jobs.{claimed.job}")
        self._in_hand[claimed] = task
        self._working.add(claimed)
        task.add_done_callback(lambda _: self._ended(claimed))

    def _ended(self, claimed: Claimed) -> None:
        del self._in_hand[claimed]
        self._working.discard(claimed)
        self._wake.set()

    async def _attempt(self, claimed: Claimed) -> None:
        ending = await attempted(self._by_name[claimed.job], claimed)
        self._working.discard(claimed)
        while True:
            try:
                return await self._books.write_down(claimed, ending)
            except Exception as error:  # noqa: BLE001 - the database is away; what was done is done
                log.warning("job.not_written_down", job=claimed.job, error=repr(error))
            await asyncio.sleep(RECORD_RETRY_SECONDS)

    async def _give_back(self) -> None:
        try:
            async with self._engine.begin() as connection:
                for claimed, runner in await repository.running(connection):
                    if runner == self._runner:
                        await self._books.write(connection, claimed, STOPPED)
        except Exception as error:  # noqa: BLE001 - the others see that this process is gone, and take them over
            log.warning("jobs.not_given_back", error=repr(error))


def in_order(jobs: Sequence[Job]) -> Sequence[Job]:
    """`jobs`, each behind the one that it is after; one that is after a job which is not there is after none.

    Raises:
        ValueError: two have one name; or one would have to wait for a job that is due later than itself.
    """
    by_name = {job.name: job for job in jobs}
    if len(by_name) < len(jobs):
        raise ValueError("two jobs have the same name")
    for job in jobs:
        before = by_name.get(job.after or "")
        if before is not None and before.at > job.at:
            raise ValueError(f"the job {job.name} is after {before.name}, which is due later than it")
    return sorted(jobs, key=lambda job: _depth(job, by_name))


def _depth(job: Job, by_name: dict[str, Job]) -> int:
    before = by_name.get(job.after or "")
    return 0 if before is None else 1 + _depth(before, by_name)
