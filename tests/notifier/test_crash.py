"""kill -9 of the notifier in every step of a webhook's way: nothing is lost, and what is sent twice has the same id."""

import json
import os
import signal
from collections import defaultdict
from uuid import uuid4

import httpx
import pytest

from shared.contracts.events import AnyEvent
from tests.notifier.crashes import Scene, delivery_of, nursery_open
from tests.notifier.given import completed, failed
from tests.notifier.receiver import receiving

IMPORTS = 4
# Of two endpoints that are told of all of them, and one of the good ends; and of the investigation that is opened.
DELIVERIES = 2 * IMPORTS * 2 + IMPORTS + 1

SENT_ONCE = ("consuming", "claimed")
SENT_AGAIN = ("sending", "answered", "recording", "released")
# When some events have been told, the deliveries of those before may be under way.
EITHER = ("consumed", "recorded")


@pytest.fixture(scope="module")
async def nursery():
    async with nursery_open() as nursery:
        yield nursery


@pytest.fixture
async def scene(nursery, environment, database, tmp_path):
    async with receiving() as receiver:
        scene = Scene(nursery, environment, database, receiver, tmp_path / "notifier.log")
        yield scene
        await scene.close()


@pytest.fixture
async def busy(scene, publish):
    """There are events for three endpoints. Each import has failed, and was completed in its next run."""
    for event_types in (["import.*"], ["*"], ["import.completed"]):
        await scene.endpoint(*event_types)
    for event in events():
        await publish(event)
    return scene


def events() -> list[AnyEvent]:
    imports = [uuid4() for _ in range(IMPORTS)]
    return [
        *(failed(import_id=import_id, source=None) for import_id in imports),
        *(completed(import_id=import_id) for import_id in imports),
    ]


async def crashed(scene: Scene, step: str) -> None:
    """The notifier dies in that step."""
    if step != "sending":
        return await scene.killed(await scene.start(step))
    victim = None

    def decide(_):
        os.kill(victim.pid, signal.SIGKILL)
        scene.receiver.decide = (
            None  # those that were on their way beside it get their answers, which nobody reads
        )

    scene.receiver.decide = decide
    victim = await scene.start()
    return await scene.killed(victim)


@pytest.mark.parametrize("step", [*SENT_ONCE, *SENT_AGAIN, *EITHER])
async def test_killed_twice_in_a_step_it_delivers_all(busy, step):
    done = set()
    for _ in range(2):
        await crashed(busy, step)
        rows = await busy.database.fetch("SELECT id FROM notifier.deliveries WHERE status = 'succeeded'")
        done |= {row["id"] for row in rows}
    before = busy.requests()
    await busy.start()
    await busy.settled(DELIVERIES)
    twice = await busy.nothing_is_lost()
    after = busy.requests()
    assert {name: after[name] for name in done} == {name: before[name] for name in done}
    if step in SENT_ONCE:
        assert twice == 0
    if step in SENT_AGAIN:
        assert twice >= 2
    if step == "recorded":
        assert len(done) >= 2
    assert in_order(busy)


def in_order(scene) -> bool:
    """Whether each endpoint heard of what belongs to one import in the order of its sequence."""
    heard = defaultdict(list)
    for request in scene.receiver.received:
        about = json.loads(request.body)["data"].get("import_id")
        if about is not None:
            heard[request.path, about].append(int(request.headers["webhook-sequence"]))
    return all(sequences == sorted(sequences) for sequences in heard.values())


async def test_a_test_that_was_not_sent_when_it_died_is_sent(scene):
    endpoint = await scene.endpoint("import.*")
    victim = await scene.start("asked")
    await scene.ready(victim)
    with pytest.raises(httpx.TransportError):
        await scene.call(victim, f"/webhooks/{endpoint}/test")
    await scene.killed(victim)
    assert scene.receiver.received == []
    await scene.start()
    await scene.settled(1)
    assert await scene.nothing_is_lost() == 0


async def test_a_retry_that_was_not_sent_when_it_died_is_sent(scene, publish):
    endpoint = await scene.endpoint("import.*")
    victim = await scene.start("asked")
    await scene.ready(victim)
    await publish(completed())
    (request,) = await scene.receiver.wait_for(1)
    await scene.settled(1)
    with pytest.raises(httpx.TransportError):
        await scene.call(victim, f"/webhooks/{endpoint}/deliveries/{delivery_of(request)}/retry")
    await scene.killed(victim)
    assert len(scene.receiver.received) == 1
    await scene.start()
    await scene.settled(1)
    assert await scene.nothing_is_lost() == 0
    assert scene.requests() == {delivery_of(request): 2}


async def test_what_a_replay_had_not_replayed_when_it_died_the_same_again_replays(busy):
    first = await busy.start("replaying")
    await busy.settled(DELIVERIES)
    await busy.database.execute("UPDATE notifier.deliveries SET status = 'failed'")
    endpoint = await busy.database.fetchval("SELECT id FROM notifier.endpoints ORDER BY id LIMIT 1")
    mine = await busy.database.fetchval(
        "SELECT last_sequence FROM notifier.endpoints WHERE id = $1", endpoint
    )
    with pytest.raises(httpx.TransportError):
        await busy.call(first, f"/webhooks/{endpoint}/replay", event_types=["*"])
    await busy.killed(first)
    again = await busy.start()
    await busy.ready(again)
    await busy.settled(DELIVERIES)
    half = await busy.database.fetchval("SELECT count(*) FROM notifier.deliveries WHERE status = 'succeeded'")
    assert 0 < half < mine
    replayed = await busy.call(again, f"/webhooks/{endpoint}/replay", event_types=["*"])
    assert replayed.json() == {"count": mine - half}
    await busy.settled(DELIVERIES)
    await busy.database.execute(
        "UPDATE notifier.deliveries SET status = 'succeeded' WHERE endpoint_id <> $1", endpoint
    )
    assert await busy.nothing_is_lost() == 0
    assert len(busy.receiver.received) == DELIVERIES + mine


async def test_a_purge_that_died_goes_on_where_it_was(busy):
    await busy.database.execute("""
        INSERT INTO notifier.deliveries
            (id, tenant, endpoint_id, event_id, event_type, body, sequence, status, next_attempt_at, finished_at)
        SELECT uuidv7(interval '-40 days' + n * interval '1 s'), 'acme', e.id, uuidv7(), 'import.failed', '', -n,
            'succeeded', NULL, now()
        FROM notifier.endpoints e, generate_series(1, 10) n
    """)
    old = "SELECT count(*) FROM notifier.deliveries WHERE sequence < 0"
    await busy.killed(await busy.start("purging"))
    assert 0 < await busy.database.fetchval(old) < 30
    await busy.start("purging whole")
    await busy.until(old, gives=0)
    await busy.settled(DELIVERIES)
    await busy.nothing_is_lost()
