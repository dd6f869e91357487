"""Jobs run once for each tenant and date, whatever happens to the processes that run them."""

import asyncio
import sys
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.notifier.jobs import repository
from services.notifier.jobs import scheduler as scheduling
from services.notifier.jobs.attempting import said_of
from services.notifier.jobs.calendar import DAY, MAX_TRIES, RETRY_DELAYS
from services.notifier.jobs.job import Job
from services.notifier.jobs.scheduler import in_order
from shared.contracts.problems import Unavailable
from shared.platform.presence import Presence
from tests.notifier.given_jobs import deployment, job

ENDED = "SELECT count(*) FROM notifier.job_runs WHERE status IN ('succeeded', 'failed')"


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(scheduling, "LOOK_SECONDS", 0.03)
    monkeypatch.setattr(scheduling, "DUE_SECONDS", 0.03)
    monkeypatch.setattr(scheduling, "RECORD_RETRY_SECONDS", 0.03)


@pytest.fixture
async def jobs(database_url):
    async with deployment(database_url) as jobs:
        yield jobs


async def runs_of(database, name="slow", tenant="acme"):
    rows = await database.fetch(
        "SELECT * FROM notifier.job_runs WHERE job = $1 AND tenant = $2 ORDER BY logical_date", name, tenant
    )
    return [dict(row) for row in rows]


async def attempts_of(database, name="slow", tenant="acme"):
    rows = await database.fetch(
        "SELECT * FROM notifier.job_attempts WHERE job = $1 AND tenant = $2 ORDER BY logical_date, number",
        name,
        tenant,
    )
    return [dict(row) for row in rows]


async def yesterday(database) -> date:
    day: date = await database.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date - 1")
    return day


async def nothing(tenant, logical_date):
    return {"of": tenant}


class Worked:
    """What ran, in order, in any process; it ends when it may."""

    def __init__(self):
        self.began = []
        self.may_end = asyncio.Event()

    def __call__(self, name):
        async def run(tenant, logical_date):
            self.began.append((name, tenant, logical_date))
            await self.may_end.wait()
            return {"of": tenant}

        return run


async def test_many_processes_run_each_date_once_and_in_order(jobs, database, eventually):
    worked = Worked()
    worked.may_end.set()
    tenants = ("acme", "mill", "orchard")
    both = (
        job("analysis", worked("analysis"), *tenants, after="backfill"),
        job("backfill", worked("backfill"), *tenants),
    )
    last = await yesterday(database)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(jobs.process(*both))
        await eventually(ENDED, gives=6)
        jobs.ahead = 4 * DAY
        await eventually(ENDED, gives=30)
    assert Counter(worked.began) == {
        (name, tenant, last + n * DAY): 1
        for name in ("analysis", "backfill")
        for tenant in tenants
        for n in range(5)
    }
    for tenant in tenants:
        for name in ("analysis", "backfill"):
            dates = [began[2] for began in worked.began if began[:2] == (name, tenant)]
            assert dates == sorted(dates), "what was missed is made up for the oldest first"
        for n in range(5):
            before, after = (
                worked.began.index((name, tenant, last + n * DAY)) for name in ("backfill", "analysis")
            )
            assert before < after
    for run in await runs_of(database, "analysis", "mill"):
        assert (run["status"], run["attempts"], run["tries"], run["error"]) == ("succeeded", 1, 1, None)
        assert (run["scheduled"], run["requested_by"], run["result"]) == (True, None, '{"of": "mill"}')
    [attempt, *_] = await attempts_of(database, "analysis", "mill")
    assert (attempt["number"], attempt["result"]) == (1, '{"of": "mill"}')
    assert not jobs.news


async def test_what_was_missed_for_too_long_is_left_out(jobs, database, eventually):
    last = await yesterday(database)
    async with jobs.process(job("slow", nothing, "acme"), catch_up_days=3):
        await eventually(ENDED, gives=1)
        jobs.ahead = 10 * DAY
        await eventually(ENDED, gives=4)
    dates = [run["logical_date"] for run in await runs_of(database)]
    assert dates == [last, *(last + n * DAY for n in (8, 9, 10))]


async def test_a_date_is_due_at_its_time_in_the_zone_of_the_deployment(jobs, database, eventually):
    zone = ZoneInfo("Asia/Kolkata")
    local = await database.fetchval("SELECT now() AT TIME ZONE 'Asia/Kolkata'")
    later = (local + timedelta(hours=2)).replace(second=0, microsecond=0)
    async with jobs.process(job("slow", nothing, "acme", at=later.time()), zone=zone):
        await eventually(ENDED, gives=1)
        [first] = await runs_of(database)
        assert first["logical_date"] == later.date() - 2 * DAY
        jobs.ahead = timedelta(hours=2)
        await eventually(ENDED, gives=2)
    assert (await runs_of(database))[1]["logical_date"] == later.date() - DAY


FAILED_TRIES = "SELECT count(*) FROM notifier.job_attempts WHERE error IS NOT NULL"
WAITS = """
    SELECT r.next_attempt_at - max(a.finished_at)
    FROM notifier.job_runs r JOIN notifier.job_attempts a USING (tenant, job, logical_date)
    WHERE r.tenant = 'acme' AND r.logical_date = $1 GROUP BY r.next_attempt_at
"""
SUCCEEDED = "SELECT count(*) FROM notifier.job_runs WHERE status = 'succeeded'"


async def test_what_fails_is_retried_told_of_and_mended(jobs, database, eventually):
    last = await yesterday(database)
    failing = {("acme", last)}

    async def run(tenant, logical_date):
        if (tenant, logical_date) in failing:
            raise ConnectionError(f"https://user:pass@clickhouse/ does not answer\nto {tenant}")
        return {}

    async with jobs.process(job("slow", run, "acme", "mill")):
        for n, delay in enumerate(RETRY_DELAYS, 1):
            await eventually(FAILED_TRIES, gives=n)
            pending, *_ = await runs_of(database)
            assert (pending["status"], pending["tries"]) == ("pending", n)
            assert pending["error"] == "ConnectionError: https://…@clickhouse/ does not answer"
            assert await database.fetchval(WAITS, last) == delay
            assert not jobs.news
            jobs.ahead += delay
        await eventually(FAILED_TRIES, gives=MAX_TRIES)
        jobs.ahead = DAY
        # Mill's did not wait for acme's, nor does the next date of acme's wait for one that has failed.
        await eventually(SUCCEEDED, gives=3)
        failed, _ = await runs_of(database)
        assert (failed["status"], failed["tries"]) == ("failed", MAX_TRIES)
        [told] = jobs.news
        assert (told.what, told.claimed.tenant, told.claimed.logical_date) == ("failed", "acme", last)
        assert told.error == failed["error"]

        failing.clear()
        async with jobs.engine.begin() as connection:
            await repository.request(connection, "acme", "slow", last, requested_by="eva", ahead=jobs.ahead)
        await eventually(SUCCEEDED, gives=4)
    assert [news.what for news in jobs.news] == ["failed", "mended"]
    mended, _ = await runs_of(database)
    assert (mended["tries"], mended["error"], mended["requested_by"]) == (1, None, "eva")
    numbers = [attempt["number"] for attempt in await attempts_of(database)]
    assert numbers == [*range(1, MAX_TRIES + 2), 1]


async def test_later_dates_wait_for_one_that_is_retried(jobs, database, eventually):
    last, tried = await yesterday(database), []

    async def run(_, logical_date):
        tried.append(logical_date)
        if len(tried) == 1:
            raise ValueError
        return {}

    async with jobs.process(job("slow", run, "acme")):
        await eventually("SELECT count(*) FROM notifier.job_attempts", gives=1)
        assert (await runs_of(database))[0]["error"] == "ValueError"
        jobs.ahead = DAY
        await eventually(ENDED, gives=2)
    assert tried == [last, last, last + DAY]


async def test_jobs_do_not_block_each_other_and_one_process_runs_two_at_once(jobs, database, eventually):
    worked = Worked()
    kinds = [job(name, worked(name), "acme", "mill") for name in ("one", "two", "three")]
    async with jobs.process(*kinds):
        await eventually("SELECT count(*) FROM notifier.job_runs WHERE status = 'running'", gives=2)
        await asyncio.sleep(0.2)
        assert len({name for name, *_ in worked.began}) == len(worked.began) == 2
        async with jobs.process(*kinds):
            await eventually("SELECT count(*) FROM notifier.job_runs WHERE status = 'running'", gives=4)
            worked.may_end.set()
            await eventually(ENDED, gives=6)


async def test_a_run_is_its_process_s_until_that_is_killed_and_then_anothers_at_once(
    jobs, database, eventually, database_url
):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.notifier.given_jobs",
        database_url,
        "acme",
        stdout=asyncio.subprocess.PIPE,
    )
    assert (await process.stdout.readline()).decode().strip() == str(await yesterday(database))
    async with jobs.process(job("slow", nothing, "acme")) as scheduler:
        await asyncio.sleep(0.3)  # some looks
        [held] = await runs_of(database)
        assert (held["status"], held["attempts"]) == ("running", 1)
        process.kill()
        await process.wait()
        await eventually(ENDED, gives=1)
        assert scheduler.check().ok
    [run] = await runs_of(database)
    assert (run["status"], run["attempts"], run["tries"]) == ("succeeded", 2, 2)
    killed, second = await attempts_of(database)
    assert killed["error"] == "the process that ran it ended in the middle"
    assert second["error"] is None


@pytest.mark.parametrize("deaf", [False, True])
async def test_what_kills_its_process_each_time_is_given_up_whoever_can_be_told(
    jobs, database, eventually, deaf
):
    async def hear(connection, news):
        jobs.news.append(news)
        await connection.exec_driver_sql(f"SELECT 1 / {0 if deaf else 1}")

    jobs.hear = hear
    await database.execute(
        "INSERT INTO notifier.job_runs (tenant, job, logical_date, scheduled, status, next_attempt_at, runner, attempts,"
        " tries, started_at) VALUES ('acme', 'slow', $1, true, 'running', NULL, 4711, 20, $2, now())",
        await yesterday(database),
        MAX_TRIES,
    )
    async with jobs.process(job("slow", nothing, "acme")):
        await eventually(ENDED, gives=1)
    [run] = await runs_of(database)
    assert run["status"] == "failed"
    assert [news.what for news in jobs.news] == ["failed"]


async def test_a_process_that_stops_gives_its_run_back(jobs, database, eventually):
    worked = Worked()
    async with jobs.process(job("slow", worked("slow"), "acme")):
        await eventually("SELECT count(*) FROM notifier.job_runs WHERE status = 'running'", gives=1)
    [run] = await runs_of(database)
    assert (run["status"], run["attempts"], run["tries"]) == ("pending", 1, 0)
    worked.may_end.set()
    async with jobs.process(job("slow", worked("slow"), "acme")):
        await eventually(ENDED, gives=1)
    assert len(worked.began) == 2
    stopped, second = await attempts_of(database)
    assert stopped["error"].startswith("its process stopped")
    assert second["number"] == 2


async def test_a_process_that_nobody_sees_gives_up_what_was_taken_over(jobs, database, eventually):
    lost, cancelled = Worked(), asyncio.Event()

    async def run(tenant, logical_date):
        try:
            return await lost("slow")(tenant, logical_date)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with jobs.process(job("slow", run, "acme"), visible=False):
        await eventually("SELECT count(*) FROM notifier.job_runs WHERE status = 'running'", gives=1)
        async with jobs.process(job("slow", nothing, "acme")):
            await eventually(ENDED, gives=1)
        async with asyncio.timeout(10):
            await cancelled.wait()
    [run] = await runs_of(database)
    assert (run["status"], run["attempts"]) == ("succeeded", 2)
    assert len(await attempts_of(database)) == 2


async def test_what_is_due_does_not_wait_for_what_cannot_be_scheduled(jobs, database, eventually):
    async def unknown(_):
        raise LookupError("nobody knows")

    broken = Job("broken", "Is due for nobody knows whom.", time(0), nothing, unknown)
    async with jobs.process(broken, job("slow", nothing, "acme")) as scheduler:
        async with jobs.engine.begin() as connection:
            last = await yesterday(database)
            await repository.request(connection, "acme", "slow", last, requested_by="eva", ahead=jobs.ahead)
        await eventually(ENDED, gives=1)
        assert scheduler.check().detail == "what is due cannot be seen: LookupError"


@pytest.mark.parametrize(
    "result", [{"at": date(2026, 3, 1)}, {"n": float("nan")}, {"a": "\0"}, {"\ud800": 1}]
)
async def test_a_result_that_cannot_be_kept_is_a_failure(jobs, database, eventually, result):
    async def run(*_):
        return result

    async with jobs.process(job("slow", run, "acme")):
        await eventually(FAILED_TRIES, gives=1)
    [attempt] = await attempts_of(database)
    assert attempt["error"].partition(":")[0] in {"TypeError", "ValueError", "UnicodeEncodeError"}


async def test_a_run_that_was_asked_for_before_is_run_again_in_its_turn_if_it_began_too_early(
    jobs, database, eventually
):
    last = await yesterday(database)
    midnight = datetime.combine(last + DAY, time(), UTC)  # when `last` is due
    early, in_time = midnight - timedelta(seconds=1), midnight
    for n, scheduled, began in ((-3, True, in_time), (-1, False, in_time), (0, False, early)):
        await database.execute(
            "INSERT INTO notifier.job_runs (tenant, job, logical_date, scheduled, status, next_attempt_at, started_at,"
            " finished_at) VALUES ('acme', 'slow', $1, $2, 'succeeded', NULL, $3, now())",
            last + n * DAY,
            scheduled,
            began,
        )
    async with jobs.process(job("slow", nothing, "acme")):
        await eventually("SELECT count(*) FROM notifier.job_attempts", gives=2)
    runs = await runs_of(database)
    assert [(run["logical_date"] - last).days for run in runs] == [-3, -2, -1, 0]
    assert [run["attempts"] for run in runs] == [0, 1, 0, 1]
    assert all(run["scheduled"] and run["status"] == "succeeded" for run in runs)


async def test_a_run_that_was_asked_for_before_and_lasts_beyond_its_moment_is_run_again(
    jobs, database, eventually
):
    last = await yesterday(database)
    began = datetime.combine(last + DAY, time(), UTC) - timedelta(seconds=1)
    other = Presence(jobs.database_url, "notifier")
    await other.start([])
    await database.execute(
        "INSERT INTO notifier.job_runs (tenant, job, logical_date, scheduled, status, runner, next_attempt_at,"
        " started_at) VALUES ('acme', 'slow', $1, false, 'running', $2, NULL, $3)",
        last,
        other.instance,
        began,
    )
    async with jobs.process(job("slow", nothing, "acme")):
        await asyncio.sleep(1)  # the schedule has passed it
        assert [run["scheduled"] for run in await runs_of(database)] == [False]
        await database.execute(
            "UPDATE notifier.job_runs SET status = 'succeeded', runner = NULL, finished_at = now()"
        )
        await eventually("SELECT count(*) FROM notifier.job_attempts", gives=1)
    await other.stop()
    [run] = await runs_of(database)
    assert (run["scheduled"], run["status"], run["attempts"]) == (True, "succeeded", 1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError(), "ValueError"),
        (ValueError("first\nsecond"), "ValueError: first"),
        (
            OSError("https://u:p@h:8443/?password=xyz&a=b away"),
            "OSError: https://…@h:8443/?password=…&a=b away",
        ),
        (OSError("postgresql://u:p/q@h and token=abc"), "OSError: postgresql://…@h and token=…"),
        (Unavailable("source_away", "ClickHouse is away"), "ClickHouse is away"),
        (ValueError("\ud800"), "ValueError: ?"),
        (ValueError("a\0b" + "x" * 1000), "ValueError: ab" + "x" * 486),
    ],
)
def test_an_error_is_said_in_a_line_without_secrets(error, said):
    assert said_of(error) == said


def test_a_job_is_not_after_one_that_is_due_later():
    early, late = job("early", nothing, at=time(5)), job("late", nothing, at=time(6))
    with pytest.raises(ValueError, match="due later"):
        in_order([job("a", nothing, after="late", at=time(5)), late])
    with pytest.raises(ValueError, match="same name"):
        in_order([early, early])
    third = job("third", nothing, after="second", at=time(7))
    second = job("second", nothing, after="early", at=time(7))
    assert [one.name for one in in_order([third, second, early])] == ["early", "second", "third"]
    assert in_order([second]) == [second]
