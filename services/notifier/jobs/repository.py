"""SQL of runs of jobs. The caller's transaction, always.

`ahead` is how far time is ahead of the database's, for trials of what takes days; zero otherwise.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    Interval,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.jobs.runs import Claimed, Ending, Filters
from services.notifier.tables import job_attempts, job_runs
from shared.platform.database import advisory_key

AnyRow = Row[Any]
Runs = Select[*tuple[Any, ...]]

# Whoever takes a run sees all that run, and nobody takes one meanwhile.
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_CLAIMING = advisory_key("penstock:jobs")

_NOW = text("SELECT now() + :ahead").bindparams(bindparam("ahead", type_=Interval()))
_SCHEDULED = text("""
    SELECT tenant, (
        SELECT max(logical_date) FROM notifier.job_runs r WHERE r.tenant = t.tenant AND r.job = :job AND r.scheduled
    ) AS latest
    FROM unnest(:tenants) AS t (tenant)
""").bindparams(bindparam("tenants", type_=ARRAY(Text())))
# What began before its date was due has not seen all of it. While it runs, it is not the schedule's yet: it is come back to.
_RUN_AGAIN = text("""
    UPDATE notifier.job_runs r
    SET status = 'pending', tries = 0, next_attempt_at = now() + :ahead, finished_at = NULL, result = NULL
    FROM unnest(:tenants, :dates, :moments) AS due (tenant, logical_date, at)
    WHERE r.tenant = due.tenant AND r.job = :job AND r.logical_date = due.logical_date AND NOT r.scheduled
        AND r.status IN ('succeeded', 'failed') AND r.started_at < due.at
""").bindparams(
    bindparam("tenants", type_=ARRAY(Text())),
    bindparam("dates", type_=ARRAY(Date())),
    bindparam("moments", type_=ARRAY(DateTime(timezone=True))),
    bindparam("ahead", type_=Interval()),
)
_SCHEDULE = text("""
    INSERT INTO notifier.job_runs (tenant, job, logical_date, scheduled, next_attempt_at)
    SELECT tenant, :job, logical_date, true, now() + :ahead
    FROM unnest(:tenants, :dates, :moments) AS due (tenant, logical_date, at)
    WHERE NOT EXISTS (
        SELECT FROM notifier.job_runs r
        WHERE r.tenant = due.tenant AND r.job = :job AND r.logical_date = due.logical_date AND NOT r.scheduled
            AND r.status = 'running' AND r.started_at < due.at
    )
    ORDER BY tenant, logical_date
    ON CONFLICT (tenant, job, logical_date) DO UPDATE SET scheduled = true WHERE NOT job_runs.scheduled
""").bindparams(
    bindparam("tenants", type_=ARRAY(Text())),
    bindparam("dates", type_=ARRAY(Date())),
    bindparam("moments", type_=ARRAY(DateTime(timezone=True))),
    bindparam("ahead", type_=Interval()),
)
_TAKE = """
    UPDATE notifier.job_runs
    SET status = 'running', runner = :runner, started_at = now() + :ahead, next_attempt_at = NULL,
        attempts = attempts + 1, tries = tries + 1
    WHERE (tenant, job, logical_date) = ({which})
    RETURNING tenant, job, logical_date, attempts AS attempt, tries
"""
_CLAIM = text(
    _TAKE.format(
        which="""
        SELECT r.tenant, r.job, r.logical_date
        FROM notifier.job_runs r
        JOIN unnest(:jobs, :afters) AS known (job, after) ON known.job = r.job
        WHERE r.status = 'pending' AND r.next_attempt_at <= now() + :ahead
            AND NOT EXISTS (
                SELECT FROM notifier.job_runs other
                WHERE other.tenant = r.tenant AND other.job = r.job AND (
                    other.status = 'running' OR other.status = 'pending' AND other.logical_date < r.logical_date
                )
            )
            AND NOT EXISTS (
                SELECT FROM notifier.job_runs before
                WHERE before.tenant = r.tenant AND before.job = known.after AND before.logical_date = r.logical_date
                    AND before.status IN ('pending', 'running')
            )
        ORDER BY r.logical_date, r.next_attempt_at
        LIMIT 1 FOR UPDATE OF r SKIP LOCKED
        """
    )
).bindparams(
    bindparam("runner", type_=BigInteger()),
    bindparam("ahead", type_=Interval()),
    bindparam("jobs", type_=ARRAY(Text())),
    bindparam("afters", type_=ARRAY(Text())),
)
_CLAIM_ONE = text(
    _TAKE.format(
        which="""
        SELECT r.tenant, r.job, r.logical_date
        FROM notifier.job_runs r
        WHERE r.tenant = :tenant AND r.job = :job AND r.logical_date = :logical_date AND r.status = 'pending'
            AND NOT EXISTS (
                SELECT FROM notifier.job_runs other
                WHERE other.tenant = r.tenant AND other.job = r.job AND other.status = 'running'
            )
        """
    )
).bindparams(bindparam("runner", type_=BigInteger()), bindparam("ahead", type_=Interval()))
_RUNNING = text("""
    SELECT tenant, job, logical_date, attempts AS attempt, tries, runner
    FROM notifier.job_runs WHERE status = 'running' ORDER BY tenant, job, logical_date
""")
_END = text("""
    WITH ended AS (
        UPDATE notifier.job_runs
        SET status = :status, runner = NULL, tries = tries - :uncounted, error = :error, result = :result,
            next_attempt_at = CASE WHEN :status = 'pending' THEN now() + :ahead + :retry_in END,
            finished_at = CASE WHEN :status <> 'pending' THEN now() + :ahead END,
            given_up_at = CASE :status
                WHEN 'failed' THEN now() + :ahead WHEN 'pending' THEN given_up_at
            END
        WHERE tenant = :tenant AND job = :job AND logical_date = :logical_date
            AND status = 'running' AND attempts = :attempt
        RETURNING tenant, job, logical_date, attempts, started_at, error, result, old.given_up_at
    ), attempt AS (
        INSERT INTO notifier.job_attempts (tenant, job, logical_date, number, started_at, finished_at, error, result)
        SELECT tenant, job, logical_date, attempts, started_at, now() + :ahead, error, result FROM ended
    )
    SELECT given_up_at, now() + :ahead AS ended_at FROM ended
""").bindparams(
    bindparam("status", type_=Text()),
    bindparam("uncounted", type_=Integer()),
    bindparam("error", type_=Text()),
    bindparam("result", type_=JSONB(none_as_null=True)),
    bindparam("retry_in", type_=Interval()),
    bindparam("ahead", type_=Interval()),
)
_GIVEN_UP = text("""
    SELECT EXISTS (SELECT FROM notifier.job_runs WHERE tenant = :tenant AND job = :job AND given_up_at IS NOT NULL)
""")
# One whose next attempt is an hour away is due at once: whoever asks knows that it is worth it.
_REQUEST = text("""
    INSERT INTO notifier.job_runs AS r (tenant, job, logical_date, scheduled, requested_by, next_attempt_at)
    VALUES (:tenant, :job, :logical_date, false, :requested_by, now() + :ahead)
    ON CONFLICT (tenant, job, logical_date) DO UPDATE
    SET status = 'pending', requested_by = excluded.requested_by,
        tries = CASE r.status WHEN 'pending' THEN r.tries ELSE 0 END,
        next_attempt_at = least(r.next_attempt_at, excluded.next_attempt_at),
        finished_at = NULL, result = NULL
    WHERE r.status <> 'running'
""").bindparams(bindparam("ahead", type_=Interval()))


async def now_of(connection: AsyncConnection, ahead: timedelta) -> datetime:
    now: datetime = (await connection.execute(_NOW, {"ahead": ahead})).scalar_one()
    return now


async def latest_scheduled(
    connection: AsyncConnection, job: str, tenants: Sequence[str]
) -> Mapping[str, date | None]:
    """For each tenant the latest date that the schedule has come to."""
    found = await connection.execute(_SCHEDULED, {"job": job, "tenants": list(tenants)})
    return {row.tenant: row.latest for row in found}


async def schedule(
    connection: AsyncConnection, job: str, due: Sequence[tuple[str, date, datetime]], ahead: timedelta
) -> None:
    """Make runs of tenants and dates that are due since a moment. Under `lock_claims`.

    Those that somebody has asked for before are the schedule's, too; they are run again, if they began before that moment.
    """
    tenants, dates, moments = map(list, zip(*due, strict=True))
    values = {"job": job, "tenants": tenants, "dates": dates, "moments": moments, "ahead": ahead}
    await connection.execute(_RUN_AGAIN, values)
    await connection.execute(_SCHEDULE, values)


async def lock_claims(connection: AsyncConnection) -> None:
    """Be the only one who claims, until the transaction ends."""
    await connection.execute(_LOCK, {"key": _CLAIMING})


async def claim(
    connection: AsyncConnection, jobs: Mapping[str, str | None], *, runner: int, ahead: timedelta
) -> Claimed | None:
    """Take the run whose turn it is, of `jobs` and the job after which each is. Under `lock_claims`."""
    values = {"jobs": list(jobs), "afters": list(jobs.values()), "runner": runner, "ahead": ahead}
    return _claimed((await connection.execute(_CLAIM, values)).one_or_none())


async def claim_one(
    connection: AsyncConnection, tenant: str, job: str, logical_date: date, *, runner: int, ahead: timedelta
) -> Claimed | None:
    """Take this run, if it is pending and no other of its job runs for the tenant. Under `lock_claims`."""
    values = {
        "tenant": tenant,
        "job": job,
        "logical_date": logical_date,
        "runner": runner,
        "ahead": ahead,
    }
    return _claimed((await connection.execute(_CLAIM_ONE, values)).one_or_none())


def _claimed(row: AnyRow | None) -> Claimed | None:
    return row and Claimed(row.tenant, row.job, row.logical_date, row.attempt, row.tries)


async def running(connection: AsyncConnection) -> Sequence[tuple[Claimed, int]]:
    """All that is under way anywhere, with the key of the process."""
    found = await connection.execute(_RUNNING)
    return [
        (Claimed(row.tenant, row.job, row.logical_date, row.attempt, row.tries), row.runner) for row in found
    ]


async def end(
    connection: AsyncConnection, claimed: Claimed, ending: Ending, ahead: timedelta
) -> AnyRow | None:
    """Write down how an attempt ended: `given_up_at` as it was before, and `ended_at`.

    None: the run was taken over since, and nothing was written.
    """
    values = {
        "tenant": claimed.tenant,
        "job": claimed.job,
        "logical_date": claimed.logical_date,
        "attempt": claimed.attempt,
        "status": ending.status,
        "uncounted": 0 if ending.counts else 1,
        "error": ending.error,
        "result": None if ending.result is None else dict(ending.result),
        "retry_in": ending.retry_in,
        "ahead": ahead,
    }
    return (await connection.execute(_END, values)).one_or_none()


async def any_given_up(connection: AsyncConnection, tenant: str, job: str) -> bool:
    """Whether some date of the job failed for good and has not succeeded since."""
    found = await connection.execute(_GIVEN_UP, {"tenant": tenant, "job": job})
    return bool(found.scalar_one())


async def request(
    connection: AsyncConnection,
    tenant: str,
    job: str,
    logical_date: date,
    *,
    requested_by: str,
    ahead: timedelta,
) -> None:
    """Have a run due: a new one, or a new round of one that has ended. One that is running is left alone."""
    values = {
        "tenant": tenant,
        "job": job,
        "logical_date": logical_date,
        "requested_by": requested_by,
        "ahead": ahead,
    }
    await connection.execute(_REQUEST, values)


def matching(tenant: str, job: str, filters: Filters) -> Runs:
    """The runs of a job that a list is to show, in no order."""
    conditions: list[ColumnElement[bool]] = [job_runs.c.tenant == tenant, job_runs.c.job == job]
    if filters.statuses:
        conditions.append(job_runs.c.status.in_(sorted(filters.statuses)))
    if filters.since is not None:
        conditions.append(job_runs.c.logical_date >= filters.since)
    if filters.until is not None:
        conditions.append(job_runs.c.logical_date < filters.until)
    return select(job_runs).where(*conditions)


async def list_runs(
    connection: AsyncConnection, query: Runs, *, before: date | None, limit: int
) -> Sequence[AnyRow]:
    """What `query` (of `matching`) finds before a date, the newest first."""
    if before is not None:
        query = query.where(job_runs.c.logical_date < before)
    ordered = query.order_by(job_runs.c.logical_date.desc())
    return list(await connection.execute(ordered.limit(limit)))


async def find_run(connection: AsyncConnection, tenant: str, job: str, logical_date: date) -> AnyRow | None:
    query = matching(tenant, job, Filters()).where(job_runs.c.logical_date == logical_date)
    return (await connection.execute(query)).one_or_none()


async def attempts_of(
    connection: AsyncConnection, tenant: str, job: str, dates: Sequence[date], *, latest: int
) -> Mapping[date, list[AnyRow]]:
    """The latest attempts of each date, the first of them first."""
    query = (
        select(job_attempts)
        .join(
            job_runs,
            and_(*(job_runs.c[name] == job_attempts.c[name] for name in ("tenant", "job", "logical_date"))),
        )
        .where(
            job_attempts.c.tenant == tenant,
            job_attempts.c.job == job,
            job_attempts.c.logical_date.in_(dates),
            job_attempts.c.number > job_runs.c.attempts - latest,
        )
        .order_by(job_attempts.c.logical_date, job_attempts.c.number)
    )
    found: dict[date, list[AnyRow]] = {logical_date: [] for logical_date in dates}
    for attempt in await connection.execute(query):
        found[attempt.logical_date].append(attempt)
    return found
