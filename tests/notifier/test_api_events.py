"""Logging events over HTTP: in batches, by the old path, and what waits in quarantine."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.notifier.conftest import running
from tests.notifier.cursors import with_nul

EVENT = {
    "supplier": "acme",
    "stage": "load_ftp",
    "reason": "file_read",
    "occurred_at": "2026-03-01T12:00:00Z",
}
OLD = {
    "event_dt": "2026-07-01 12:00:00",
    "supid": 17,
    "reason": "File format error",
    "stage": "load_mail",
    "file_path": "/in/a.csv",
}


@pytest.fixture(autouse=True)
async def known(database):
    await database.execute(
        "INSERT INTO notifier.suppliers (tenant, id, name) VALUES ('acme', 'acme', 'A'), ('acme', '17', 'B')"
    )


async def post(notifier, path, body, **headers):
    return await notifier.call("POST", path, json=body, headers=headers)


async def batch(notifier, body, **headers):
    response = await post(notifier, "/investigation-events/batch", body, **headers)
    assert response.status_code == 202, response.text
    return response.json()


async def test_each_event_of_a_batch_has_its_own_answer(resting):
    ahead = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()
    answer = await batch(
        resting,
        {
            "events": [
                EVENT | {"event_id": "one"},
                EVENT | {"supplier": "nobody"},
                EVENT | {"event_id": "one", "reason": "file_format"},
                EVENT | {"occurred_at": ahead},
                "no event",
                {"stage": "s", "severity": "fatal", "suplier": "acme"},
                EVENT,
                EVENT,
            ]
        },
    )
    items = answer["items"]
    assert (answer["accepted"], answer["refused"]) == (4, 4)
    assert [item["index"] for item in items] == list(range(8))
    assert [(item["status"], item.get("outcome") or item["code"]) for item in items] == [
        *((202, "created"), (202, "quarantined"), (409, "event_conflict"), (422, "occurred_in_future")),
        *((422, "request_invalid"), (422, "request_invalid"), (202, "grouped"), (202, "duplicate")),
    ]
    assert items[4]["detail"] == "event: must be an object"
    assert {error["field"] for error in items[5]["errors"]} == {"reason", "severity", "suplier"}
    assert (items[0]["event_id_derived"], items[6]["event_id_derived"]) == (False, True)
    assert items[6]["event_id"] == items[7]["event_id"]
    assert (items[6]["count"], items[6]["late"], items[6]["first_seen"]) == (2, True, "2026-03-01T12:00:00Z")
    alone = await post(resting, "/investigation-events", EVENT)
    assert alone.json() == {
        name: value for name, value in items[7].items() if name not in {"index", "status"}
    }


async def test_a_time_that_cannot_be_used_is_answered_with_one_that_can(resting):
    wanted = "body.occurred_at: must be a date and time as 2026-03-01T08:30:00Z: "
    offset = "body.occurred_at: must have its offset from UTC, as 2026-03-01T08:30:00Z or 2026-03-01T08:30:00+01:00"
    for said, answered in {"2026-03-01T12:00:00": offset, "yesterday": wanted, "2026-02-30": wanted}.items():
        response = await post(resting, "/investigation-events", EVENT | {"occurred_at": said})
        assert response.json()["detail"].startswith(answered), response.text


async def test_a_key_of_a_batch_names_its_events(resting):
    events = [EVENT, EVENT | {"event_id": "own"}, EVENT]
    for outcome in ("grouped", "duplicate"):
        answer = await batch(resting, events, **{"Idempotency-Key": "run-7"})
        assert [item["event_id"] for item in answer["items"]] == ["run-7:0", "own", "run-7:2"]
        assert answer["items"][2]["outcome"] == outcome
    assert answer["items"][0]["count"] == 3


async def test_what_is_no_batch(resting):
    for body in ([EVENT] * 501, {"events": [], "more": 1}, {"event": []}, "events", 7, {"events": {}}):
        response = await post(resting, "/investigation-events/batch", body)
        assert (response.status_code, response.json()["code"]) == (422, "request_invalid")


async def test_a_batch_is_json_of_a_mebibyte_at_most(resting):
    large = await post(resting, "/investigation-events/batch", [EVENT | {"extra": {"a": "x" * 3000}}] * 400)
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
    path = "/investigation-events/batch"
    form = await resting.call("POST", path, content=b"[]", headers={"Content-Type": "text/plain"})
    assert (form.status_code, form.json()["code"]) == (415, "media_type_unsupported")
    assert await batch(resting, []) == {"items": [], "accepted": 0, "refused": 0}


async def test_without_a_time_nothing_tells_two_alike_apart(resting):
    events = [{"stage": "load_ftp", "reason": "file_read"}] * 2
    answer = await batch(resting, events)
    assert [item["outcome"] for item in answer["items"]] == ["created", "grouped"]
    assert len({item["event_id"] for item in answer["items"]}) == 2


async def test_the_old_way_to_log(environment, monkeypatch, database):
    path = "/pricelens/log_event"
    monkeypatch.setenv("PENSTOCK_TIMEZONE", "Europe/Berlin")
    async with running(environment) as notifier:
        first = await post(notifier, path, OLD)
        assert (first.status_code, first.json()["outcome"]) == (202, "created")
        again = await post(notifier, f"{path}/", OLD | {"supid": "17", "event_dt": "2026-07-01T10:00:00Z"})
        assert again.json() == first.json() | {"outcome": "grouped", "count": 2} | {
            "event_id": again.json()["event_id"]
        }
        same = await post(notifier, path, OLD)
        assert (same.json()["outcome"], same.json()["event_id_derived"]) == ("duplicate", True)
        plain = {name: value for name, value in OLD.items() if name != "file_path"} | {"reason": "Odd one"}
        for nothing in ({}, {"file_path": None}, {"file_path": " "}):  # is the same event
            assert (await post(notifier, path, plain | nothing)).status_code == 202
    rows = await database.fetch("""
        SELECT f.supplier, f.reason, e.occurred_at, e.file FROM notifier.investigation_events e
        JOIN notifier.fingerprints f ON f.id = e.fingerprint_id ORDER BY e.received_at
    """)
    noon = datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert [tuple(row) for row in rows] == [
        ("17", "file_format", noon, '{"path": "/in/a.csv"}'),
        ("17", "file_format", noon, '{"path": "/in/a.csv"}'),
        ("17", "Odd one", noon, None),
    ]


async def test_what_is_no_old_event(resting):
    for changes in (
        *({"event_dt": "2026-07-01"}, {"event_dt": 17}, {"event_dt": "yesterday"}, {"event_dt": None}),
        *({"event_dt": "0001-01-01 00:00:00"}, {"event_dt": "9999-12-31T23:59:59-12:00"}),
        *({"supid": True}, {"supid": 1.5}, {"supid": None}, {"supid": " "}, {"reason": []}),
        *({"file": "/in/a.csv"}, {"file_path": 3}, {"stage": ""}),
    ):
        response = await post(resting, "/pricelens/log_event/", OLD | changes)
        assert response.status_code == 422, changes
        code = "occurred_in_future" if "9999" in str(changes) else "request_invalid"
        assert response.json()["code"] == code
        assert "PENSTOCK_TIMEZONE" in response.json().get("hint", "") or "9999" not in str(changes)


async def test_what_waits_is_seen(resting):
    for number in range(5):
        event = EVENT | {"supplier": f"u{number % 2}", "event_id": f"e{number}", "summary": "no price"}
        await post(resting, "/investigation-events", event)
    path = "/investigation-events/quarantine"
    page = (await resting.call("GET", f"{path}?limit=3&total=exact")).json()
    assert page["total"] == 5
    rest = (await resting.call("GET", f"{path}?limit=3&cursor={page['next_cursor']}")).json()
    items = page["items"] + rest["items"]
    assert [item["event_id"] for item in items] == ["e0", "e2", "e4", "e1", "e3"]
    assert items[0] == {
        **{name: EVENT[name] for name in ("stage", "reason", "occurred_at")},
        "event_id": "e0",
        "supplier": "u0",
        "severity": "error",
        "action": "trigger",
        "file": None,
        "summary": "no price",
        "received_at": items[0]["received_at"],
    }
    one = (await resting.call("GET", f"{path}?supplier=u1")).json()
    assert [item["event_id"] for item in one["items"]] == ["e1", "e3"]
    counts = (await resting.call("GET", f"{path}/suppliers?limit=1")).json()
    more = (await resting.call("GET", f"{path}/suppliers?cursor={counts['next_cursor']}")).json()
    assert [(item["supplier"], item["events"]) for item in counts["items"] + more["items"]] == [
        ("u0", 3),
        ("u1", 2),
    ]
    assert (await resting.call("GET", f"{path}?suplier=u1")).json()["code"] == "filter_unknown"
    for of, cursor in ((path, page["next_cursor"]), (f"{path}/suppliers", counts["next_cursor"])):
        forged = await resting.call("GET", of, params={"cursor": with_nul(cursor, "u")})
        assert (forged.status_code, forged.json()["code"]) == (422, "cursor_invalid")


async def test_a_quota_says_when_to_come_again(environment, monkeypatch, database):
    monkeypatch.setenv("PENSTOCK_EVENT_QUOTA_PER_MINUTE", "1")
    async with running(environment) as notifier:
        # A minute may end in between.
        answers = [
            await post(notifier, "/investigation-events", EVENT | {"event_id": str(n)}) for n in range(4)
        ]
        refused = [answer for answer in answers if answer.status_code != 202]
        assert len(refused) >= 2
        assert {(one.status_code, one.json()["code"]) for one in refused} == {(429, "quota_exceeded")}
        assert all(1 <= int(one.headers["Retry-After"]) <= 60 for one in refused)
        answer = await batch(notifier, [EVENT | {"event_id": f"b{n}"} for n in range(3)])
        assert answer["refused"] >= 2
        assert 1 <= answer["items"][2]["retry_after"] <= 60


async def test_no_number_of_rows_is_too_large_to_be_added_up(resting):
    at = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    most = [{"path": name, "rows": 10**12, "size": 2**63 - 1} for name in ("a.csv", "b.csv")]
    events = [EVENT | {"occurred_at": at.isoformat(), "file": file} for file in most]
    answer = await batch(resting, [*events, EVENT | {"file": {"path": "c.csv", "rows": 2**63 - 1}}])
    assert [item["status"] for item in answer["items"]] == [202, 202, 422]
    day = at.date().isoformat()
    for path in (
        "/suppliers/acme",
        "/suppliers/acme/days",
        f"/suppliers?day={day}",
        "/analyses/overview",
    ):
        response = await resting.call("GET", path)
        assert response.status_code == 200, (path, response.text)
    items = (await resting.call("GET", f"/suppliers?day={day}")).json()["items"]
    assert items[-1]["day"]["rows"] == 2 * 10**12


@pytest.mark.parametrize(
    ("body", "options", "status"),
    [
        (EVENT, {}, 202),
        (EVENT | {"event_id": "one"}, {}, 202),
        (EVENT | {"supplier": "nobody"}, {}, 202),
        (EVENT | {"severity": "fatal"}, {}, 422),
        (EVENT | {"event_id": "penstock:1"}, {}, 422),
        ([], {}, 422),
        (EVENT, {"scopes": ["imports:read"]}, 403),
        (EVENT, {"headers": {"Authorization": "Bearer none"}}, 401),
        (EVENT, {"headers": {"Authorization": "Basic eDp5"}}, 401),
    ],
)
async def test_a_plain_request_is_answered_as_any_other(resting, body, options, status):
    """What goes past the framework, and what does not for its media type, which says the same."""
    answers = []
    for kind in ("application/json", "application/json; charset=utf-8"):
        headers = {"Content-Type": kind, **options.get("headers", {})}
        answers.append(
            await resting.call("POST", "/investigation-events", json=body, **(options | {"headers": headers}))
        )
    plain, other = answers
    assert plain.status_code == other.status_code == status
    assert plain.headers["content-type"] == other.headers["content-type"]
    if status == 202:
        outcomes = plain.json().pop("outcome"), other.json().pop("outcome")
        assert outcomes in {("created", "duplicate"), ("quarantined", "quarantined")}
        assert [plain.json()[name] for name in ("event_id", "count")] == [
            other.json()[name] for name in ("event_id", "count")
        ]
    else:
        assert plain.json() == other.json()


@pytest.mark.parametrize(
    "body",
    [
        {"events": [EVENT, EVENT | {"supplier": "nobody"}]},
        {"events": [EVENT | {"severity": "fatal"}, EVENT, EVENT | {"event_id": "analysis:1"}]},
        {"events": [EVENT] * 501},
        {"events": [EVENT], "more": 1},
        {"events": []},
        [EVENT],
    ],
    ids=["right", "partly right", "too many", "more", "none", "list"],
)
async def test_a_plain_batch_is_answered_as_any_other(resting, body):
    first, *others = [
        await post(resting, "/investigation-events/batch", body, **{"Content-Type": kind})
        for kind in ("application/json", "application/json", "application/json; charset=utf-8")
    ]
    for other in others:  # by then what was created is a duplicate
        assert other.status_code == first.status_code
        assert other.json().get("accepted") == first.json().get("accepted")
    assert others[0].json() == others[1].json()
