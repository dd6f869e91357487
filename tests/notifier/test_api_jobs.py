"""Jobs as they are asked about and asked for over HTTP."""

from contextlib import asynccontextmanager
from datetime import date, timedelta

import pytest

from services.notifier.jobs.api import jobs_router
from services.notifier.jobs.scheduler import Scheduler
from services.notifier.settings import Settings
from shared.platform.auth import authenticator_of
from shared.platform.database import engine_for
from shared.platform.service import Service, Stopping, compose
from tests.notifier.conftest import nobody_hears, serving
from tests.notifier.given_jobs import UTC, job

SCOPES = ("investigations:read", "investigations:admin")
RUNS = "/jobs/daily-analysis/runs"


async def nothing(_, __):
    return {}


@pytest.fixture
async def service(environment):
    """The routes of jobs, before a scheduler that does not run."""
    settings = Settings()
    engine = engine_for(settings.database_url, "notifier", pool_size=3)
    jobs = [
        job("daily-analysis", nothing, "acme", "mill", after="clickhouse-backfill"),
        job("clickhouse-backfill", nothing, "mill"),
    ]
    options = {"zone": UTC, "runner": 0, "catch_up_days": 31, "tell": nobody_hears}
    scheduler = Scheduler(engine, Stopping(), jobs, **options)
    woken = []
    scheduler.wake = lambda: woken.append(None)
    routes = jobs_router(engine, authenticator_of(settings, engine), scheduler)

    @asynccontextmanager
    async def lifespan():
        yield
        await engine.dispose()

    async def checks():
        return []

    app = compose([Service("notifier", lifespan, checks, routes)])
    app.state.woken = woken
    async with serving(app, environment) as service:
        yield service


async def ended(database, day, status="succeeded", tenant="acme"):
    await database.execute(
        "INSERT INTO notifier.job_runs (tenant, job, logical_date, scheduled, status, next_attempt_at, attempts, tries,"
        " started_at, finished_at, error) VALUES ($1, 'daily-analysis', $2, true, $3, NULL, 12, 2, now(), now(), $4)",
        tenant,
        day,
        status,
        "no" if status == "failed" else None,
    )
    await database.execute(
        "INSERT INTO notifier.job_attempts SELECT $1, 'daily-analysis', $2, number, now(), now(), 'no', NULL"
        " FROM generate_series(1, 12) number",
        tenant,
        day,
    )


async def test_jobs_say_what_they_do_and_how_it_went(service, database):
    await ended(database, date(2026, 3, 1))
    await ended(database, date(2026, 3, 2), status="failed")
    answer = await service.call("GET", "/jobs", scopes=SCOPES)
    assert answer.status_code == 200
    backfill, analysis = answer.json()["items"]
    assert (backfill["name"], backfill["due"], backfill["next_due"], backfill["last_run"]) == (
        "clickhouse-backfill",
        False,
        None,
        None,
    )
    assert analysis["schedule"] == "every day at 00:00 (UTC), for the day before"
    assert (analysis["after"], analysis["due"]) == ("clickhouse-backfill", True)
    today = await database.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")
    assert analysis["next_due"] == {
        "date": str(today),
        "at": f"{today + timedelta(days=1)}T00:00:00Z",
    }
    last = analysis["last_run"]
    assert (last["date"], last["status"], last["error"], last["tries"]) == ("2026-03-02", "failed", "no", 2)
    assert [attempt["number"] for attempt in last["attempts"]] == list(range(3, 13))
    first = (await service.call("GET", "/jobs?limit=1&total=exact", scopes=SCOPES)).json()
    rest = (await service.call("GET", f"/jobs?limit=1&cursor={first['next_cursor']}", scopes=SCOPES)).json()
    assert [*first["items"], *rest["items"]] == [backfill, analysis]
    assert (first["total"], rest["next_cursor"]) == (2, None)
    other = (await service.call("GET", "/jobs", tenant="mill", scopes=SCOPES)).json()["items"]
    assert [(one["due"], one["last_run"]) for one in other] == [(True, None), (True, None)]


async def test_runs_are_listed_the_latest_first_page_by_page_and_by_filters(service, database):
    for day in range(1, 8):
        await ended(database, date(2026, 3, day), status="failed" if day % 2 else "succeeded")
    await ended(database, date(2026, 3, 5), tenant="mill")

    async def listed(**params):
        answer = await service.call("GET", RUNS, scopes=SCOPES, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    seen, cursor = [], {}
    while cursor is not None:
        page = await listed(limit=3, total="exact", **cursor)
        assert page["total"] == 7
        seen += [run["date"] for run in page["items"]]
        cursor = page["next_cursor"] and {"cursor": page["next_cursor"]}
    assert seen == [f"2026-03-0{day}" for day in range(7, 0, -1)]
    some = await listed(status="failed", since="2026-03-02", until="2026-03-07")
    assert [run["date"] for run in some["items"]] == ["2026-03-05", "2026-03-03"]

    one = await service.call("GET", f"{RUNS}/2026-03-05", scopes=SCOPES)
    assert one.json()["links"] == {"self": f"/api/v1{RUNS}/2026-03-05", "runs": f"/api/v1{RUNS}"}
    assert len(one.json()["attempts"]) == 12


async def test_a_run_is_asked_for_now_and_again(service, database):
    body = {"json": {"date": "2026-03-01"}}
    first = await service.call("POST", RUNS, scopes=SCOPES, **body)
    assert first.status_code == 202
    run = first.json()
    assert (run["status"], run["tries"], run["attempts"]) == ("pending", 0, [])
    assert run["requested_by"]
    assert len(service.app.state.woken) == 1
    repeated = (await service.call("POST", RUNS, scopes=SCOPES, **body)).json()
    assert {**repeated, "requested_by": run["requested_by"]} == run

    change = "UPDATE notifier.job_runs SET status = 'running', runner = 1, next_attempt_at = NULL, started_at = now()"
    await database.execute(change)
    running = await service.call("POST", RUNS, scopes=SCOPES, **body)
    assert (running.status_code, running.json()["status"]) == (202, "running")

    # One that waits an hour for its next attempt does not wait any longer, and keeps count of its tries.
    await database.execute(
        "UPDATE notifier.job_runs SET status = 'pending', runner = NULL, attempts = 3, tries = 3,"
        " next_attempt_at = now() + interval '1 hour'"
    )
    hastened = (await service.call("POST", RUNS, scopes=SCOPES, **body)).json()
    assert (hastened["status"], hastened["tries"]) == ("pending", 3)
    assert await database.fetchval("SELECT next_attempt_at <= now() FROM notifier.job_runs")

    await ended(database, date(2026, 3, 2), status="failed")
    again = (await service.call("POST", RUNS, scopes=SCOPES, json={"date": "2026-03-02"})).json()
    assert (again["status"], again["tries"], again["finished_at"]) == ("pending", 0, None)
    assert again["attempts"][-1]["number"] == 12


REFUSED = [
    (("GET", "/jobs/unknown/runs", {}), "404 job_not_found"),
    (("GET", "/jobs/unknown/runs/2026-03-01", {}), "404 job_not_found"),
    (("POST", "/jobs/unknown/runs", {"json": {"date": "2026-03-01"}}), "404 job_not_found"),
    (("GET", f"{RUNS}/2026-03-01", {}), "404 job_run_not_found"),
    (("GET", f"{RUNS}/1772323200", {}), "422 request_invalid"),
    (("POST", RUNS, {"json": {"date": "9999-12-31"}}), "422 date_not_over"),
    (("POST", RUNS, {"json": {"date": 20260301}}), "422 request_invalid"),
    (("POST", RUNS, {"json": {"date": "1969-12-31"}}), "422 request_invalid"),
    (("POST", "/jobs/clickhouse-backfill/runs", {"json": {"date": "2026-03-01"}}), "409 job_not_due"),
    (("GET", RUNS, {"params": {"since": "2026-03-01", "until": "2026-03-01"}}), "422 filter_invalid"),
    (("GET", RUNS, {"params": {"state": "failed"}}), "422 filter_unknown"),
    (("GET", RUNS, {"params": {"cursor": "abc"}}), "422 cursor_invalid"),
]


async def test_what_cannot_be_done_is_said(service, database, subtests):
    today = await database.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")
    of_today = (("POST", RUNS, {"json": {"date": str(today)}}), "422 date_not_over")
    for (method, path, options), answered in [*REFUSED, of_today]:
        with subtests.test(f"{method} {path} {options}"):
            answer = await service.call(method, path, scopes=SCOPES, **options)
            assert f"{answer.status_code} {answer.json()['code']}" == answered, answer.text
    assert await database.fetchval("SELECT count(*) FROM notifier.job_runs") == 0
