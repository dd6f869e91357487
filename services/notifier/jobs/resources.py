"""Jobs and their runs as the API shows them, made from rows. Pure."""

import re
from collections.abc import Sequence
from datetime import date, datetime, tzinfo
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from services.notifier.jobs.calendar import DAY, MAX_TRIES, due_at, latest_due
from services.notifier.jobs.job import Job
from services.notifier.jobs.runs import Status
from shared.platform.paging import TotalCount

ATTEMPTS_LISTED = 10
ATTEMPTS_SHOWN = 100  # of a run by itself
EARLIEST = date(1970, 1, 1)  # as of investigation events; jobs look back some time from their date

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _date_of(said: Any) -> date:
    if not _DATE.fullmatch(str(said)):
        raise ValueError("must be a date as 2026-03-01")
    return date.fromisoformat(str(said))


LogicalDate = Annotated[date, BeforeValidator(_date_of), WithJsonSchema({"type": "string", "format": "date"})]


class JobAttempt(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    number: int = Field(description="From 1, over all that was ever asked for.")
    started_at: datetime
    finished_at: datetime
    error: str | None = Field(description="Why it did not succeed; null: it did.")
    result: dict[str, Any] | None


class RunLinks(BaseModel):
    """Where to go on: paths on this host."""

    self_: str = Field(serialization_alias="self")
    runs: str


class JobRun(BaseModel):
    """A job's work for one date."""

    job: str
    date: LogicalDate = Field(description="The day that it is about.")
    status: Status = Field(
        description="`pending`: it will be attempted. `running`. `succeeded`. `failed`: it was given up; ask for it again,"
        " when what was in its way is gone."
    )
    requested_by: str | None = Field(description="Who asked for it last; null: the schedule alone.")
    created_at: datetime
    started_at: datetime | None = Field(description="When its latest attempt began.")
    finished_at: datetime | None = Field(description="When it succeeded or was given up.")
    next_attempt_at: datetime | None = Field(
        description="When it is due, while it is `pending`; it also waits for an earlier date of the same job, and for the"
        " job that it is after."
    )
    tries: int = Field(description=f"Attempts since it was last asked for; after {MAX_TRIES} it is given up.")
    error: str | None = Field(description="Of the latest attempt that ended; null: that succeeded.")
    result: dict[str, Any] | None = Field(description="What came of it; each job has its own.")
    attempts: list[JobAttempt] = Field(
        description=f"Those that ended, the first one first; in a list the latest {ATTEMPTS_LISTED},"
        f" else the latest {ATTEMPTS_SHOWN}."
    )
    links: RunLinks


class JobRunPage(BaseModel):
    items: list[JobRun]
    next_cursor: str | None
    total: TotalCount = None


class NextDue(BaseModel):
    date: LogicalDate = Field(description="The day that it will be about.")
    at: datetime


class JobLinks(BaseModel):
    """Where to go on: paths on this host."""

    runs: str


class JobDescription(BaseModel):
    """Work that is due once a day."""

    name: str
    description: str
    schedule: str = Field(
        description="When it is due, in words.",
        examples=["every day at 06:00 (Europe/Berlin), for the day before"],
    )
    at: str = Field(description="Local time of the day after the date that it is about.", examples=["06:00"])
    timezone: str
    after: str | None = Field(
        description="The job whose run of the same date it waits for; null: it waits for none."
    )
    due: bool = Field(description="Whether it is due for this tenant at all, as things are.")
    next_due: NextDue | None = Field(description="null: it is not due for this tenant.")
    last_run: JobRun | None = Field(description="Of the latest date; null: there was none.")
    links: JobLinks


class JobPage(BaseModel):
    items: list[JobDescription]
    next_cursor: str | None
    total: TotalCount = None


class NewJobRun(BaseModel):
    """Which run is asked for."""

    model_config = ConfigDict(extra="forbid")

    date: LogicalDate = Field(
        ge=EARLIEST, description=f"The day that it is about, which must be over; not before {EARLIEST}."
    )


def run_of(row: Any, attempts: Sequence[Any]) -> JobRun:
    """A row of `repository`, with its latest attempts, the first one first."""
    runs = _runs_of(row.job)
    return JobRun(
        job=row.job,
        date=row.logical_date,
        status=row.status,
        requested_by=row.requested_by,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        next_attempt_at=row.next_attempt_at,
        tries=row.tries,
        error=row.error,
        result=row.result,
        attempts=[JobAttempt.model_validate(attempt) for attempt in attempts],
        links=RunLinks(self_=f"{runs}/{row.logical_date.isoformat()}", runs=runs),
    )


def job_of(
    job: Job, known: set[str], now: datetime, zone: tzinfo, *, due: bool, last_run: JobRun | None
) -> JobDescription:
    """A job as a tenant sees it. `known`: the names of all jobs."""
    at = job.at.strftime("%H:%M")
    following = latest_due(now, job.at, zone) + DAY
    return JobDescription(
        name=job.name,
        description=job.description,
        schedule=f"every day at {at} ({zone}), for the day before",
        at=at,
        timezone=str(zone),
        after=job.after if job.after in known else None,
        due=due,
        next_due=NextDue(date=following, at=due_at(following, job.at, zone)) if due else None,
        last_run=last_run,
        links=JobLinks(runs=_runs_of(job.name)),
    )


def _runs_of(job: str) -> str:
    return f"/api/v1/jobs/{job}/runs"
