"""Deliveries to a real receiver."""

import asyncio
import time
from uuid import uuid4

import pytest

from services.notifier.delivery import MAX_IN_FLIGHT
from services.notifier.guard import Resolver
from services.notifier.sender import KEPT_BYTES, LANE_SIZE, Sender
from shared.platform.presence import Presence
from tests.notifier.conftest import running
from tests.notifier.given import completed, failed
from tests.notifier.receiver import Answer, receiving

STATUS = "SELECT status FROM notifier.deliveries"


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
        await eventually("SELECT count(*) FROM notifier.inbox", gives=2)
        assert len(await notifier.deliveries(webhook["id"])) == 1
        assert len(receiver.received) == 1


async def test_nobody_listens(notifier, publish, eventually):
    async with receiving() as receiver:
        url = receiver.url
    webhook = await notifier.webhook(url)
    await publish(completed())
    await eventually("SELECT attempts_made FROM notifier.deliveries", gives=1)
    ((attempt,),) = [delivery["attempts"] for delivery in await notifier.deliveries(webhook["id"])]
    assert attempt["response_status"] is None
    assert attempt["error"].startswith("ConnectError")


async def test_an_endpoint_has_a_few_in_flight_and_a_slow_one_does_not_hold_up_another(
    notifier, publish, eventually
):
    async with receiving(then=Answer(stall=1.5)) as slow, receiving() as quick:
        await notifier.webhook(slow.url, "import.failed")
        await notifier.webhook(quick.url, "import.completed")
        for _ in range(2 * LANE_SIZE):
            await publish(failed())
        await slow.wait_for(LANE_SIZE)
        start = time.monotonic()
        for _ in range(MAX_IN_FLIGHT):
            await publish(completed())
        await quick.wait_for(MAX_IN_FLIGHT)
        assert time.monotonic() - start < 1.5
        await slow.wait_for(2 * LANE_SIZE)
        assert slow.most_in_flight == LANE_SIZE
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


# The sender alone: what the network may do.


@pytest.fixture
async def sender():
    sender = Sender(allow_private=True, resolve=Resolver(), total_seconds=0.5, connect_seconds=0.3)
    yield sender
    await sender.close()


async def test_no_answer_in_time(sender):
    async with receiving(Answer(stall=5)) as receiver:
        attempt = await sender.post(uuid4(), receiver.url, {}, b"{}")
    assert attempt.response_status is None
    assert attempt.error == "no complete answer within 0.5 s"
    assert 450 <= attempt.latency_ms < 2000


async def test_a_body_that_never_ends_does_not_hide_the_status(sender):
    async with receiving(Answer(200, stall_body=5)) as receiver:
        attempt = await sender.post(uuid4(), receiver.url, {}, b"{}")
    assert (attempt.response_status, attempt.response_body) == (200, "")


async def test_a_redirect_is_not_followed(sender):
    async with (
        receiving() as target,
        receiving(Answer(307, headers=(f"Location: {target.url}",))) as receiver,
    ):
        attempt = await sender.post(uuid4(), receiver.url, {}, b"{}")
        assert (attempt.response_status, target.received) == (307, [])


async def test_proxies_of_the_environment_and_cookies_are_not_used(sender, monkeypatch):
    async with receiving() as proxy, receiving(Answer(headers=("Set-Cookie: a=b",))) as receiver:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        endpoint_id = uuid4()
        for _ in range(2):
            assert (await sender.post(endpoint_id, receiver.url, {}, b"{}")).response_status == 200
        assert proxy.received == []
        assert "cookie" not in receiver.received[1].headers


async def test_a_long_response_is_cut(sender):
    async with receiving(Answer(body=b"\0x" * KEPT_BYTES)) as receiver:
        attempt = await sender.post(uuid4(), receiver.url, {}, b"{}")
    assert attempt.response_body is not None
    assert len(attempt.response_body) == KEPT_BYTES
    assert "\0" not in attempt.response_body


@pytest.mark.parametrize(
    "noise", [b"SSH-2.0-OpenSSH\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"]
)
async def test_noise_instead_of_http(sender, noise):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(noise)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        attempt = await sender.post(uuid4(), f"http://127.0.0.1:{port}/", {}, b"{}")
    assert attempt.response_status is None
    assert attempt.error


async def test_the_host_is_resolved_and_judged_at_every_attempt():
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def resolve(host, port):
        return answers.pop(0)

    async with receiving() as receiver:
        trusting = Sender(allow_private=True, resolve=resolve)
        url = receiver.url.replace("127.0.0.1", "rebinding.example")
        assert (await trusting.post(uuid4(), url, {}, b"{}")).response_status == 200
        assert receiver.received[0].headers["host"] == f"rebinding.example:{receiver.port}"
        await trusting.close()
        strict = Sender(allow_private=False, resolve=resolve)
        attempt = await strict.post(uuid4(), url, {}, b"{}")
        assert attempt.error == "the host leads to an address that webhooks may not call"
        assert len(receiver.received) == 1
        await strict.close()
