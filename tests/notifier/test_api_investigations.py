"""Investigation events and investigations over HTTP."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

EVENT = {
    "supplier": "acme",
    "stage": "load_ftp",
    "reason": "file_read",
    "summary": "cannot read /in/prices-17.csv",
}


@pytest.fixture(autouse=True)
async def known(database):
    """The supplier, to two tenants."""
    await database.execute(
        "INSERT INTO notifier.suppliers (tenant, id, name) VALUES ('acme', 'acme', 'A'), ('other', 'acme', 'A')"
    )


async def log(notifier, *, headers=None, tenant="acme", **changes):
    body = {**EVENT, **changes}
    return await notifier.call(
        "POST", "/investigation-events", json=body, headers=headers or {}, tenant=tenant
    )


async def investigations(notifier, tenant="acme", **parameters):
    response = await notifier.call("GET", "/investigations", tenant=tenant, params=parameters)
    assert response.status_code == 200, response.text
    return response.json()["items"]


async def test_a_first_event_opens_and_a_similar_one_joins(notifier):
    first = await log(notifier, occurred_at="2026-03-01T12:00:00+01:00", extra={"host": "ftp.acme.example"})
    second = await log(notifier, summary="cannot read /in/prices-18.csv", severity="critical")
    assert (first.status_code, first.json()["outcome"], first.json()["count"]) == (202, "created", 1)
    assert (second.status_code, second.json()["outcome"], second.json()["count"]) == (202, "grouped", 2)
    assert first.json()["investigation_id"] == second.json()["investigation_id"]
    assert second.json()["first_seen"] == "2026-03-01T11:00:00Z"

    found = (await notifier.call("GET", f"/investigations/{first.json()['investigation_id']}")).json()
    assert (found["state"], found["count"], found["severity"]) == ("open", 2, "critical")
    assert [event["event_id"] for event in found["events"]] == [
        second.json()["event_id"],
        first.json()["event_id"],
    ]
    assert found["events"][1]["extra"] == {"host": "ftp.acme.example"}


async def test_the_same_event_counts_once(resting):
    answers = [(await log(resting, event_id="mail-17")).json() for _ in range(3)]
    assert [answer["outcome"] for answer in answers] == ["created", "duplicate", "duplicate"]
    assert {(answer["investigation_id"], answer["count"]) for answer in answers} == {
        (answers[0]["investigation_id"], 1)
    }


async def test_the_idempotency_key_is_the_event_id(resting):
    first = await log(resting, headers={"Idempotency-Key": "mail-17"})
    second = await log(resting, event_id="mail-17")
    assert (first.json()["event_id"], second.json()["outcome"]) == ("mail-17", "duplicate")
    differing = await log(resting, event_id="mail-18", headers={"Idempotency-Key": "mail-17"})
    assert (differing.status_code, differing.json()["code"]) == (422, "event_id_ambiguous")


async def test_another_body_with_the_same_id_is_a_conflict(resting):
    first = await log(resting, event_id="mail-17")
    other = await log(resting, event_id="mail-17", reason="file_format")
    assert (other.status_code, other.json()["code"]) == (409, "event_conflict")
    assert [found["count"] for found in await investigations(resting)] == [1]
    assert (await log(resting, event_id="mail-17", tenant="other")).json()["outcome"] == "created"
    assert first.json()["event_id"] == "mail-17"


async def test_concurrent_first_events_open_one_investigation(notifier):
    answers = await asyncio.gather(*(log(notifier, summary=f"cannot read /in/{i}") for i in range(12)))
    outcomes = sorted(answer.json()["outcome"] for answer in answers)
    assert outcomes == ["created"] + ["grouped"] * 11
    assert sorted(answer.json()["count"] for answer in answers) == list(range(1, 13))
    assert [found["count"] for found in await investigations(notifier)] == [12]


async def test_concurrent_repetitions_count_once(notifier):
    answers = await asyncio.gather(*(log(notifier, event_id="same") for _ in range(8)))
    assert sorted(answer.json()["outcome"] for answer in answers) == ["created"] + ["duplicate"] * 7
    assert [found["count"] for found in await investigations(notifier)] == [1]


BAD = [
    ({"stage": None}, "request_invalid"),
    ({"reason": ""}, "request_invalid"),
    ({"reason": "   "}, "request_invalid"),
    ({"severity": "fatal"}, "request_invalid"),
    ({"occurred_at": "2026-03-01T12:00:00"}, "request_invalid"),
    ({"occurred_at": "yesterday"}, "request_invalid"),
    (
        {"occurred_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()},
        "occurred_in_future",
    ),
    ({"extra": {"long": "ä" * 8200}}, "request_invalid"),
    ({"occurred_at": "0001-01-01T00:00:00+02:00"}, "request_invalid"),
    ({"extra": {"nul": "\0"}}, "request_invalid"),
    ({"extra": {"nul\0": ["deep", {"in": 1}]}}, "request_invalid"),
    ({"extra": {"deep": json.loads("[" * 300 + "]" * 300)}}, "request_invalid"),
    ({"extra": ["no object"]}, "request_invalid"),
    ({"summary": "a\0b"}, "request_invalid"),
    ({"supplier": "x" * 256}, "request_invalid"),
    ({"file": {}}, "request_invalid"),
    ({"file": {"path": "/x", "size": -1}}, "request_invalid"),
    ({"suplier": "typo"}, "request_invalid"),
    ({"event_id": "analysis:2026-03-01:1:trigger:late:acme"}, "event_id_reserved"),
    ({"event_id": "penstock:job:daily-analysis:2026-03-01:1"}, "event_id_reserved"),
    ({"event_id": "x" * 256}, "request_invalid"),
]


async def test_bad_events_are_told_and_not_kept(resting, subtests):
    for number, (changes, code) in enumerate(BAD):
        with subtests.test(number=number):
            response = await log(resting, **changes)
            assert (response.status_code, response.json()["code"]) == (422, code)
            assert await investigations(resting) == []


async def test_json_that_cannot_be_kept(resting, subtests):
    headers = {"Content-Type": "application/json"}
    for extra in ('{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 100_000):
        with subtests.test(extra=extra[:20]):
            body = f'{{"stage": "s", "reason": "r", "extra": {extra}}}'
            response = await resting.call("POST", "/investigation-events", content=body, headers=headers)
            assert response.status_code in {400, 422}


async def test_extra_is_kept_as_it_is(resting):
    extra = {"ä": [1, 2.5, None, True, {"b": "\\u0000 \u2028 \U0001f600"}], "big": 10**30}
    answer = (await log(resting, extra=extra, file={"path": "/in/a.csv", "rows": 3})).json()
    found = (await resting.call("GET", f"/investigations/{answer['investigation_id']}")).json()
    assert found["events"][0]["extra"] == extra
    assert found["events"][0]["file"] == {"path": "/in/a.csv", "rows": 3}


async def test_a_clock_slightly_ahead_is_fine(resting):
    ahead = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    assert (await log(resting, occurred_at=ahead)).status_code == 202


async def test_a_late_event_moves_the_first_time_back(resting):
    await log(resting, occurred_at="2026-03-02T00:00:00Z")
    answer = (await log(resting, occurred_at="2026-03-01T00:00:00Z")).json()
    assert answer["first_seen"] == "2026-03-01T00:00:00Z"
    (found,) = await investigations(resting)
    assert (found["first_seen"], found["last_seen"]) == ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")


async def test_filters_and_pages(resting):
    for number in range(5):
        await log(resting, reason=f"reason_{'ab'[number % 2]}", stage=f"stage_{number}")
    assert len(await investigations(resting, reason="reason_a")) == 3
    assert len(await investigations(resting, reason="reason_a", stage="stage_2", supplier="acme")) == 1
    assert len(await investigations(resting, state="open")) == 5
    assert await investigations(resting, state="resolved") == []
    assert (await resting.call("GET", "/investigations?state=closed")).status_code == 422
    first = (await resting.call("GET", "/investigations?limit=3")).json()
    rest = (await resting.call("GET", f"/investigations?limit=3&cursor={first['next_cursor']}")).json()
    stages = [item["stage"] for item in first["items"] + rest["items"]]
    assert stages == [f"stage_{number}" for number in (4, 3, 2, 1, 0)]
    assert rest["next_cursor"] is None


async def test_a_tenant_sees_only_its_own(resting):
    logged = (await log(resting)).json()
    path = f"/investigations/{logged['investigation_id']}"
    assert (await resting.call("GET", path, tenant="other")).json()["code"] == "investigation_not_found"
    assert await investigations(resting, tenant="other") == []
    mine = (await log(resting, tenant="other")).json()
    assert (mine["outcome"], mine["count"]) == ("created", 1)
    assert mine["investigation_id"] != logged["investigation_id"]
    assert (await resting.call("GET", f"/investigations/{uuid4()}")).status_code == 404


async def test_scopes(resting):
    response = await resting.call("POST", "/investigation-events", json=EVENT, scopes=["investigations:read"])
    assert response.status_code == 403
    assert (await resting.call("GET", "/investigations", scopes=["investigations:write"])).status_code == 403
