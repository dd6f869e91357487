"""A run by hand, in a process of its own, beside whatever schedulers there are. The row and its history are the same."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.jobs import history, repository
from services.notifier.jobs.attempting import STOPPED, Books, attempted
from services.notifier.jobs.calendar import latest_over
from services.notifier.jobs.job import Job
from services.notifier.jobs.resources import JobRun
from services.notifier.jobs.runs import Claimed

LOOK_SECONDS = 0.5  # while another process has it
REQUESTED_BY = "penstock run-job"
_AT_PRESENT = timedelta()

# Hears, for a tenant, the run of which date has to end first, in another process.
Waiting = Callable[[str, date], None]


@dataclass(frozen=True)
class ByHand:
    """Jobs for who runs one now. `runner`: this process's presence key."""

    books: Books
    jobs: Sequence[Job]
    zone: tzinfo
    runner: int

    async def yesterday(self) -> date:
        """The latest date that can be asked for."""
        async with self.books.engine.connect() as connection:
            return latest_over(await repository.now_of(connection, _AT_PRESENT), self.zone)

    async def tenants(self, job: Job) -> Sequence[str]:
        """For whom it is due."""
        async with self.books.engine.connect() as connection:
            return sorted(await job.tenants(connection))

    async def run(self, job: Job, tenant: str, logical_date: date, waiting: Waiting) -> JobRun:
        """Run a job for a tenant and a date, once, now, past the order of dates: the run as it is then.

        If another process runs this date at present, what comes of that is the answer; if it runs another date of the job,
        this one follows.

        Raises:
            Unprocessable: `date_not_over`.
            Conflict: `job_not_due`.
        """
        async with self.books.engine.connect() as connection:
            await history.see_over(connection, logical_date, self.zone)
            await history.see_due(connection, tenant, job)
        if claimed := await self._claimed(job, tenant, logical_date, waiting):
            await self._attempt(job, claimed)
        async with self.books.engine.connect() as connection:
            return await history.get_run(connection, tenant, job, logical_date)

    async def _claimed(self, job: Job, tenant: str, logical_date: date, waiting: Waiting) -> Claimed | None:
        """The run, taken; None: another process had it, and it has ended there."""
        waits_for: date | None = None
        while True:
            async with self.books.engine.begin() as connection:
                await repository.lock_claims(connection)
                await self.books.free_abandoned(connection, runner=self.runner)
                under_way = await _under_way(connection, tenant, job.name)
                if waits_for == logical_date != under_way:
                    found = await repository.find_run(connection, tenant, job.name, logical_date)
                    if found is not None and found.finished_at is not None:
                        return None
                if under_way is None:
                    return await self._take(connection, tenant, job.name, logical_date)
            if waits_for != under_way:
                waiting(tenant, under_way)
                waits_for = under_way
            await asyncio.sleep(LOOK_SECONDS)

    async def _take(
        self, connection: AsyncConnection, tenant: str, job: str, logical_date: date
    ) -> Claimed | None:
        await repository.request(
            connection, tenant, job, logical_date, requested_by=REQUESTED_BY, ahead=_AT_PRESENT
        )
        return await repository.claim_one(
            connection, tenant, job, logical_date, runner=self.runner, ahead=_AT_PRESENT
        )

    async def _attempt(self, job: Job, claimed: Claimed) -> None:
        try:
            ending = await attempted(job, claimed)
        except asyncio.CancelledError:
            await self.books.write_down(claimed, STOPPED)
            raise
        await self.books.write_down(claimed, ending)


async def _under_way(connection: AsyncConnection, tenant: str, job: str) -> date | None:
    """The date of the job's run for the tenant that is under way: there is one at most."""
    for claimed, _ in await repository.running(connection):
        if (claimed.tenant, claimed.job) == (tenant, job):
            return claimed.logical_date
    return None
