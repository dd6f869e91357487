"""What investigations show: lists with filters and orders, one whole, and overviews of many."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

from services.notifier.investigations import overviews
from services.notifier.investigations.filters import Kind
from shared.platform.tenancy import tenant_reading
from tests.notifier.desk import ago, ahead

IMPORT = uuid4()


def moment(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


async def some(desk):
    """Five of them, by name, in the order in which they were opened."""
    of = {
        "late": await desk.report("late 100%", occurred_at=ago(days=9), severity="critical"),
        "mail": await desk.report("mail", occurred_at=ago(days=1), reason="no_mail", severity="info"),
        "rows": await desk.report(
            "rows", occurred_at=ago(hours=3), stage="process", origin="import", import_id=IMPORT
        ),
        "over": await desk.report("over", occurred_at=ago(hours=2), supplier=None, severity="warning"),
        "most": await desk.report("most", occurred_at=ago(days=3), supplier="other"),
    }
    for _ in range(2):
        await desk.report("most", occurred_at=ago(days=2), supplier="other")
    await desk.done(of["over"], "resolve")
    await desk.done(of["mail"], "mute")
    await desk.report("never seen", action="resolve", reason="quiet")
    return of


async def test_a_list_has_what_is_asked_for_in_that_order(desk):
    of = await some(desk)
    orders = {
        None: "most over rows mail late",
        "-last_seen": "over rows mail most late",
        "-count": "most late mail rows over",  # those with as many: in order of their ids
        "-severity": "late rows most over mail",
    }
    for order, names in orders.items():
        found = await desk.ids(**({"order": order} if order else {}))
        assert found == [of[name] for name in names.split()], order
    filters = {
        "late rows most": {"state": "open"},
        "over mail": {"state": ["resolved", "muted"]},
        "late over": {"severity": "critical, warning"},
        "most": {"supplier": "other"},
        "rows": {"stage": "process"},
        "mail": {"reason": "no_mail"},
        "late": {"text": "100%"},
        "mail most": {"since": moment(ago(days=2)), "until": moment(ago(hours=5))},
        "rows ": {"import_id": str(IMPORT)},
        "": {"supplier": "other", "stage": "process"},
    }
    for names, asked in filters.items():
        assert set(await desk.ids(**asked)) == {of[name] for name in names.split()}, asked
    assert await desk.ids(opened_since=moment(ahead(hours=1))) == []
    page = await desk.get(limit=1, total="exact", state="open,muted")
    assert page["total"] == 4


async def test_a_cursor_is_of_its_filters_and_order_alone(desk):
    for detail in "abc":
        await desk.report(f"kind {detail}")
    cursor = (await desk.get(limit=1, order="-count"))["next_cursor"]
    assert (await desk.get(limit=1, order="-count", cursor=cursor))["items"]
    for asked in ({"order": "-severity"}, {"order": "-count", "state": "open"}):
        response = await desk.ask(limit=1, cursor=cursor, **asked)
        assert (response.status_code, response.json()["code"]) == (422, "cursor_invalid")
    for wrong in (
        {"state": "closed"},
        {"severity": "info,bad"},
        {"since": "2026-03-02", "until": "2026-03-01"},
    ):
        assert (await desk.ask(**wrong)).json()["code"] == "filter_invalid"
    assert (await desk.ask(colour="red")).json()["code"] == "filter_unknown"


async def test_one_is_shown_whole(desk):
    one = await desk.report("rows", occurred_at=ago(days=2), file={"path": "a.csv"}, extra={"a": [1]})
    await desk.report(
        "rows", occurred_at=ago(days=1), received_at=ago(days=1), origin="import", import_id=IMPORT
    )
    await desk.report("rows", action="resolve", occurred_at=ago(hours=20))
    shown = await desk.get(f"/{one}")

    assert (shown["state"], shown["resolved_by"]) == ("resolved", "event")
    assert shown["resolved_at"] == moment(ago(hours=20))
    newest, second, first = shown["events"]
    assert [one["action"] for one in shown["events"]] == ["resolve", "trigger", "trigger"]
    assert (first["late"], first["file"], first["extra"]) == (True, {"path": "a.csv"}, {"a": [1]})
    assert (second["late"], second["origin"], newest["links"]) == (False, "import", None)
    assert second["links"]["row_errors"] == f"/api/v1/imports/{IMPORT}/errors"
    [kind] = shown["fingerprints"]
    assert (kind["detail"], kind["count"], kind["last_resolved"]) == ("rows", 2, moment(ago(hours=20)))
    assert len(shown["days"]) == 30
    assert [day["events"] for day in shown["days"] if day["events"]] == [1, 1]
    assert [entry["what"] for entry in shown["history"]] == ["resolved", "opened"]
    assert shown["history"][0]["event_id"] == newest["event_id"]

    await desk.report("rows", occurred_at=ago(), origin="import", import_id=IMPORT)
    links = (await desk.get(f"/{one}"))["links"]
    assert links["import"] == f"/api/v1/imports/{IMPORT}"
    assert (await desk.ask(f"/{uuid4()}")).json()["code"] == "investigation_not_found"


async def test_all_events_are_listed_over_all_fingerprints(desk):
    one = await desk.report("one", given="disk", occurred_at=ago(hours=1))
    for number in range(4):
        await desk.report("two", given="disk", stage="load_ftp", occurred_at=ago(hours=number // 2))
    found, cursor = [], None
    while True:
        page = await desk.get(f"/{one}/events", limit=2, **({"cursor": cursor} if cursor else {}))
        found += [(event["occurred_at"], event["event_id"]) for event in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert len(set(found)) == 5
    assert found == sorted(found, reverse=True)
    for step in ("acknowledge", "resolve"):
        await desk.done(one, step)
    first = await desk.get(f"/{one}/history", limit=1)
    rest = await desk.get(f"/{one}/history", cursor=first["next_cursor"])
    assert [each["what"] for each in first["items"] + rest["items"]] == ["resolved", "acknowledged", "opened"]


async def test_the_queue_in_figures(desk):
    await some(desk)
    await desk.report("waits", supplier="nobody knows", origin="api", digest=b"1")
    counts = await desk.get("/counts")
    assert counts["states"] == {"open": 3, "acknowledged": 0, "resolved": 1, "muted": 1, "reopened": 0}
    assert counts["severities"] == {"info": 0, "warning": 0, "error": 2, "critical": 1}
    assert counts["suppliers"] == [
        {"supplier": "mill & co", "investigations": 2},
        {"supplier": "other", "investigations": 1},
    ]
    assert counts["quarantined_events"] == 1


async def test_the_trend_has_every_day(desk):
    of = await some(desk)
    trend = (await desk.get("/trend", days=10))["items"]
    assert [day["day"] for day in trend] == [
        str((ago() - timedelta(days=back)).date()) for back in range(9, -1, -1)
    ]
    assert sum(day["events"] for day in trend) == 7
    assert [day["events"] for day in trend[-3:-2]] == [2]
    assert sum(day["opened"] for day in trend) == 5
    assert trend[-1]["resolved"] == 1
    await desk.done(of["over"], "reopen")
    of_none = (await desk.get("/trend", days=1, reason="no_mail"))["items"][0]
    assert (of_none["events"], of_none["reopened"]) == (0, 0)
    of_other = (await desk.get("/trend", days=10, supplier="other"))["items"]
    assert sum(day["events"] for day in of_other) == 3
    assert (await desk.get("/trend", days=1))["items"][0]["reopened"] == 1


async def test_days_are_those_of_the_zone(desk):
    """In Auckland it is tomorrow already."""
    desk.zone = ZoneInfo("Pacific/Auckland")
    today = ago().date()
    day = today - timedelta(days=3)
    await desk.report(occurred_at=datetime(day.year, day.month, day.day, 20, tzinfo=UTC))
    async with tenant_reading(desk.engine, "acme") as connection:
        trend = await overviews.trend(connection, "acme", Kind(), days=5, today=today, zone=desk.zone)
    [busy] = [each for each in trend.items if each.events]
    assert (busy.day, busy.opened) == (day + timedelta(days=1), 1)


async def test_what_happens_most_and_to_whom(desk):
    await some(desk)
    await desk.service.call(
        "PATCH", "/investigation-reasons/no_mail", scopes=("investigations:admin",), json={"title": "No mail"}
    )
    top = await desk.get("/top-reasons", since=str(ago(days=10).date()))
    assert [(one["reason"], one["events"]) for one in top["items"]] == [("file_read", 6), ("no_mail", 1)]
    first, second = top["items"]
    assert (first["suppliers"], first["investigations"], first["title"]) == (2, 4, "File cannot be read")
    assert second["title"] == "No mail"
    of_whom = await desk.get("/by-supplier", since=str(ago(days=10).date()), until=str(ago().date()))
    shown = [(one["supplier"], one["events"], one["pending"]) for one in of_whom["items"]]
    assert shown == [("mill & co", 3, 2), ("other", 3, 1), (None, 1, 0)]
    assert (await desk.get("/top-reasons"))["since"] == str(ago(days=1).date())
    for path in ("/top-reasons", "/by-supplier"):
        pages, cursor = [], None
        while True:
            asked = {"since": str(ago(days=10).date()), "limit": 1} | ({"cursor": cursor} if cursor else {})
            page = await desk.get(path, **asked)
            pages += page["items"]
            if (cursor := page["next_cursor"]) is None:
                break
        assert pages == (top if path == "/top-reasons" else of_whom)["items"]
    wrong = await desk.ask("/top-reasons", since="2026-03-02", until="2026-03-01")
    assert wrong.json()["code"] == "filter_invalid"


async def test_reasons_are_known_or_brought_and_can_be_named(desk):
    async def reasons(**asked):
        response = await desk.service.call("GET", "/investigation-reasons", params={"limit": 100, **asked})
        assert response.status_code == 200, response.text
        return {one["code"]: one for one in response.json()["items"]}

    async def change(code, **values):
        path = f"/investigation-reasons/{code}"
        return await desk.service.call("PATCH", path, scopes=("investigations:admin",), json=values)

    await desk.report(reason="no/mail", occurred_at=ago(days=40))
    await desk.report(reason="no/mail", occurred_at=ago(days=1))
    listed = await reasons()
    assert list(listed) == sorted(listed)
    brought, known = listed["no/mail"], listed["file_read"]
    assert (brought["known"], brought["reviewed"], brought["title"], brought["events"]) == (
        False,
        False,
        None,
        1,
    )
    assert brought["first_seen"] == moment(ago(days=40))
    assert (known["known"], known["reviewed"], known["events"], known["first_seen"]) == (True, True, 0, None)
    assert list(await reasons(reviewed=False)) == ["no/mail"]

    changed = await change("no%2Fmail", title="No mail", reviewed=True)
    assert (changed.status_code, changed.json()["title"], changed.json()["reviewed"]) == (
        200,
        "No mail",
        True,
    )
    assert (await change("file_read", title="Broken")).json()["reviewed"] is True
    back = (await change("file_read", title=None)).json()
    assert (back["title"], back["description"]) == (known["title"], known["description"])
    assert (await change("no_such")).json()["code"] == "reason_not_found"
    assert await reasons(reviewed=False) == {}
    page = await desk.service.call("GET", "/investigation-reasons", params={"limit": 1})
    assert page.json()["next_cursor"]
