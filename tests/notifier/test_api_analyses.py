"""Analyses over HTTP: lists, counts, who is late, what failed, all at a glance."""

from datetime import UTC, datetime, timedelta

import pytest

from services.notifier.analyses.analysing import analyse
from services.notifier.analyses.thresholds import Thresholds
from services.notifier.logbook.logbook import Logbook
from shared.platform.bus import Bus
from shared.platform.database import engine_for

IMPORT = "01890a5d-ac96-774b-bcce-b302099a8057"


def today():
    return datetime.now(UTC).date()


def days_ago(number):
    return today() - timedelta(days=number)


async def shown(notifier, path="", **parameters):
    response = await notifier.call("GET", f"/analyses{path}", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
async def weeks(resting, database, database_url):
    """Three suppliers that sent daily: one does; one stopped a week ago, has one file since, and stopped again; one is disabled."""
    await database.execute(
        "INSERT INTO notifier.suppliers (tenant, id, name, enabled)"
        " VALUES ('acme', 'north/1', 'North', true), ('acme', 'south', 'South', true), ('acme', 'east', 'East', false)"
    )
    await database.execute(
        """
        INSERT INTO notifier.supplier_files (tenant, id, supplier, day, occurred_at, origin, status, import_id, rows, rejected)
        SELECT 'acme', s || d, s, $1::date - d, ($1::date - d)::timestamptz + interval '9 hours', 'import', 'good', $2,
            CASE WHEN s = 'north/1' AND d = 1 THEN 10 ELSE 100 END, 1
        FROM unnest('{north/1,south,east}'::text[]) s, generate_series(1, 40) d
        WHERE s = 'north/1' OR d > 7 OR d = 4
        """,
        today(),
        IMPORT,
    )
    engine = engine_for(database_url, "notifier", pool_size=2)
    logbook = Logbook(Bus("notifier", database_url=database_url).publish, UTC, quota=1000)
    for number in (3, 2, 1):
        await analyse(engine, logbook, "acme", days_ago(number), thresholds=Thresholds(), zone=UTC)
    await engine.dispose()
    return resting


async def test_the_analyses_of_a_day(weeks):
    page = await shown(weeks, total="exact")
    assert (page["day"], page["total"], page["next_cursor"]) == (days_ago(1).isoformat(), 2, None)
    north, south = page["items"]
    assert (north["supplier"], north["name"], north["state"], north["bucket"]) == (
        "north/1",
        "North",
        "fail",
        "consistent",
    )
    [rows] = north["findings"]
    assert (rows["finding"], rows["state"]) == ("row_count", "fail")
    assert [one["state"] for one in rows["evidence"]] == ["fail", "warn"]
    assert set(north["passed"]) == {"late", "failed_file", "reject_rate", "duplicate_file", "new_reason"}
    assert north["links"] == {
        "supplier": "/api/v1/suppliers/north%2F1",
        "files": f"/api/v1/suppliers/north%2F1/files?since={days_ago(1)}&until={days_ago(1)}",
        "investigations": [f"/api/v1/investigations/{rows['investigation_id']}"],
        "errors": "/api/v1/investigations?supplier=north%2F1&order=-last_seen",
        "imports": [f"/api/v1/imports/{IMPORT}"],
    }
    for link in (*north["links"].values(), *north["links"]["investigations"]):
        if isinstance(link, str):
            answer = await weeks.call("GET", link.removeprefix("/api/v1"))
            assert answer.status_code == 200, answer.text
    assert south["cadence"]["days_since"] == 3
    assert [one["finding"] for one in south["findings"]] == ["late"]

    other = await weeks.call("GET", "/analyses", tenant="other")
    assert other.json() == {"day": None, "items": [], "next_cursor": None, "total": None}


async def test_analyses_are_filtered_and_paged(weeks):
    async def listed(**parameters):
        page = await shown(weeks, total="exact", **parameters)
        assert page["total"] == len(page["items"])
        return [
            (one["supplier"], (today() - datetime.fromisoformat(one["day"]).date()).days)
            for one in page["items"]
        ]

    assert await listed(supplier="south") == [("south", 1), ("south", 2), ("south", 3)]
    assert await listed(supplier="south", day=days_ago(3)) == [("south", 3)]
    assert await listed(supplier="east") == []
    assert await listed(state="passed", day=days_ago(2)) == [("north/1", 2)]
    assert await listed(state=["passed", "fail"], day=days_ago(2)) == [("north/1", 2), ("south", 2)]
    assert await listed(bucket="dead") == []
    assert await listed(finding="late") == [("south", 1)]
    assert await listed(finding="late", supplier="south", state="fail") == [
        ("south", 1),
        ("south", 2),
        ("south", 3),
    ]
    walked, cursor = [], None
    while cursor or not walked:
        parameters = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = await shown(weeks, **parameters)
        walked += [one["supplier"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert walked == ["north/1", "south"]
    first = await shown(weeks, supplier="south", limit=2)
    second = await shown(weeks, supplier="south", limit=2, cursor=first["next_cursor"])
    assert [one["day"] for one in second["items"]] == [days_ago(3).isoformat()]
    foreign = await weeks.call("GET", "/analyses", params={"cursor": first["next_cursor"]})
    assert (foreign.status_code, foreign.json()["code"]) == (422, "cursor_invalid")


async def test_counts_and_failures_of_a_day(weeks):
    counts = await shown(weeks, "/buckets")
    assert (counts["day"], counts["day_before"]) == (days_ago(1).isoformat(), days_ago(2).isoformat())
    assert counts["suppliers"] == {"count": 2, "before": 2}
    assert counts["states"] == {
        "passed": {"count": 0, "before": 1},
        "warn": {"count": 0, "before": 0},
        "fail": {"count": 2, "before": 1},
        "no_data": {"count": 0, "before": 0},
    }
    assert counts["buckets"]["consistent"]["count"] + counts["buckets"]["inconsistent"]["count"] == 2
    assert (await shown(weeks, "/buckets", day="0001-01-01"))["suppliers"] == {"count": 0, "before": 0}

    failures = await shown(weeks, "/failures")
    assert [one["supplier"] for one in failures["items"]] == ["north/1", "south"]
    assert all(one["links"]["investigations"] for one in failures["items"])
    before = await shown(weeks, "/failures", day=days_ago(2))
    assert [one["supplier"] for one in before["items"]] == ["south"]
    assert (await shown(weeks, "/failures", day=days_ago(9)))["items"] == []


async def test_who_is_late_is_known_before_the_next_analysis(weeks, database):
    late = await shown(weeks, "/late", total="exact")
    assert late["total"] == 1
    [south] = late["items"]
    assert (south["supplier"], south["name"], south["days_late"]) == ("south", "South", 3)
    assert (south["expected_day"], south["last_good_day"]) == (
        days_ago(3).isoformat(),
        days_ago(4).isoformat(),
    )
    assert south["investigation_id"]

    await database.execute(
        "INSERT INTO notifier.supplier_files (tenant, id, supplier, day, occurred_at, origin, status)"
        " VALUES ('acme', 'now', 'south', $1, now(), 'import', 'good')",
        today(),
    )
    assert (await shown(weeks, "/late", total="exact")) == {"items": [], "next_cursor": None, "total": 0}


async def test_all_at_a_glance(weeks):
    event = {"stage": "load_mail", "reason": "file_read", "supplier": "south"}
    noon = f"{days_ago(1)}T12:00:00Z"
    for number in range(2):
        logged = await weeks.call(
            "POST", "/investigation-events", json=event | {"occurred_at": noon, "event_id": str(number)}
        )
        assert logged.status_code == 202, logged.text
    overview = await shown(weeks, "/overview")
    assert overview["yesterday"] == {
        "day": days_ago(1).isoformat(),
        "files": 1,
        "good": 1,
        "failed": 0,
        "rows": 10,
        "rejected": 1,
        "errors": 2,
    }
    assert (overview["today"]["files"], overview["today"]["errors"]) == (0, 0)
    assert overview["suppliers"] == 2
    assert overview["last_analysis"] == await shown(weeks, "/buckets")
    assert (overview["late_count"], overview["late"]) == (1, (await shown(weeks, "/late"))["items"])
    assert (overview["failures_count"], overview["failures"]) == (
        2,
        (await shown(weeks, "/failures"))["items"],
    )
    assert overview["top_reasons"] == [{"reason": "file_read", "errors": 2}]
    assert overview["investigations"]["open"] == 3


async def test_before_anything_is_analysed_all_is_empty_and_what_is_wrong_is_told(resting):
    assert await shown(resting, total="exact") == {"day": None, "items": [], "next_cursor": None, "total": 0}
    assert (await shown(resting, "/buckets"))["day"] is None
    overview = await shown(resting, "/overview")
    assert (overview["late_count"], overview["failures_count"], overview["top_reasons"]) == (0, 0, [])

    for path, parameters, code in (
        ("", {"states": "fail"}, "filter_unknown"),
        ("", {"state": "failed"}, "request_invalid"),
        ("", {"day": "yesterday"}, "request_invalid"),
        ("", {"supplier": "a\0b"}, "request_invalid"),
        ("/late", {"day": "2026-03-01"}, "filter_unknown"),
        ("/overview", {"day": "2026-03-01"}, "filter_unknown"),
        ("/failures", {"cursor": "x"}, "cursor_invalid"),
    ):
        response = await resting.call("GET", f"/analyses{path}", params=parameters)
        assert (response.status_code, response.json()["code"]) == (422, code), (path, parameters)


async def test_the_job_runs_when_it_is_asked_for(notifier, eventually):
    await notifier.call("POST", "/suppliers", json={"id": "acme", "name": "Acme"})
    asked = await notifier.call("POST", "/jobs/daily-analysis/runs", json={"date": str(days_ago(5))})
    assert asked.status_code == 202, asked.text
    await eventually(
        "SELECT status FROM notifier.job_runs WHERE logical_date = $1", days_ago(5), gives="succeeded"
    )
    [analysis] = (await shown(notifier, supplier="acme", day=days_ago(5)))["items"]
    assert (analysis["state"], analysis["bucket"]) == ("no_data", "new")
