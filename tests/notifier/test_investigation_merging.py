"""Merging and splitting: fingerprints move, nothing is lost, and it can be taken back."""

from itertools import count
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifier.investigations.derived import derived, state_at
from services.notifier.investigations.folding import Fingerprint
from tests.notifier.desk import ago


async def fingerprints(desk, of, *details):
    """The ids of these fingerprints of an investigation; of all of them."""
    found = (await desk.get(f"/{of}"))["fingerprints"]
    return sorted(one["id"] for one in found if not details or one["detail"] in details)


async def test_what_is_merged_is_one_and_says_so(desk):
    kept = await desk.report("first", occurred_at=ago(hours=3), severity="warning")
    away = await desk.report("second", occurred_at=ago(hours=5), severity="critical", supplier="other")
    await desk.report("second", occurred_at=ago(hours=1), supplier="other")

    shown = await desk.done(away, "merge", into=str(kept), note="the same disk")

    assert (shown["id"], shown["count"], shown["severity"]) == (str(kept), 3, "critical")
    assert (shown["summary"], shown["supplier"]) == ("second", "other")
    assert shown["first_seen"] == ago(hours=5).isoformat().replace("+00:00", "Z")
    gone = await desk.get(f"/{away}")
    assert (gone["merged_into"], gone["count"], gone["state"]) == (str(kept), 0, "resolved")
    assert gone["links"]["merged_into"] == f"/api/v1/investigations/{kept}"
    assert await desk.ids() == [kept]
    assert await desk.ids(supplier="other") == await desk.ids(supplier="mill & co") == [kept]
    assert await desk.report("second", supplier="other") == kept
    history = [(await desk.history(each))[-1] for each in (kept, away)]
    assert [entry["what"] for entry in history] == ["merged", "merged"]
    assert [entry["note"] for entry in history] == ["the same disk", "the same disk"]
    moved = await fingerprints(desk, kept, "second")
    assert history[0]["details"] == {"from": str(away), "fingerprints": moved, "events": 2}
    assert history[1]["details"] == {"into": str(kept), "fingerprints": moved, "events": 2}
    assert (await desk.done(away, "merge", into=str(kept)))["count"] == 4  # once more: nothing

    refused = await desk.act(away, "resolve")
    assert (refused.status_code, refused.json()["code"]) == (409, "investigation_merged")
    assert refused.json()["merged_into"] == str(kept)
    third = await desk.report("third")
    assert (await desk.act(third, "merge", into=str(away))).json()["code"] == "investigation_merged"
    for into in (third, uuid4()):
        assert (await desk.act(third, "merge", into=str(into))).json()["code"] == "merge_unfit"


async def test_a_split_of_what_was_merged_takes_it_back(desk):
    """Through two merges: the one in the middle comes back with what it had been given before."""
    a, b, c = [await desk.report(detail, occurred_at=ago(hours=2)) for detail in ("a", "b", "c")]
    await desk.done(a, "resolve")
    await desk.done(b, "acknowledge")
    await desk.done(a, "merge", into=str(b))
    await desk.done(b, "merge", into=str(c))
    assert (await desk.get(f"/{a}"))["merged_into"] == str(c)
    told = len(await desk.published())

    back = await desk.done(c, "split", fingerprints=await fingerprints(desk, c, "a", "b"), note="not so")
    assert (back["id"], back["state"], back["count"]) == (str(b), "acknowledged", 2)
    assert (await desk.get(f"/{a}"))["merged_into"] == str(b)
    back = await desk.done(b, "split", fingerprints=await fingerprints(desk, b, "a"))
    assert (back["id"], back["state"], back["resolved_by"]) == (str(a), "resolved", "person")
    assert [event.type for event in (await desk.published())[told:]] == ["investigation.reopened"]

    await desk.done(b, "merge", into=str(a))
    await desk.done(a, "reopen")
    back = await desk.done(a, "split", fingerprints=await fingerprints(desk, a, "b"))
    assert (back["id"], back["state"]) == (str(b), "reopened")  # as was decided last


async def test_a_part_is_split_off_as_a_new_one(desk):
    whole = await desk.report("one", occurred_at=ago(hours=2), given="disk")
    assert await desk.report("two", stage="load_ftp", given="disk") == whole
    await desk.report("two", stage="load_ftp", given="disk")
    await desk.done(whole, "acknowledge")
    [first, second] = (await desk.get(f"/{whole}"))["fingerprints"]
    assert (first["count"], first["given"]) == (2, "disk")

    part = await desk.done(whole, "split", fingerprints=[first["id"]])
    assert (part["count"], part["stage"], part["state"]) == (2, "load_ftp", "acknowledged")
    assert (await desk.get(f"/{whole}"))["count"] == 1
    assert (await desk.published())[-1].type == "investigation.opened"
    assert (await desk.published())[-1].subject == part["id"]
    [entry] = await desk.history(UUID(part["id"]))
    assert (entry["what"], entry["details"]["from"]) == ("split", str(whole))

    for unfit in ([second["id"]], [first["id"], second["id"]]):
        response = await desk.act(whole, "split", fingerprints=unfit)
        assert (response.status_code, response.json()["code"]) == (422, "split_unfit")


async def test_an_open_one_becomes_part_of_a_resolved_one_and_back(desk):
    """What was decided about the survivor holds for all; only errors after that reopen it."""
    over, still = await desk.report("over"), await desk.report("still", occurred_at=ago(hours=1))
    await desk.done(over, "resolve")
    assert (await desk.done(still, "merge", into=str(over)))["state"] == "resolved"
    told = (await desk.published())[-1]
    assert (told.type, told.subject) == ("investigation.resolved", str(still))
    back = await desk.done(over, "split", fingerprints=await fingerprints(desk, over, "still"))
    assert (back["id"], back["state"]) == (str(still), "open")


numbers = count(1)
steps = st.lists(
    st.tuples(
        st.sampled_from(["report", "over", "acknowledge", "resolve", "reopen", "mute", "merge", "split"]),
        st.integers(0, 3),
        st.integers(0, 4),
    ),
    max_size=10,
)


@settings(max_examples=15)
@given(steps=steps)
async def test_nothing_is_lost_whatever_is_done(desk, steps):
    """Each investigation is what its fingerprints are; and a merge that is taken back leaves no trace but in the history."""
    desk.tenant = f"tenant-{next(numbers)}"
    there = [await desk.report(f"kind {kind}", occurred_at=ago(hours=2)) for kind in "abcd"]
    errors = 4
    for action, which, other in steps:
        if action == "report":
            there.append(await desk.report(f"kind {'abcd'[which]}", occurred_at=ago(minutes=other)))
            errors += 1
        elif action == "over":
            await desk.report(f"kind {'abcd'[which]}", action="resolve", occurred_at=ago(minutes=other))
        elif action == "merge":
            await desk.act(there[which], "merge", into=str(there[other % 4]))
        elif action == "split":
            some = (await fingerprints(desk, there[which]))[: other or None]
            await desk.act(there[which], "split", fingerprints=some or [1])
        else:
            await desk.act(there[which], action)
        assert await consistent(desk) == errors
    one, two = (await desk.ids())[:2] if len(await desk.ids()) > 1 else (None, None)
    if one is not None:
        before = [await row(desk, each) for each in (one, two)]
        moved = await fingerprints(desk, one)
        await desk.done(one, "merge", into=str(two))
        await desk.done(two, "split", fingerprints=moved)
        assert [await row(desk, each) for each in (one, two)] == before


async def row(desk, which):
    return dict(await desk.database.fetchrow("SELECT * FROM notifier.investigations WHERE id = $1", which))


async def consistent(desk):
    """See that all of it fits together: how many errors there are."""
    rows = await desk.database.fetch("SELECT * FROM notifier.investigations WHERE tenant = $1", desk.tenant)
    names = ", ".join(Fingerprint.__dataclass_fields__)
    for each in rows:
        own = await desk.database.fetch(
            f"SELECT {names} FROM notifier.fingerprints WHERE investigation_id = $1", each["id"]
        )
        follows = derived(each, [Fingerprint(**one) for one in own])
        assert {name: each[name] for name in follows} == follows
        assert each["state"] == state_at(each, each["last_seen"] or ago())
        assert each["merged_into"] is None or not own
        assert (each["merged_into"] is None) or each["merged_into"] in {
            other["id"] for other in rows if other["merged_into"] is None
        }
    return sum(each["event_count"] for each in rows)
