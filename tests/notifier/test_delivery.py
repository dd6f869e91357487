"""Deliveries to a real receiver."""

import asyncio
import time

import pytest

from services.notifier.delivery.lanes import LANE_CONNECTIONS
from shared.platform.presence import Presence
from tests.notifier.conftest import running
from tests.notifier.given import completed, failed
from tests.notifier.receiver import Answer, receiving

STATUS = "SELECT status FROM notifier.deliveries"
QUICK = 20  # deliveries to a quick endpoint, beside a slow one


async def test_a_delivery_arrives_at_once_and_is_signed(notifier, publish, eventually):
    async with receiving() as receiver:
        webhook = await notifier.webhook(receiver.url)
        event, start = completed(), time.monotonic()
        await publish(event)
        (request,) = await receiver.wait_for(1)
        assert time.monotonic() - start < 2
        await eventually(STATUS, gives="succeeded")
    payload = request.verified(webhook["secret"])
    assert (payload["type"], payload["data"]["import_id"]) == ("import.completed", event.subject)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    (delivery,) = await notifier.deliveries(webhook["id"])
    assert delivery["webhook_id"] == request.headers["webhook-id"] == f"msg_{delivery['id'].replace('-', '')}"
    assert (delivery["status"], delivery["next_attempt_at"]) == ("succeeded", None)
    (attempt,) = delivery["attempts"]
    assert (attempt["number"], attempt["response_status"]) == (1, 200)
    assert (attempt["response_body"], attempt["error"]) == ("thanks", None)


@pytest.mark.usefixtures("fast_retries")
async def test_a_retry_keeps_id_and_body(notifier, publish, eventually):
    async with receiving(Answer(500, b"oops"), Answer(302, headers=("Location: /elsewhere",))) as receiver:
        webhook = await notifier.webhook(receiver.url)
        await publish(completed())
        first, second, third = await receiver.wait_for(3)
        await eventually(STATUS, gives="succeeded")
    assert len({request.headers["webhook-id"] for request in (first, second, third)}) == 1
    assert len({request.body for request in (first, second, third)}) == 1
    assert {request.path for request in (first, second, third)} == {"/hook"}
    third.verified(webhook["secret"])
    (delivery,) = await notifier.deliveries(webhook["id"])
    assert [attempt["response_status"] for attempt in delivery["attempts"]] == [500, 302, 200]
    assert delivery["attempts"][0]["response_body"] == "oops"


@pytest.mark.usefixtures("fast_retries")
async def test_after_ten_attempts_it_has_failed(notifier, publish, eventually):
    async with receiving(then=Answer(503)) as receiver:
        webhook = await notifier.webhook(receiver.url)
        await publish(completed())
        await eventually(STATUS, gives="failed")
    (delivery,) = await notifier.deliveries(webhook["id"])
    assert [attempt["number"] for attempt in delivery["attempts"]] == list(range(1, 11))


async def test_the_first_retry_is_due_in_five_seconds(notifier, publish, database, eventually):
    async with receiving(Answer(500)) as receiver:
        await notifier.webhook(receiver.url)
        await publish(completed())
        await eventually("SELECT attempts_made FROM notifier.deliveries", gives=1)
    seconds = await database.fetchval(
        "SELECT extract(epoch FROM next_attempt_at - attempted_at)::float8"
        " FROM notifier.deliveries JOIN notifier.attempts ON delivery_id = id"
    )
    assert 4 <= seconds <= 6.5


async def test_gone_disables_the_endpoint(notifier, publish, eventually):
    async with receiving(Answer(410)) as receiver:
        webhook = await notifier.webhook(receiver.url)
        await publish(completed())
        await eventually(STATUS, gives="failed")
        shown = (await notifier.call("GET", f"/webhooks/{webhook['id']}")).json()
        assert (shown["enabled"], shown["disabled_reason"]) == (False, "gone")
        await publish(completed())
        await eventually("SELECT count(*) FROM notifier.deliveries", gives=2)
        statuses = [delivery["status"] for delivery in await notifier.deliveries(webhook["id"])]
        assert sorted(statuses) == ["failed", "skipped"]
        assert len(receiver.received) == 1


async def test_nobody_listens(notifier, publish, eventually):
    async with receiving() as receiver:
        url = receiver.url
    webhook = await notifier.webhook(url)
    await publish(completed())
    await eventually("SELECT attempts_made FROM notifier.deliveries", gives=1)
    ((attempt,),) = [delivery["attempts"] for delivery in await notifier.deliveries(webhook["id"])]
    assert attempt["response_status"] is None
    assert attempt["error"] == "connection refused"


async def test_an_endpoint_has_a_few_in_flight_and_a_slow_one_does_not_hold_up_another(
    notifier, publish, eventually
):
    async with receiving(then=Answer(stall=1.5)) as slow, receiving() as quick:
        await notifier.webhook(slow.url, "import.failed")
        await notifier.webhook(quick.url, "import.completed")
        for _ in range(2 * LANE_CONNECTIONS):
            await publish(failed())
        await slow.wait_for(LANE_CONNECTIONS)
        start = time.monotonic()
        for _ in range(QUICK):
            await publish(completed())
        await quick.wait_for(QUICK)
        assert time.monotonic() - start < 1.5
        await slow.wait_for(2 * LANE_CONNECTIONS)
        assert slow.most_in_flight == LANE_CONNECTIONS
        await eventually("SELECT count(*) FROM notifier.deliveries WHERE status = 'pending'", gives=0)


async def test_a_dead_process_leaves_nothing_behind(environment, database, publish, eventually):
    async with receiving(then=Answer(stall=60)) as receiver:
        async with running(environment) as notifier:
            await notifier.webhook(receiver.url)
            await database.execute("UPDATE notifier.endpoints SET enabled = false")
        await database.execute("UPDATE notifier.endpoints SET enabled = true")
        await database.execute(
            "INSERT INTO notifier.deliveries (tenant, endpoint_id, event_id, event_type, body, lease_owner, leased_until)"
            " SELECT tenant, id, uuidv7(), 'import.failed', '{}', 4711, now() + interval '60 s' FROM notifier.endpoints"
        )
        receiver.then = Answer()
        async with running(environment):
            start = time.monotonic()
            await eventually(STATUS, gives="succeeded")
            assert time.monotonic() - start < 5


async def test_the_lease_of_a_living_process_is_respected(environment, database_url, database, eventually):
    other = Presence(database_url, "notifier")
    await other.start([])
    async with receiving() as receiver, running(environment) as notifier:
        await notifier.webhook(receiver.url)
        await database.execute(
            "INSERT INTO notifier.deliveries (tenant, endpoint_id, event_id, event_type, body, lease_owner, leased_until)"
            " SELECT tenant, id, uuidv7(), 'import.failed', '{}', $1, now() + interval '2 s' FROM notifier.endpoints",
            other.instance,
        )
        await asyncio.sleep(1.2)
        assert receiver.received == []
        await eventually(STATUS, gives="succeeded")
    await other.stop()


async def test_a_stopping_process_finishes_what_it_can_and_leaves_the_rest_due(
    environment, monkeypatch, database, publish
):
    monkeypatch.setenv("PENSTOCK_STOP_SECONDS", "1.5")
    async with receiving(Answer(stall=0.3), then=Answer(stall=60)) as receiver:
        async with running(environment) as notifier:
            await notifier.webhook(receiver.url)
            await publish(completed())
            await publish(completed())
            await receiver.wait_for(2)
            start = time.monotonic()
        assert time.monotonic() - start < 4
    rows = await database.fetch(
        "SELECT status, lease_owner, attempts_made FROM notifier.deliveries ORDER BY status"
    )
    assert [tuple(row) for row in rows] == [("pending", None, 0), ("succeeded", None, 1)]


async def test_two_processes_send_each_delivery_once(environment, publish, eventually):
    async with receiving() as receiver, running(environment) as notifier, running(environment):
        await notifier.webhook(receiver.url)
        await asyncio.gather(*(publish(completed()) for _ in range(40)))
        await eventually("SELECT count(*) FROM notifier.deliveries WHERE status = 'succeeded'", gives=40)
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 40
    assert len(receiver.received) == 40
