"""Routes of jobs: what is due once a day, what came of it, and to have it done again."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.jobs import history
from services.notifier.jobs.history import Page
from services.notifier.jobs.resources import JobPage, JobRun, JobRunPage, LogicalDate, NewJobRun
from services.notifier.jobs.runs import Filters, Status
from services.notifier.jobs.scheduler import Scheduler
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, StorableText, Total
from shared.platform.parameters import only_known
from shared.platform.tenancy import tenant_reading, tenant_writing

JobName = Annotated[StorableText, Path(description="The job's name", examples=["daily-analysis"])]
RunDate = Annotated[LogicalDate, Path(description="The day that the run is about")]


def jobs_router(engine: AsyncEngine, authenticator: Authenticator, scheduler: Scheduler) -> APIRouter:
    """`/jobs`, and `/jobs/{job}/runs`."""
    routes = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])
    reader, admin = (
        Depends(authenticator.require("investigations:read")),
        Depends(authenticator.require("investigations:admin")),
    )
    Reader = Annotated[Principal, reader]  # noqa: N806 - a type
    Admin = Annotated[Principal, admin]  # noqa: N806 - a type

    @routes.get(
        "",
        operation_id="list_jobs",
        summary="What is done once a day, when, and how it went last",
        responses=problem_responses(401, 403, 422),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_jobs(
        caller: Reader, limit: Limit = 50, cursor: Cursor = None, total: Total = None
    ) -> JobPage:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await history.list_jobs(
                connection, caller.tenant, scheduler.jobs, scheduler.zone, Page(cursor, limit, total)
            )

    @routes.get(
        "/{job}/runs",
        operation_id="list_job_runs",
        summary="What came of a job, by date",
        description="The latest date first.",
        responses=problem_responses(401, 403, 404, 422),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_runs(
        *,
        caller: Reader,
        job: JobName,
        status: Annotated[
            list[Status] | None,
            Query(description="Only those with this status; may be given more than once, for any of them"),
        ] = None,
        since: Annotated[
            LogicalDate | None, Query(description="Only those of this date or a later one")
        ] = None,
        until: Annotated[
            LogicalDate | None,
            Query(description="Only those of a date before this one, which is after `since`"),
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> JobRunPage:
        found = history.job_named(scheduler.jobs, job)
        filters = Filters(frozenset(status or ()), since, until)
        async with tenant_reading(engine, caller.tenant) as connection:
            return await history.list_runs(
                connection, caller.tenant, found, filters, Page(cursor, limit, total)
            )

    @routes.get(
        "/{job}/runs/{date}",
        operation_id="get_job_run",
        summary="What came of a job for one date, with every attempt",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def get_run(caller: Reader, job: JobName, date: RunDate) -> JobRun:
        found = history.job_named(scheduler.jobs, job)
        async with tenant_reading(engine, caller.tenant) as connection:
            return await history.get_run(connection, caller.tenant, found, date)

    @routes.post(
        "/{job}/runs",
        status_code=202,
        operation_id="request_job_run",
        summary="Have a job done for a date, now or again",
        description="The date is a day that is over. A run that has ended begins a new round; one that waits for its next"
        " attempt is due at once; one that is running is answered as it is. What it does is never done twice: a job finds"
        " what it has done before. It waits for an earlier date of the same job that is not done yet. A run that begins before"
        " its date is due, at the job's time of the day after, is run again when it is.",
        response_description="The run, which is under way or will be soon",
        responses=problem_responses(401, 403, 404, 409, 422),
    )
    async def request_run(caller: Admin, job: JobName, asked: NewJobRun) -> JobRun:
        found = history.job_named(scheduler.jobs, job)
        async with tenant_writing(engine, caller.tenant) as connection:
            run = await history.request_run(
                connection,
                caller.tenant,
                found,
                asked.date,
                scheduler.zone,
                requested_by=caller.subject,
            )
        scheduler.wake()
        return run

    return routes
