"""A job that fails for good is an investigation, until it has succeeded."""

from zoneinfo import ZoneInfo

from services.notifier.app import telling
from services.notifier.jobs import repository
from services.notifier.jobs import scheduler as scheduling
from services.notifier.jobs.calendar import DAY, MAX_TRIES
from services.notifier.logbook.logbook import Logbook
from shared.platform.bus import Bus
from tests.notifier.given_jobs import deployment, job

STATE = "SELECT state FROM notifier.investigations WHERE tenant = 'acme' AND reason = 'job_failed'"


async def test_a_job_that_failed_is_investigated_until_every_date_has_succeeded(
    database_url, database, eventually, monkeypatch
):
    monkeypatch.setattr(scheduling, "LOOK_SECONDS", 0.03)
    fails = True

    async def run(_, __):
        if fails:
            raise ConnectionError("ClickHouse does not answer")
        return {}

    bus = Bus("notifier", database_url=database_url)
    tell = telling(Logbook(bus.publish, ZoneInfo("UTC"), quota=1000))
    async with deployment(database_url) as jobs:
        jobs.hear = tell
        last = await database.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date - 1")
        for day in (last, last - DAY):
            await database.execute(
                "INSERT INTO notifier.job_runs (tenant, job, logical_date, scheduled, attempts, tries)"
                " VALUES ('acme', 'backfill', $1, true, 7, $2)",
                day,
                MAX_TRIES - 1,
            )
        async with jobs.process(job("backfill", run, "acme")):
            await eventually("SELECT count(*) FROM notifier.job_runs WHERE status = 'failed'", gives=2)
            [found] = await database.fetch(
                "SELECT * FROM notifier.investigations WHERE tenant = 'acme' AND reason = 'job_failed'"
            )
            assert (found["state"], found["event_count"], found["stage"]) == ("open", 2, "jobs")
            assert found["summary"] == (
                f"the job backfill failed for {last - DAY}, after 8 attempts:"
                " ConnectionError: ClickHouse does not answer"
            )
            fails = False
            for day, state in ((last, "open"), (last - DAY, "resolved")):
                async with jobs.engine.begin() as connection:
                    await repository.request(
                        connection, "acme", "backfill", day, requested_by="eva", ahead=jobs.ahead
                    )
                done = "SELECT status FROM notifier.job_runs WHERE logical_date = $1"
                await eventually(done, day, gives="succeeded")
                assert await database.fetchval(STATE) == state
