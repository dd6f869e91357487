"""The delivery engine on a real database and a real receiver, with a clock that can be moved."""

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from services.notifier.delivery.health import FAILURES_TO_OPEN
from services.notifier.delivery.lanes import LANE_CONNECTIONS
from services.notifier.delivery.schedule import HOLD_TRIES
from services.notifier.delivery.signing import new_secret
from tests.notifier.receiver import Answer, receiving, until
from tests.notifier.rig import Rig
from tests.notifier.test_schedule import WAITS

PENDING = "SELECT count(*) FROM notifier.deliveries WHERE status = 'pending'"


@pytest.fixture
async def idle(database_url, database):
    """An engine that does not run yet."""
    return Rig(database_url, database)


@pytest.fixture
async def rig(idle):
    async with idle.running() as worker:
        idle.worker = worker
        yield idle


async def opened(rig, receiver):
    """Wait until the circuit is open and what was under way has ended, in all processes: how many attempts that took."""
    await rig.until("SELECT opened FROM notifier.endpoint_health", gives=1)
    await asyncio.sleep(0.5)  # another process may just be claiming
    await rig.until("SELECT count(*) FROM notifier.deliveries WHERE lease_owner IS NOT NULL", gives=0)
    return len(receiver.received)


async def test_ten_attempts_at_the_times_of_the_schedule(rig):
    async with receiving(then=Answer(503)) as receiver:
        (delivery,) = await rig.deliver(await rig.endpoint(receiver.url))
        for tries, wait in enumerate(WAITS, start=1):
            await rig.attempted(delivery, tries)
            due = await rig.due_in(delivery)
            assert 0.8 * wait - 5 <= due <= 1.2 * wait
            rig.later(seconds=due - 2)
            await asyncio.sleep(0.05)
            assert len(receiver.received) == tries
            rig.later(seconds=2)
        await rig.attempted(delivery, 10)
        assert await rig.counts(await rig.database.fetchval("SELECT id FROM notifier.endpoints")) == {
            "failed": 1
        }
        rig.later(days=3)
        await asyncio.sleep(0.1)
    assert len(receiver.received) == 10
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
    assert len({request.body for request in receiver.received}) == 1


@pytest.mark.parametrize("how", ["seconds", "date"])
async def test_retry_after_is_honoured(rig, how):
    at = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    asked = "3600" if how == "seconds" else at
    async with receiving(Answer(503, headers=(f"Retry-After: {asked}",))) as receiver:
        (delivery,) = await rig.deliver(await rig.endpoint(receiver.url))
        await rig.attempted(delivery, 1)
    assert 3500 < await rig.due_in(delivery) <= 3600


async def test_while_the_circuit_is_open_nothing_is_sent_and_a_probe_closes_it(rig):
    async with receiving(then=Answer(500)) as receiver:
        endpoint = await rig.endpoint(receiver.url)
        made = await rig.deliver(endpoint, 60)
        burnt = await opened(rig, receiver)
        assert FAILURES_TO_OPEN <= burnt <= 2 * LANE_CONNECTIONS
        await asyncio.sleep(0.7)
        assert len(receiver.received) == burnt
        rig.later(seconds=6.5)
        await rig.until("SELECT opened FROM notifier.endpoint_health", gives=2)
        assert len(receiver.received) == burnt + 1, "one attempt tells whether it is well again"
        receiver.then = Answer()
        rig.later(seconds=13)
        await rig.until(PENDING, gives=0)
        assert await rig.counts(endpoint) == {"succeeded": 60}
        assert await rig.database.fetchval("SELECT failures FROM notifier.endpoint_health") == 0
        attempts = "SELECT max(attempts_made) FROM notifier.deliveries"
        assert await rig.database.fetchval(attempts) <= 3
    assert len({request.headers["webhook-id"] for request in receiver.received}) == len(made)


async def test_two_processes_send_one_probe(idle):
    async with receiving(then=Answer(500)) as receiver, idle.running() as one, idle.running() as two:
        endpoint = await idle.endpoint(receiver.url)
        await idle.deliver(endpoint, 60)
        burnt = await opened(idle, receiver)
        receiver.then = Answer(500, stall=0.5)
        idle.later(seconds=6.5)
        for worker in (one, two):
            worker.wake()
        await idle.until("SELECT opened FROM notifier.endpoint_health", gives=2)
        assert len(receiver.received) == burnt + 1


async def test_a_busy_receiver_is_left_alone(rig):
    async with receiving(Answer(429, headers=("Retry-After: 60",))) as receiver:
        endpoint = await rig.endpoint(receiver.url)
        await rig.deliver(endpoint)
        await rig.until("SELECT failures FROM notifier.endpoint_health", gives=1)
        await rig.deliver(endpoint, 5)
        await asyncio.sleep(0.7)
        assert len(receiver.received) == 1
        rig.later(seconds=61)
        await rig.until(PENDING, gives=0)


async def test_what_is_ordered_arrives_in_order_though_the_receiver_fails_now_and_then(rig):
    drawn, taken = random.Random(7), []

    def decide(request):
        if drawn.random() < 0.2:
            return Answer(500)
        taken.append(int(request.headers["webhook-sequence"]))
        return Answer()

    async with receiving() as receiver:
        receiver.decide = decide
        endpoint = await rig.endpoint(receiver.url)
        await rig.deliver(endpoint, 20, ordered_by=uuid4())
        async with asyncio.timeout(30):
            while await rig.database.fetchval(PENDING):
                rig.later(seconds=3)
                await asyncio.sleep(0.02)
    assert taken == list(range(1, 21))


async def test_one_that_always_fails_does_not_hold_up_those_behind_it_for_days(rig):
    async with receiving() as receiver:
        receiver.decide = lambda request: Answer(422) if request.headers["webhook-sequence"] == "2" else None
        endpoint = await rig.endpoint(receiver.url)
        _, poisoned, *_ = await rig.deliver(endpoint, 8, ordered_by=uuid4())
        await rig.attempted(poisoned, 1)
        assert [request.headers["webhook-sequence"] for request in receiver.received] == ["1", "2"]
        for tries in range(1, HOLD_TRIES):
            rig.later(seconds=await rig.due_in(poisoned) + 0.1)
            await rig.attempted(poisoned, tries + 1)
        await rig.until(PENDING, gives=1)
    assert [request.headers["webhook-sequence"] for request in receiver.received] == list("1222345678")


async def test_what_is_not_ordered_goes_out_beside(rig):
    async with receiving(then=Answer(stall=0.3)) as receiver:
        endpoint = await rig.endpoint(receiver.url)
        await rig.deliver(endpoint, 3, ordered_by=uuid4())
        await rig.deliver(endpoint, LANE_CONNECTIONS)
        await rig.until(PENDING, gives=0)
        assert 1 < receiver.most_in_flight <= LANE_CONNECTIONS


async def test_a_rate_limit_holds_for_all_processes_together(idle):
    arrived = []
    async with receiving() as receiver, idle.running(), idle.running():
        receiver.decide = lambda _: arrived.append(asyncio.get_running_loop().time())
        await idle.deliver(await idle.endpoint(receiver.url, rate_limit=20), 50)
        await idle.until(PENDING, gives=0)
    seconds = arrived[-1] - arrived[0]
    assert seconds > 49 / 20 * 0.9


async def test_an_endpoint_that_only_fails_is_warned_of_and_disabled_after_five_days(rig):
    async with receiving(then=Answer(500)) as receiver:
        endpoint = await rig.endpoint(receiver.url, description="Shop")
        hours = made = 0
        while True:
            await rig.deliver(endpoint)
            # Which of those that are due is the probe does not matter; it may be an earlier one, sent as time went by.
            await until(lambda made=made: len(receiver.received) > made)
            await rig.until("SELECT count(*) FROM notifier.deliveries WHERE lease_owner IS NOT NULL", gives=0)
            if not await rig.database.fetchval("SELECT enabled FROM notifier.endpoints"):
                break
            hours, made = hours + 3, len(receiver.received)
            rig.later(hours=3)
        assert 120 <= hours <= 123
        told = [(event.type, getattr(event.data, "percent", 100)) for event in rig.published]
        assert told == [*(("endpoint.failing", mark) for mark in (50, 70, 90)), ("endpoint.disabled", 100)]
        last = rig.published[-1]
        assert (last.tenant, last.subject) == ("acme", str(endpoint))
        assert (last.data.reason, last.data.response_status, last.data.description) == (
            "failing",
            500,
            "Shop",
        )
        row = await rig.database.fetchrow("SELECT disabled_reason, disabled_at FROM notifier.endpoints")
        assert row["disabled_reason"] == "failing"


async def test_gone_is_told(rig):
    async with receiving(then=Answer(410)) as receiver:
        await rig.deliver(await rig.endpoint(receiver.url))
        await rig.until("SELECT disabled_reason FROM notifier.endpoints", gives="gone")
    assert [(event.type, event.data.reason) for event in rig.published] == [("endpoint.disabled", "gone")]


async def test_a_retired_secret_signs_until_it_expires(rig):
    old, new = new_secret(), new_secret()
    async with receiving() as receiver:
        endpoint = await rig.endpoint(receiver.url, secret=new)
        await rig.database.execute(
            "INSERT INTO notifier.retired_secrets VALUES ($1, 'acme', $2, now() + interval '1 hour')",
            endpoint,
            old,
        )
        (delivery,) = await rig.deliver(endpoint)
        await rig.attempted(delivery, 1)
        (first,) = receiver.received
        rig.later(hours=1, seconds=1)
        await rig.deliver(endpoint)
        _, second = await receiver.wait_for(2)
    assert first.verified(old) == first.verified(new)
    assert second.verified(new)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(second.body, second.headers)


async def test_headers_of_its_owner_and_ours(rig):
    async with receiving() as receiver:
        endpoint = await rig.endpoint(
            receiver.url, headers=json.dumps({"X-Team": "shop", "webhook-id": "mine"})
        )
        (delivery,) = await rig.deliver(endpoint)
        (request,) = await receiver.wait_for(1)
    assert request.headers["x-team"] == "shop"
    assert request.headers["webhook-sequence"] == "1"
    assert request.headers["webhook-id"] == f"msg_{delivery.hex}"
    assert request.headers["content-type"] == "application/json"


async def test_what_is_pending_of_a_disabled_endpoint_waits_until_it_is_enabled(rig):
    async with receiving() as receiver:
        endpoint = await rig.endpoint(receiver.url, enabled=False)
        await rig.deliver(endpoint)
        await rig.deliver(await rig.endpoint(receiver.url))
        await rig.until(PENDING, gives=1)
        assert len(receiver.received) == 1
        await rig.database.execute("UPDATE notifier.endpoints SET enabled = true")
        await rig.until(PENDING, gives=0)
    assert await rig.counts(endpoint) == {"succeeded": 1}


async def test_attempts_are_written_down_though_the_database_was_away(rig):
    async with receiving(then=Answer(stall=0.5)) as receiver:
        endpoint = await rig.endpoint(receiver.url)
        await rig.deliver(endpoint, LANE_CONNECTIONS)
        await receiver.wait_for(LANE_CONNECTIONS)
        for _ in range(20):
            await rig.database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = 'penstock_notifier'"
            )
            await asyncio.sleep(0.05)
        await rig.until(PENDING, gives=0)
        assert len(receiver.received) == LANE_CONNECTIONS, "nothing is sent again"
    assert await rig.database.fetchval("SELECT count(*) FROM notifier.attempts") == LANE_CONNECTIONS


async def test_two_processes_send_each_delivery_once_though_the_lanes_are_full(idle):
    async with receiving(then=Answer(stall=0.01)) as receiver, idle.running(), idle.running():
        for _ in range(3):
            await idle.deliver(await idle.endpoint(receiver.url), 100)
        await idle.until(PENDING, gives=0)
    ids = [request.headers["webhook-id"] for request in receiver.received]
    assert (len(ids), len(set(ids))) == (300, 300)


async def test_a_process_that_stops_gives_back_what_it_did_not_begin(idle):
    async with receiving(then=Answer(stall=0.2)) as receiver:
        endpoint = await idle.endpoint(receiver.url)
        async with idle.running():
            await idle.deliver(endpoint, 30)
            await until(lambda: receiver.in_flight == LANE_CONNECTIONS)
        counts = await idle.counts(endpoint)
        assert counts["pending"] + counts["succeeded"] == 30
        assert counts["succeeded"] == len(receiver.received)
        assert (
            await idle.database.fetchval(
                "SELECT count(*) FROM notifier.deliveries WHERE lease_owner IS NOT NULL"
            )
            == 0
        )
