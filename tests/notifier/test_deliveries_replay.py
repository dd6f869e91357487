"""Replay: many deliveries again, counted first, in order."""

import asyncio
import random
from collections import defaultdict
from datetime import timedelta
from itertools import product
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.notifier.deliveries import replaying
from services.notifier.delivery.schedule import HOLD_TRIES
from services.notifier.messages.fanout import Message, fan_out
from shared.platform.database import engine_for
from tests.notifier.given_deliveries import made
from tests.notifier.receiver import Answer, receiving

NOWHERE = "http://127.0.0.1:1024/hook"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
EVER = "2000-01-01"
ALL_ROWS = "SELECT * FROM notifier.deliveries ORDER BY id"  # as they were made
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def replayed(notifier, webhook, answers=202, **asked):
    response = await notifier.call("POST", f"/webhooks/{webhook['id']}/replay", json=asked)
    assert response.status_code == answers, response.text
    return response.json()


REPLAYS = [
    ({"since": EVER}, [2, 3, 4]),
    ({"since": EVER, "status": "all"}, [1, 2, 3, 4]),
    ({"event_types": ["product.*"]}, [2]),
    ({"event_types": ["import.failed"], "status": "all"}, [1, 3]),
    ({"since": "{3}"}, [3, 4]),
    ({"since": EVER, "until": "{3}"}, [2]),
]


async def of_all_kinds(database, webhook):
    """Four that a replay may be of, and then such that are never replayed."""
    await made(database, webhook, age=29 * DAY, event_type="import.failed")
    await made(database, webhook, age=3 * DAY, status="failed", event_type="product.created", tries=2)
    await made(database, webhook, age=2 * DAY, status="skipped", event_type="import.failed")
    await made(database, webhook, age=HOUR, status="pending", tries=4, due_in=HOUR)
    await made(database, webhook, status="pending")
    await made(database, webhook, status="pending", tries=1, leased=True, due_in=HOUR)
    await made(database, webhook, status="pending", ordered_by=uuid4(), held=True)
    await made(database, webhook, status="failed", test=True)
    await made(database, webhook, status="failed", age=31 * DAY)
    often = await made(database, webhook, status="failed")
    await database.execute("UPDATE notifier.deliveries SET attempts_made = 1000 WHERE id = $1", often.id)


async def test_what_is_replayed_and_that_a_dry_run_counts_it(resting, database, subtests):
    for replay, sequences in REPLAYS:
        with subtests.test(str(replay)):
            await database.execute("DELETE FROM notifier.endpoints")
            webhook = await resting.webhook(NOWHERE)
            await of_all_kinds(database, webhook)
            before = await rows(database)
            third = before[3]["created_at"].isoformat()
            asked = {name: third if value == "{3}" else value for name, value in replay.items()}
            assert await replayed(resting, webhook, 200, **asked, dry_run=True) == {"count": len(sequences)}
            assert await rows(database) == before
            resting.app.state.woken.clear()
            assert await replayed(resting, webhook, **asked) == {"count": len(sequences)}
            assert resting.app.state.woken
            for sequence, row in (await rows(database)).items():
                if sequence in sequences:
                    assert (row["status"], row["tries"], row["finished_at"]) == ("pending", 0, None)
                    assert row["attempts_made"] == before[sequence]["attempts_made"]
                    assert row["due"]
                else:
                    assert row == before[sequence]
            assert await replayed(resting, webhook, **asked) == {"count": 0}


async def rows(database):
    found = await database.fetch("SELECT *, next_attempt_at <= now() AS due FROM notifier.deliveries")
    return {row["sequence"]: dict(row) for row in found}


async def three_imports(database, webhook, seed):
    """Deliveries of three imports in all states that there are, as the engine would have them."""
    draw = random.Random(seed)
    groups, going = [uuid4() for _ in range(3)], set()
    for _ in range(40):
        group = draw.choice(groups)
        status = draw.choice(["failed", "skipped", "succeeded", "pending", "pending"])
        held = status == "pending" and group in going
        if status == "pending":
            going.add(group)
        tries = 0 if held else draw.choice([0, 1])
        await made(database, webhook, status=status, ordered_by=group, held=held, tries=tries, due_in=HOUR)


async def test_of_what_goes_in_order_the_first_goes_and_holds_the_others(
    resting, database, monkeypatch, subtests
):
    monkeypatch.setattr(replaying, "STEP", 7)
    for seed, status in product(range(4), ("undelivered", "all")):
        with subtests.test(f"{seed} {status}"):
            await database.execute("DELETE FROM notifier.endpoints")
            await first_goes_and_holds(resting, database, seed, status)


async def first_goes_and_holds(resting, database, seed, status):
    webhook = await resting.webhook(NOWHERE)
    await three_imports(database, webhook, seed)
    before = await rows(database)
    await replayed(resting, webhook, since=EVER, status=status)
    in_order = defaultdict(list)
    for sequence, row in sorted((await rows(database)).items()):
        assert (row["status"] == "succeeded") == (
            before[sequence]["status"] == "succeeded" and status != "all"
        )
        if row["status"] == "pending":
            in_order[row["ordered_by"]].append(row)
    for line in in_order.values():
        assert [row["held"] for row in line] == [False] + [True] * (len(line) - 1)
        assert {row["tries"] for row in line} == {0}
        assert line[0]["due"]


async def test_what_has_been_tried_so_often_that_it_holds_nobody_holds_nobody(resting, database):
    webhook = await resting.webhook(NOWHERE)
    group = uuid4()
    stubborn = {"status": "pending", "ordered_by": group, "tries": HOLD_TRIES, "due_in": HOUR}
    await made(database, webhook, **stubborn)
    for _ in range(2):
        await made(database, webhook, status="failed", ordered_by=group, event_type="product.created")
    await replayed(resting, webhook, event_types=["product.created"])
    after = await rows(database)
    assert [after[sequence]["held"] for sequence in (1, 2, 3)] == [False, False, True]
    assert after[1]["tries"] == HOLD_TRIES


async def test_what_a_replay_is_not_of_waits_behind_what_it_puts_before_it(resting, database):
    webhook, other = await resting.webhook(NOWHERE), await resting.webhook(NOWHERE)
    group, elsewhere = uuid4(), uuid4()
    await made(database, webhook, status="failed", ordered_by=group, event_type="product.created")
    await made(database, webhook, status="pending", ordered_by=group, tries=1, due_in=HOUR)
    await made(database, webhook, status="pending", ordered_by=group, held=True)
    await made(database, webhook, status="pending", ordered_by=elsewhere, tries=1, due_in=HOUR)
    await made(database, other, status="pending", ordered_by=group, tries=1, due_in=HOUR)
    before = await database.fetch(ALL_ROWS)
    assert await replayed(resting, webhook, event_types=["product.created"]) == {"count": 1}
    first, *others = map(dict, await database.fetch(ALL_ROWS))
    assert (first["status"], first["held"]) == ("pending", False)
    assert others == [dict(before[1]) | {"held": True}, *map(dict, before[2:])]


MEANWHILE = {
    1: "attempts_made = attempts_made + 1, tries = tries + 1, next_attempt_at = now() + interval '2 hours'",
    2: "attempts_made = attempts_made + 1, status = 'succeeded', next_attempt_at = NULL, finished_at = now()",
    3: "lease_owner = 4711, leased_until = now() + interval '1 hour'",
}


async def test_what_is_attempted_or_claimed_meanwhile_keeps_what_became_of_it(
    resting, database, database_url, eventually
):
    webhook = await resting.webhook(NOWHERE)
    for _ in range(len(MEANWHILE) + 1):
        await made(database, webhook, status="pending", tries=1, due_in=HOUR)
    attempting = await asyncpg.connect(database_url)
    async with attempting.transaction():
        for sequence, change in MEANWHILE.items():
            await attempting.execute(
                f"UPDATE notifier.deliveries SET {change} WHERE sequence = $1",
                sequence,
            )
        became = {row["sequence"]: dict(row) for row in await attempting.fetch(ALL_ROWS)}
        replay = asyncio.create_task(replayed(resting, webhook, since=EVER))
        await eventually(WAITING, gives=1)
    await attempting.close()
    assert await replay == {"count": 1}
    after = {row["sequence"]: dict(row) for row in await database.fetch(ALL_ROWS)}
    assert [after[sequence] for sequence in MEANWHILE] == [became[sequence] for sequence in MEANWHILE]
    assert (became[4]["tries"], after[4]["tries"]) == (1, 0)


@pytest.mark.usefixtures("fast_retries")
async def test_what_is_replayed_arrives_in_order(notifier, database):
    async with receiving(*[Answer(500)] * 2) as receiver:
        webhook = await notifier.webhook(receiver.url)
        await three_imports(database, webhook, seed=4)
        before = await rows(database)
        await replayed(notifier, webhook, since=EVER, status="all")
        arrived = await in_full(receiver, set(before))
    by_import = defaultdict(list)
    for sequence in arrived:
        by_import[before[sequence]["ordered_by"]].append(sequence)
    assert all(sequences == sorted(sequences) for sequences in by_import.values())


async def test_an_open_circuit_is_probed_at_once(resting, database):
    webhook = await resting.webhook(NOWHERE)
    await made(database, webhook, status="failed")
    await database.execute(
        "INSERT INTO notifier.endpoint_health (endpoint_id, tenant, failures, failing_since, probe_at)"
        " VALUES ($1, 'acme', 7, now(), now() + interval '5 minutes')",
        UUID(webhook["id"]),
    )
    await replayed(resting, webhook, since=EVER)
    assert await database.fetchval("SELECT probe_at <= now() FROM notifier.endpoint_health")


async def test_what_is_not_replayed(resting, database, monkeypatch):
    webhook, other = await resting.webhook(NOWHERE), await resting.webhook(NOWHERE, tenant="harbour")
    for _ in range(3):
        await made(database, webhook, status="failed")
        await made(database, other, status="failed")
    for asked, status, code in (
        ({}, 422, "replay_unbounded"),
        ({"until": "2026-01-01"}, 422, "replay_unbounded"),
        ({"event_types": []}, 422, "request_invalid"),
        ({"event_types": ["product.creatd"]}, 422, "event_type_unknown"),
        ({"since": "2026-02-30"}, 422, "request_invalid"),
        ({"since": "2026-03-02", "until": "2026-03-01"}, 422, "filter_invalid"),
        ({"since": "2026-03-01", "until": "2026-03-01", "dry_run": True}, 422, "filter_invalid"),
        ({"since": EVER, "status": "failed"}, 422, "request_invalid"),
    ):
        assert (await replayed(resting, webhook, status, **asked))["code"] == code
    assert (await replayed(resting, other, 404, since=EVER))["code"] == "webhook_not_found"
    before = await rows(database)
    with monkeypatch.context() as few:
        few.setattr(replaying, "MOST", 2)
        assert (await replayed(resting, webhook, 422, since=EVER))["code"] == "replay_too_large"
        assert (await replayed(resting, webhook, 422, since=EVER, dry_run=True))["code"] == "replay_too_large"
    await resting.call("PATCH", f"/webhooks/{webhook['id']}", json={"enabled": False})
    assert (await replayed(resting, webhook, 409, since=EVER))["code"] == "webhook_disabled"
    assert await rows(database) == before
    assert await replayed(resting, webhook, 200, since=EVER, dry_run=True) == {"count": 3}


async def in_full(receiver, expected):
    """Sequences in the order in which they were accepted, once all have been."""
    count = 0
    while True:
        count += 1
        received = await receiver.wait_for(count)
        arrived = list(dict.fromkeys(int(request.headers["webhook-sequence"]) for request in received))
        if set(arrived) == expected:
            return arrived


@pytest.mark.usefixtures("fast_retries")
async def test_nothing_is_held_for_ever_whatever_is_replayed_retried_and_told_at_a_time(
    notifier, database, database_url, eventually
):
    draw = random.Random(6)
    imports = [uuid4() for _ in range(3)]
    engine = engine_for(database_url, "notifier", pool_size=4)
    async with receiving(*[Answer(draw.choice([200, 200, 500])) for _ in range(300)]) as receiver:
        webhook = await notifier.webhook(receiver.url)

        async def tell():
            for number in range(50):
                body = b'{"number":%d}' % number
                message = Message("acme", uuid4(), "import.completed", body, ordered_by=draw.choice(imports))
                async with engine.begin() as connection:
                    await fan_out(connection, [message])

        async def replay():
            for status in ("all", "undelivered") * 8:
                await replayed(notifier, webhook, since=EVER, status=status)

        async def retry():
            for _ in range(30):
                for item in (await notifier.deliveries(webhook["id"]))[:3]:
                    path = f"/webhooks/{webhook['id']}/deliveries/{item['id']}/retry"
                    assert (await notifier.call("POST", path)).status_code in {200, 409}

        await asyncio.gather(tell(), tell(), replay(), retry())
        await eventually(
            "SELECT count(*) FILTER (WHERE status = 'succeeded') FROM notifier.deliveries", gives=100
        )
    await engine.dispose()
    assert {int(request.headers["webhook-sequence"]) for request in receiver.received} == set(range(1, 101))
