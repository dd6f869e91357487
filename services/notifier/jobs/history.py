"""Jobs and their runs, as a tenant sees them and asks for them. All for one tenant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.jobs import repository
from services.notifier.jobs.calendar import latest_over
from services.notifier.jobs.job import Job
from services.notifier.jobs.resources import (
    ATTEMPTS_LISTED,
    ATTEMPTS_SHOWN,
    JobDescription,
    JobPage,
    JobRun,
    JobRunPage,
    job_of,
    run_of,
)
from services.notifier.jobs.runs import Filters
from shared.contracts.problems import Conflict, NotFound, Unprocessable
from shared.platform.paging import Cursors, HowTotal, page_of, total_of

_CURSORS = Cursors[date](date)
_JOB_CURSORS = Cursors[str](str)
_AT_PRESENT = timedelta()


@dataclass(frozen=True)
class Page:
    """Which page of a list. `cursor`: None for the first one."""

    cursor: str | None
    limit: int
    total: HowTotal | None


def job_named(jobs: Sequence[Job], name: str) -> Job:
    """The job of that name.

    Raises:
        NotFound: `job_not_found`.
    """
    for job in jobs:
        if job.name == name:
            return job
    known = [job.name for job in jobs]
    raise NotFound(
        "job_not_found",
        f"there is no job {name[:100]!r} as this is set up",
        hint=f"there are: {', '.join(known)}",
        known=known,
    )


async def list_jobs(
    connection: AsyncConnection, tenant: str, jobs: Sequence[Job], zone: tzinfo, page: Page
) -> JobPage:
    """A page of jobs, each with its last run.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    after = _JOB_CURSORS.decode("jobs", page.cursor)
    known = [job.name for job in jobs]
    rest = jobs[known.index(after) + 1 :] if after in known else jobs
    shown, last = page_of(rest[: page.limit + 1], page.limit)
    return JobPage(
        items=await _described(connection, tenant, shown, zone, set(known)),
        next_cursor=last and _JOB_CURSORS.encode("jobs", last.name),
        total=None if page.total is None else len(jobs),
    )


async def _described(
    connection: AsyncConnection, tenant: str, jobs: Sequence[Job], zone: tzinfo, known: set[str]
) -> list[JobDescription]:
    now = await repository.now_of(connection, _AT_PRESENT)
    return [
        job_of(
            job,
            known,
            now,
            zone,
            due=tenant in await job.tenants(connection),
            last_run=await _last_run(connection, tenant, job),
        )
        for job in jobs
    ]


async def _last_run(connection: AsyncConnection, tenant: str, job: Job) -> JobRun | None:
    query = repository.matching(tenant, job.name, Filters())
    runs = await _shown(connection, tenant, job, query, before=None, limit=1)
    return runs[0] if runs else None


async def list_runs(
    connection: AsyncConnection, tenant: str, job: Job, filters: Filters, page: Page
) -> JobRunPage:
    """A page of a job's runs, that of the latest date first.

    Raises:
        Unprocessable: `filter_invalid`, `cursor_invalid`.
    """
    if filters.since is not None and filters.until is not None and filters.since >= filters.until:
        raise Unprocessable(
            "filter_invalid",
            f"since: {filters.since} is not before `until`, {filters.until}, so there is nothing between",
            hint="give a later `until`, or leave it out; the date of `until` itself is not among those listed",
            parameter="since",
        )
    this = f"runs of {job.name} {sorted(filters.statuses)} {filters.since} {filters.until}"
    before = _CURSORS.decode(this, page.cursor)
    query = repository.matching(tenant, job.name, filters)
    found = await _shown(connection, tenant, job, query, before=before, limit=page.limit + 1)
    runs, last = page_of(found, page.limit)
    return JobRunPage(
        items=list(runs),
        next_cursor=last and _CURSORS.encode(this, last.date),
        total=await total_of(connection, query, page.total),
    )


async def _shown(
    connection: AsyncConnection,
    tenant: str,
    job: Job,
    query: repository.Runs,
    *,
    before: date | None,
    limit: int,
) -> list[JobRun]:
    rows = await repository.list_runs(connection, query, before=before, limit=limit)
    dates = [row.logical_date for row in rows]
    attempts = await repository.attempts_of(connection, tenant, job.name, dates, latest=ATTEMPTS_LISTED)
    return [run_of(row, attempts[row.logical_date]) for row in rows]


async def get_run(connection: AsyncConnection, tenant: str, job: Job, logical_date: date) -> JobRun:
    """One run with all its attempts.

    Raises:
        NotFound: `job_run_not_found`.
    """
    row = await repository.find_run(connection, tenant, job.name, logical_date)
    if row is None:
        raise NotFound(
            "job_run_not_found",
            f"the job {job.name} has no run for {logical_date.isoformat()}",
            hint="`GET …/runs` lists those that there are; `POST …/runs` asks for one",
        )
    attempts = await repository.attempts_of(
        connection, tenant, job.name, [logical_date], latest=ATTEMPTS_SHOWN
    )
    return run_of(row, attempts[logical_date])


async def see_over(connection: AsyncConnection, logical_date: date, zone: tzinfo) -> None:
    """See that a date is over, so that a run of it has all that it is about.

    Raises:
        Unprocessable: `date_not_over`.
    """
    latest = latest_over(await repository.now_of(connection, _AT_PRESENT), zone)
    if logical_date > latest:
        raise Unprocessable(
            "date_not_over",
            f"date: {logical_date.isoformat()} is not over yet in {zone}, and a job is about a whole day",
            hint=f"the latest that can be asked for is {latest.isoformat()}",
        )


async def see_due(connection: AsyncConnection, tenant: str, job: Job) -> None:
    """See that there is something for the job to do for a tenant.

    Raises:
        Conflict: `job_not_due`.
    """
    if tenant not in await job.tenants(connection):
        raise Conflict(
            "job_not_due",
            f"the job {job.name} has nothing to do for this tenant",
            hint="`GET /api/v1/jobs` says what each job is for; it is due for those who have what it works on",
        )


async def request_run(
    connection: AsyncConnection, tenant: str, job: Job, logical_date: date, zone: tzinfo, *, requested_by: str
) -> JobRun:
    """Have a run due now: a new one, a new round of one that has ended; one that waits for its next attempt is due at once.

    Raises:
        Unprocessable: `date_not_over`.
        Conflict: `job_not_due`.
    """
    await see_over(connection, logical_date, zone)
    await see_due(connection, tenant, job)
    await repository.request(
        connection, tenant, job.name, logical_date, requested_by=requested_by, ahead=_AT_PRESENT
    )
    return await get_run(connection, tenant, job, logical_date)
