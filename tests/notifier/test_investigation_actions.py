"""What people do with investigations: who may do what when, what is kept and what is told."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from services.notifier.investigations.mutes import end_mutes
from tests.notifier.desk import ago, ahead
from tests.notifier.receiver import receiving
from tests.notifier.test_webhooks_described import MODELS

IN_AN_HOUR = (datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)).isoformat()


async def test_each_step_is_kept_and_told(desk):
    one = await desk.report(occurred_at=ago(hours=2))

    taken = await desk.done(one, "acknowledge", note="  I look at it  ")
    assert (taken["state"], taken["count"]) == ("acknowledged", 1)
    assert taken["acknowledged_at"] is not None
    over = await desk.done(one, "resolve")
    assert (over["state"], over["resolved_by"], over["acknowledged_at"]) == ("resolved", "person", None)
    again = await desk.done(one, "reopen", note="not quite")
    assert (again["state"], again["resolved_at"]) == ("reopened", None)
    muted = await desk.done(one, "mute", until=IN_AN_HOUR, events=3, note="")
    assert muted["state"] == "muted"
    assert muted["muted"]["events"] == 3
    assert datetime.fromisoformat(muted["muted"]["until"]) == datetime.fromisoformat(IN_AN_HOUR)
    noted = await desk.done(one, "note", note="the partner knows")
    assert noted == muted

    history = await desk.history(one)
    assert [(entry["what"], bool(entry["actor"]), entry["note"]) for entry in history] == [
        ("opened", False, None),
        ("acknowledged", True, "I look at it"),
        ("resolved", True, None),
        ("reopened", True, "not quite"),
        ("muted", True, None),
        ("noted", True, "the partner knows"),
    ]
    assert history[4]["details"]["events"] == 3
    told = await desk.published()
    assert [event.type.partition(".")[2] for event in told] == ["opened", "resolved", "reopened"]
    assert {event.subject for event in told} == {str(one)}
    assert (told[1].data.by, told[1].data.note, told[1].data.count) == (history[2]["actor"], None, 1)
    assert (told[2].data.cause, told[2].data.note) == ("person", "not quite")


async def test_the_same_twice_is_once_but_a_note_is_kept(desk):
    for before, action, body, after in (
        (["acknowledge"], "acknowledge", {"note": "me too"}, "acknowledged"),
        (["resolve"], "resolve", {}, "resolved"),
        (["resolve", "reopen"], "reopen", {}, "reopened"),
        (["mute"], "mute", {}, "muted"),
    ):
        one = await desk.report(action)
        for step in before:
            shown = await desk.done(one, step)
        remembered, told = len(await desk.history(one)), len(await desk.published())
        assert await desk.done(one, action, **body) == shown
        assert shown["state"] == after
        assert len(await desk.published()) == told
        more = (await desk.history(one))[remembered:]
        assert [entry["what"] for entry in more] == (["noted"] if body else [])


async def test_what_cannot_be_says_why(desk):
    for before, action in (("resolve", "acknowledge"), ("resolve", "mute"), (None, "reopen")):
        one = await desk.report(action)
        if before:
            await desk.done(one, before)
        response = await desk.act(one, action)
        problem = response.json()
        assert (response.status_code, problem["code"]) == (409, "investigation_state")
        assert problem["state"] in problem["detail"]
        assert problem["hint"]


async def test_a_decision_takes_the_one_before_away(desk):
    one = await desk.report()
    await desk.done(one, "mute")
    assert (await desk.done(one, "acknowledge"))["muted"] is None
    assert (await desk.done(one, "mute"))["acknowledged_at"] is None
    assert (await desk.done(one, "reopen"))["muted"] is None
    await desk.done(one, "mute")
    assert (await desk.done(one, "resolve"))["muted"] is None
    row = await desk.database.fetchrow("SELECT * FROM notifier.investigations")
    assert (row["muted_at"], row["acknowledged_at"]) == (None, None)


async def test_clocks_that_are_ahead_undo_nothing(desk):
    """What somebody decides holds, though an error is said to have occurred in four minutes, and to be over by then."""
    soon = ahead(minutes=4)
    one = await desk.report(occurred_at=soon)
    assert (await desk.done(one, "resolve"))["resolved_at"] == soon.isoformat().replace("+00:00", "Z")
    assert (await desk.done(one, "reopen"))["state"] == "reopened"
    await desk.report(occurred_at=soon + timedelta(seconds=5), action="resolve")
    assert (await desk.get(f"/{one}"))["resolved_by"] == "event"
    assert (await desk.done(one, "reopen"))["state"] == "reopened"
    assert (await desk.done(one, "acknowledge"))["state"] == "acknowledged"


async def test_a_late_error_reopens_only_if_it_occurred_after_the_resolution(desk):
    one = await desk.report(occurred_at=ago(days=2))
    await desk.done(one, "resolve")
    await desk.report(occurred_at=ago(days=1))
    shown = await desk.get(f"/{one}")
    assert (shown["state"], shown["count"], shown["events"][0]["late"]) == ("resolved", 2, True)
    await desk.report(occurred_at=ahead(minutes=4))
    assert (await desk.get(f"/{one}"))["state"] == "reopened"


async def test_what_people_say_holds_though_an_event_said_it_before(desk):
    """Whatever is heard of later: they said it of all that had occurred by then."""
    over, again = (
        await desk.report("one", occurred_at=ago(hours=9)),
        await desk.report("two", occurred_at=ago(hours=9)),
    )
    for detail in ("one", "two"):
        await desk.report(detail, occurred_at=ago(hours=7), action="resolve")
    await desk.report("two", occurred_at=ago(hours=5))
    assert (await desk.done(over, "resolve"))["resolved_by"] == "person"
    assert (await desk.done(again, "reopen"))["state"] == "reopened"
    told = len(await desk.published())

    await desk.report("one", occurred_at=ago(hours=3))
    await desk.report("two", occurred_at=ago(hours=3), action="resolve")

    assert [(await desk.get(f"/{one}"))["state"] for one in (over, again)] == ["resolved", "reopened"]
    assert len(await desk.published()) == told
    assert [(await desk.history(one))[-1]["actor"] is None for one in (over, again)] == [False, False]


async def test_a_mute_until_so_many_errors_ends_with_them(desk):
    one = await desk.report(occurred_at=ago(hours=1))
    await desk.done(one, "mute", events=2)
    later = ahead(minutes=4)
    await desk.report(occurred_at=later)
    assert (await desk.get(f"/{one}"))["muted"]["events_so_far"] == 1
    await desk.report(occurred_at=later)
    assert (await desk.get(f"/{one}"))["state"] == "open"
    assert [event.type for event in await desk.published()][-1] == "investigation.reopened"


async def test_a_mute_until_a_date_ends_by_itself(desk):
    unresolved, resolved, still = [await desk.report(detail) for detail in ("one", "two", "three")]
    for each in (unresolved, resolved, still):
        await desk.done(each, "mute", until=IN_AN_HOUR)
    await desk.report("two", action="resolve", occurred_at=ahead(minutes=1))
    await desk.database.execute(
        "UPDATE notifier.investigations SET muted_until = now() - interval '1 s' WHERE id = ANY($1)",
        [unresolved, resolved],
    )
    told = len(await desk.published())

    assert await end_mutes(desk.engine, desk.bus.publish) == 2
    assert await end_mutes(desk.engine, desk.bus.publish) == 0

    states = {each: (await desk.get(f"/{each}"))["state"] for each in (unresolved, resolved, still)}
    assert states == {unresolved: "open", resolved: "resolved", still: "muted"}
    [event] = (await desk.published())[told:]
    assert (event.type, event.subject) == ("investigation.reopened", str(unresolved))
    assert (event.data.cause, event.data.by) == ("mute_ended", None)
    assert [entry["what"] for entry in await desk.history(unresolved)] == ["opened", "muted", "unmuted"]
    assert [entry["what"] for entry in await desk.history(resolved)] == ["opened", "muted", "resolved"]


async def test_many_at_once_each_with_what_became_of_it(desk):
    first, second = await desk.report("one"), await desk.report("two")
    await desk.done(second, "resolve")
    nobodys = uuid4()
    ids = [str(each) for each in (first, second, nobodys, first)]
    response = await desk.act(None, "actions", ids=ids, action="acknowledge", note="mine")
    assert response.status_code == 200, response.text
    outcome = response.json()
    assert (outcome["done"], outcome["refused"]) == (1, 2)
    taken, refused, missing = outcome["items"]
    assert (taken["id"], taken["status"], taken["investigation"]["state"]) == (
        str(first),
        200,
        "acknowledged",
    )
    assert (refused["status"], refused["code"]) == (409, "investigation_state")
    assert (missing["status"], missing["code"]) == (404, "investigation_not_found")
    assert [entry["note"] for entry in await desk.history(first)] == [None, "mine"]


async def test_a_wrong_request_is_told_what_is_wrong(desk):
    one = await desk.report()
    for action, body, where in (
        ("mute", {"until": "2020-01-01"}, "until"),
        ("mute", {"events": 0}, "events"),
        ("note", {"note": "  "}, "note"),
        ("split", {"fingerprints": []}, "fingerprints"),
        ("actions", {"action": "resolve", "until": IN_AN_HOUR}, "until"),
        ("actions", {"action": "note"}, "note"),
        ("acknowledge", {"because": "so"}, "because"),
    ):
        of_many = {"ids": [str(one)]} if action == "actions" else {}
        response = await desk.act(None if of_many else one, action, **(body | of_many))
        assert response.status_code == 422, response.text
        assert where in response.text
    assert len(await desk.history(one)) == 1


async def test_receivers_are_told_in_order(notifier):
    """As all else about one investigation: what came last is what holds."""
    async with receiving() as receiver:
        webhook = await notifier.webhook(receiver.url, "investigation.*")
        error = {"stage": "load_mail", "reason": "file_read"}
        logged = (await notifier.call("POST", "/investigation-events", json=error)).json()
        for step in ("resolve", "reopen"):
            path = f"/investigations/{logged['investigation_id']}/{step}"
            assert (await notifier.call("POST", path, json={"note": step})).status_code == 200
        requests = await receiver.wait_for(3)
    told = [request.verified(webhook["secret"]) for request in requests]
    assert [each["type"].partition(".")[2] for each in told] == ["opened", "resolved", "reopened"]
    assert {each["data"]["investigation_id"] for each in told} == {logged["investigation_id"]}
    assert [each["data"]["note"] for each in told[1:]] == ["resolve", "reopen"]
    for each, request in zip(told, requests, strict=True):
        MODELS[each["type"]].model_validate_json(request.body)
