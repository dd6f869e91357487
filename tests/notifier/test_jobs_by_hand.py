"""A job by hand, beside schedulers or without them."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from services.notifier.jobs import by_hand as module
from services.notifier.jobs import scheduler as scheduling
from services.notifier.jobs.attempting import Books
from services.notifier.jobs.by_hand import ByHand
from services.notifier.jobs.calendar import DAY
from shared.contracts.problems import Conflict, Unprocessable
from shared.platform.presence import Presence
from tests.notifier.given_jobs import UTC, deployment, job

RUNNING = "SELECT count(*) FROM notifier.job_runs WHERE status = 'running'"


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(scheduling, "LOOK_SECONDS", 0.03)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.03)


@pytest.fixture
async def jobs(database_url):
    async with deployment(database_url) as jobs:
        yield jobs


@asynccontextmanager
async def hand(jobs, *known):
    presence = Presence(jobs.database_url, "jobs by hand")
    await presence.start([])
    yield ByHand(Books(jobs.engine, jobs.hear), known, UTC, presence.instance)
    await presence.stop()


def refuse_to_wait(*_):
    pytest.fail("there is nothing to wait for")


async def test_a_run_by_hand_has_the_history_of_any_other(jobs, database):
    results = [{"n": 1}, {"n": 2}, ValueError("the third is wrong")]

    async def run(_, __):
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    one = job("one", run, "acme", after="before")
    async with hand(jobs, one) as by_hand:
        last = await by_hand.yesterday()
        assert last == await database.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date - 1")
        assert await by_hand.tenants(one) == ["acme"]
        first = await by_hand.run(one, "acme", last - 5 * DAY, refuse_to_wait)
        assert (first.status, first.result, first.requested_by) == ("succeeded", {"n": 1}, "penstock run-job")
        again = await by_hand.run(one, "acme", last - 5 * DAY, refuse_to_wait)
        assert (again.result, again.tries) == ({"n": 2}, 1)
        third = await by_hand.run(one, "acme", last - 5 * DAY, refuse_to_wait)
        assert (third.status, third.error, third.tries) == ("pending", "ValueError: the third is wrong", 1)
        assert [attempt.result for attempt in third.attempts] == [{"n": 1}, {"n": 2}, None]
        with pytest.raises(Unprocessable, match="not over"):
            await by_hand.run(one, "acme", last + DAY, refuse_to_wait)
        with pytest.raises(Conflict, match="nothing to do"):
            await by_hand.run(one, "mill", last, refuse_to_wait)
    assert await database.fetchval("SELECT count(*) FROM notifier.job_runs") == 1
    assert not await database.fetchval("SELECT scheduled FROM notifier.job_runs")


async def test_what_another_process_runs_is_waited_for(jobs, database, eventually):
    may_end, ran, waited = asyncio.Event(), [], []

    async def run(_, logical_date):
        ran.append(logical_date)
        await may_end.wait()
        return {"by": "the scheduler"}

    async def run_by_hand(_, logical_date):
        ran.append(logical_date)
        return {"by": "hand"}

    one = job("one", run_by_hand, "acme")
    async with jobs.process(job("one", run, "acme")), hand(jobs, one) as by_hand:
        last = await by_hand.yesterday()
        await eventually(RUNNING, gives=1)
        same, other = (
            asyncio.create_task(by_hand.run(one, "acme", day, lambda *run: waited.append(run)))
            for day in (last, last - DAY)
        )
        await asyncio.sleep(0.2)
        assert sorted(waited) == [("acme", last), ("acme", last)]
        may_end.set()
        assert (await same).result == {"by": "the scheduler"}
        assert (await other).result == {"by": "hand"}
    assert sorted(ran) == [last - DAY, last]


async def test_what_a_dead_process_left_is_run_at_once(jobs, database):
    async def run(_, __):
        return {}

    one = job("one", run, "acme")
    async with hand(jobs, one) as by_hand:
        last = await by_hand.yesterday()
        await database.execute(
            "INSERT INTO notifier.job_runs (tenant, job, logical_date, scheduled, status, next_attempt_at, runner,"
            " attempts, tries, started_at) VALUES ('acme', 'one', $1, true, 'running', NULL, 4711, 1, 1, now())",
            last,
        )
        done = await by_hand.run(one, "acme", last, refuse_to_wait)
    assert (done.status, [attempt.number for attempt in done.attempts]) == ("succeeded", [1, 2])


async def test_a_run_that_is_interrupted_is_given_back(jobs, database, eventually):
    async def run(_, __):
        await asyncio.Event().wait()
        return {}

    one = job("one", run, "acme")
    async with hand(jobs, one) as by_hand:
        running = asyncio.create_task(by_hand.run(one, "acme", await by_hand.yesterday(), refuse_to_wait))
        await eventually(RUNNING, gives=1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    row = await database.fetchrow("SELECT status, attempts, tries FROM notifier.job_runs")
    assert tuple(row) == ("pending", 1, 0)
