"""Suppliers over HTTP: who they are, what came of them, and what waited for them."""

from datetime import timedelta
from urllib.parse import quote

import pytest

from tests.notifier.cursors import with_nul
from tests.notifier.given import DONE_AT, completed, failed, uploaded

DAY = timedelta(days=1)
ACME = {"id": "acme", "name": "Acme Books", "partner": "Acme Group"}
EVENT = {
    "supplier": "acme",
    "stage": "load_ftp",
    "reason": "file_read",
    "summary": "cannot read it",
    "occurred_at": DONE_AT.isoformat(),
}


async def add(notifier, **values):
    return await notifier.call("POST", "/suppliers", json=ACME | values)


async def shown(notifier, path="", **parameters):
    response = await notifier.call("GET", f"/suppliers{path}", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


async def log(notifier, **changes):
    response = await notifier.call("POST", "/investigation-events", json=EVENT | changes)
    assert response.status_code == 202, response.text
    return response.json()


@pytest.fixture
def handled(publish, eventually):
    """Publishes events, and waits until the notifier has handled them."""

    async def handle(*events):
        for event in events:
            await publish(event)
        query = "SELECT count(*) FROM notifier.inbox WHERE event_id = ANY($1)"
        await eventually(query, [event.id for event in events], gives=len(events))

    return handle


async def test_a_supplier_is_added_changed_and_removed(resting):
    added = await add(resting, id="  acme ", name=" Acme Books ")
    assert added.status_code == 201
    assert added.headers["location"] == "/api/v1/suppliers/acme"
    assert {
        name: added.json()[name] for name in ("id", "name", "partner", "enabled", "added_by", "released")
    } == {
        **ACME,
        "enabled": True,
        "added_by": "api",
        "released": 0,
    }
    again = await add(resting, name="Other")
    assert (again.status_code, again.json()["code"]) == (409, "supplier_exists")

    patched = await resting.call("PATCH", "/suppliers/acme", json={"enabled": False, "partner": None})
    assert [patched.json()[name] for name in ("name", "partner", "enabled")] == ["Acme Books", None, False]
    assert patched.json()["updated_at"] > added.json()["updated_at"]
    replaced = await resting.call("PUT", "/suppliers/acme", json={"name": "Acme", "partner": "P"})
    assert (replaced.status_code, replaced.json()["enabled"], replaced.json()["partner"]) == (200, True, "P")

    assert (await resting.call("DELETE", "/suppliers/acme")).status_code == 204
    for method, body in (
        ("GET", None),
        ("PUT", {"name": "A"}),
        ("PATCH", {"name": "A"}),
        ("PATCH", {}),
        ("DELETE", None),
    ):
        gone = await resting.call(method, "/suppliers/acme", json=body)
        assert (gone.status_code, gone.json()["code"]) == (404, "supplier_not_found")


async def test_any_id_has_an_address(resting):
    for supplier_id in ("a/b", "/a", "a/", "50%?#&=+ ü", "imports", "days", "a/days/b"):
        added = await add(resting, id=supplier_id)
        assert added.status_code == 201, added.text
        path = added.headers["location"].removeprefix("/api/v1/suppliers")
        assert path == f"/{quote(supplier_id, safe='')}"
        assert (await shown(resting, path))["id"] == supplier_id
        assert (await shown(resting, f"{path}/days"))["items"] == []
        assert (await shown(resting, f"{path}/files"))["items"] == []
        changed = await resting.call("PUT", f"/suppliers{path}", json={"name": "Other"})
        assert (changed.status_code, changed.json()["id"]) == (200, supplier_id)
        assert (await resting.call("DELETE", f"/suppliers{path}")).status_code == 204


async def test_what_cannot_be_a_supplier_is_refused(resting):
    for values in (
        *(
            {"id": wrong}
            for wrong in ("", " ", "a" * 256, "..", "a/./b", "import", "a/days", "a/files", "a\nb", None)
        ),
        *({"name": wrong} for wrong in ("", "a\tb", None)),
        {"enabled": None},
        {"colour": "red"},
    ):
        refused = await add(resting, **values)
        assert (refused.status_code, refused.json()["code"]) == (422, "request_invalid"), values
        assert refused.json()["errors"][0]["field"].removeprefix("body.") == next(iter(values))


async def test_a_patch_takes_no_null_for_what_must_be(resting):
    await add(resting)
    for body in ({"name": None}, {"enabled": None}, {"id": "other"}):
        assert (await resting.call("PATCH", "/suppliers/acme", json=body)).status_code == 422


async def test_a_list_has_pages_and_filters(resting):
    for number in range(5):
        await add(
            resting, id=f"S{number}", name=f"Name {number}", partner=f"P{number % 2}", enabled=number != 3
        )
    await add(resting, id="s0", name="50%_off", partner=None)
    found, cursor = [], None
    while True:
        page = await shown(resting, limit=2, total="exact", **({"cursor": cursor} if cursor else {}))
        found += [item["id"] for item in page["items"]]
        assert page["total"] == 6
        if not (cursor := page["next_cursor"]):
            break
    assert found == ["S0", "S1", "S2", "S3", "S4", "s0"]
    forged = with_nul((await shown(resting, limit=2))["next_cursor"], "S")
    refused = await resting.call("GET", "/suppliers", params={"cursor": forged})
    assert (refused.status_code, refused.json()["code"]) == (422, "cursor_invalid")
    for parameters, expected in (
        ({"enabled": False}, ["S3"]),
        ({"partner": "P1"}, ["S1", "S3"]),
        ({"partner": "P1", "enabled": True}, ["S1"]),
        ({"q": "NAME 2"}, ["S2"]),
        ({"q": "s0"}, ["S0", "s0"]),
        ({"q": "%_"}, ["s0"]),
    ):
        assert [item["id"] for item in (await shown(resting, **parameters))["items"]] == expected, parameters
    other = await resting.call("GET", "/suppliers", params={"enable": False})
    assert (other.status_code, other.json()["code"]) == (422, "filter_unknown")


async def test_a_csv_file_adds_and_changes_what_is_right(resting, database):
    await add(resting, id="1", name="Old", partner="Kept")
    await add(resting, id="2", name="Same", partner="Kept")
    file = "Supplier ID;Name;Enabled\r\n1;Neü;\r\n2;Same;\r\n3;New;no\r\n;Nobody;\r\n".encode("cp1252")
    seen = []
    for parameters in ({"dry_run": True}, {}, {}):
        response = await resting.call(
            "POST",
            "/suppliers/import",
            params=parameters,
            content=file,
            headers={"Content-Type": "text/csv; charset=windows-1252"},
        )
        assert response.status_code == 200, response.text
        told = response.json()
        assert [(error["line"], error["column"], error["code"]) for error in told["errors"]] == [
            (5, "id", "value_missing")
        ]
        rows = await database.fetch(
            "SELECT id, name, partner, enabled, added_by FROM notifier.suppliers ORDER BY 1"
        )
        counts = [told[name] for name in ("created", "updated", "unchanged", "rejected")]
        seen.append((counts, [tuple(row) for row in rows]))
    before = [("1", "Old", "Kept", True, "api"), ("2", "Same", "Kept", True, "api")]
    after = [("1", "Neü", "Kept", True, "api"), before[1], ("3", "New", None, False, "file")]
    assert seen == [([1, 1, 1, 1], before), ([1, 1, 1, 1], after), ([0, 0, 3, 1], after)]


async def test_a_file_that_is_no_list_changes_nothing(resting, database):
    for body, content_type, status, code in (
        (b"id,name\n1,A\n", "application/json", 422, "request_invalid"),
        (b"id,name\n1,A\n", "application/octet-stream", 415, "media_type_unsupported"),
        (b"PK\x03\x04" + bytes(range(256)) * 4, "text/csv", 415, "file_not_text"),
        (b"id,partner\n1,A\n", "text/csv", 422, "header_column_missing"),
        (b"", "text/csv", 422, "file_empty"),
        (b"id,name\n" + b"1,A\n" * 300_000, "text/csv", 413, "body_too_large"),
    ):
        headers = {"Content-Type": content_type}
        response = await resting.call("POST", "/suppliers/import", content=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (status, code)
    assert await database.fetchval("SELECT count(*) FROM notifier.suppliers") == 0


async def test_who_is_added_gets_what_waited_in_quarantine(resting, database):
    listed = {"content": b"id,name\ncsv,Acme\n", "headers": {"Content-Type": "text/csv"}}

    async def add_listed(**parameters):
        return await resting.call("POST", "/suppliers/import", params=parameters, **listed)

    for supplier in ("post", "csv"):
        waiting = [
            await log(resting, event_id=f"{supplier}{number}", supplier=supplier) for number in range(3)
        ]
        assert {event["outcome"] for event in waiting} == {"quarantined"}
    await log(resting, supplier="other")
    assert (await add_listed(dry_run=True)).json()["released"] == 3
    assert await database.fetchval("SELECT count(*) FROM notifier.quarantined_events") == 7
    for supplier, adding in (("post", lambda: add(resting, id="post")), ("csv", add_listed)):
        assert (await adding()).json()["released"] == 3
        page = await shown(resting, f"/{supplier}")
        assert (page["totals"]["errors"], page["open_investigations"], page["quarantined"]) == (3, 1, 0)
        assert (await log(resting, event_id=f"{supplier}4", supplier=supplier))["outcome"] == "grouped"
    assert (
        await database.fetchval("SELECT string_agg(supplier, ',') FROM notifier.quarantined_events")
        == "other"
    )


async def test_an_import_adds_its_source_and_releases_what_waited(notifier, publish, eventually):
    await log(notifier)
    await publish(uploaded(source="acme"))
    await eventually("SELECT count(*) FROM notifier.quarantined_events", gives=0)
    page = await shown(notifier, "/acme")
    assert (page["added_by"], page["name"], page["totals"]["errors"]) == ("import", "acme", 1)
    assert (page["totals"]["files"], page["latest_files"][0]["status"]) == (1, "received")


async def test_a_page_and_its_days_tell_what_came(notifier, handled, database):
    """Two imports on one day, one on the next, errors of two reasons; none of another supplier."""
    good = completed(
        source="acme", rows_processed=10, rows_inserted=8, rows_rejected=2, processing_completed_at=DONE_AT
    )
    bad = failed(source="acme", processing_completed_at=DONE_AT + timedelta(hours=1), rows_processed=3)
    late = completed(
        source="acme", processing_started_at=DONE_AT + DAY, processing_completed_at=DONE_AT + DAY
    )
    told = [good, bad, late, completed(source="other"), completed(source="acme", dry_run=True)]
    await handled(uploaded(source="acme", import_id=good.data.import_id), *told)
    for number in range(3):
        await log(notifier, event_id=f"e{number}", occurred_at=(DONE_AT + timedelta(hours=2)).isoformat())

    page = await shown(notifier, "/acme")
    assert page["totals"] == {
        "files": 3,
        "good_files": 2,
        "failed_files": 1,
        "rows": 23,
        "rejected": 2,
        "errors": 5,
    }
    assert (page["last_good_day"], page["last_stage"], page["open_investigations"]) == (
        "2026-03-02",
        "process",
        3,
    )
    assert [file["import_id"] for file in page["latest_files"]] == [
        str(event.data.import_id) for event in (late, bad, good)
    ]
    assert page["last_analysis"] is None

    days = await shown(notifier, "/acme/days", since="2026-02-25", until="2026-03-02")
    first = {
        "day": "2026-03-01",
        "files": 2,
        "good_files": 1,
        "failed_files": 1,
        "rows": 13,
        "rejected": 2,
        "errors": 5,
        "last_stage": "load_ftp",
        "reasons": [
            {"reason": "file_read", "errors": 3},
            {"reason": "import_failed", "errors": 1},
            {"reason": "row_errors", "errors": 1},
        ],
    }
    assert days["items"][1] == first
    assert [(one["day"], one["files"], one["errors"]) for one in days["items"]] == [
        ("2026-03-02", 1, 0),
        ("2026-03-01", 2, 5),
    ]
    assert (await shown(notifier, "/acme/days", since="2026-03-02", until="2026-03-02"))["items"] == days[
        "items"
    ][:1]
    [acme, other] = (await shown(notifier, day="2026-03-01"))["items"]
    assert (acme["day"], other["day"]["files"], other["day"]["errors"]) == (first, 1, 0)
    [acme, _] = (await shown(notifier, day="2026-02-01"))["items"]
    assert (acme["day"]["files"], acme["day"]["last_stage"], acme["day"]["reasons"]) == (0, None, [])

    await database.execute(
        "INSERT INTO notifier.analyses (tenant, supplier, day, state, bucket, cadence, findings)"
        " SELECT 'acme', 'acme', day, 'warn', 'new', '{\"days_since_last\": 1}', '[]'"
        " FROM unnest('{2026-03-01,2026-03-02}'::date[]) AS day"
    )
    analysis = (await shown(notifier, "/acme"))["last_analysis"]
    assert page["links"]["days"] == "/api/v1/suppliers/acme/days"
    assert (analysis["day"], analysis["cadence"]) == ("2026-03-02", {"days_since_last": 1})


async def test_files_have_pages_and_filters(notifier, handled):
    hours = [0, 0, 1, 24, 25]
    events = [uploaded(source="acme", uploaded_at=DONE_AT + timedelta(hours=hour)) for hour in hours]
    end = failed(source="acme", import_id=events[4].data.import_id, processing_completed_at=DONE_AT + 2 * DAY)
    await handled(*events, end)
    newest_first = sorted(
        events, key=lambda one: (one.data.uploaded_at, str(one.data.import_id)), reverse=True
    )
    expected = [str(event.data.import_id) for event in newest_first]
    found, cursor = [], None
    while True:
        page = await shown(
            notifier, "/acme/files", limit=2, total="exact", **({"cursor": cursor} if cursor else {})
        )
        found += [item["import_id"] for item in page["items"]]
        if not (cursor := page["next_cursor"]):
            break
    assert (found, page["total"]) == (expected, 5)
    for parameters, count in (
        ({"status": "failed"}, 1),
        ({"until": "2026-03-01"}, 3),
        ({"since": "2026-03-02"}, 2),
    ):
        assert len((await shown(notifier, "/acme/files", **parameters))["items"]) == count
    forged = with_nul((await shown(notifier, "/acme/files", limit=2))["next_cursor"], "import:")
    for parameters in ({"status": "uncounted"}, {"cursor": forged}):
        refused = await notifier.call("GET", "/suppliers/acme/files", params=parameters)
        assert refused.status_code == 422


async def test_days_that_make_no_sense_are_refused(resting):
    await add(resting)
    for parameters in ({"since": "2026-03-02", "until": "2026-03-01"}, {"since": "2020-01-01"}):
        refused = await resting.call("GET", "/suppliers/acme/days", params=parameters)
        assert (refused.status_code, refused.json()["code"]) == (422, "filter_invalid"), parameters
    assert (await shown(resting, "/acme/days", until="0001-01-02"))["since"] == "0001-01-01"
    assert (await shown(resting, "/acme/days", since="9999-12-31", until="9999-12-31"))["items"] == []
