"""Test and retry: one attempt now, because somebody asks for it."""

import asyncio
import json
from datetime import datetime
from uuid import uuid4

import pytest

from services.notifier.deliveries.filters import SENDABLE
from services.notifier.deliveries.samples import sample_of
from services.notifier.deliveries.sending import AT_ONCE
from services.notifier.messages.payloads import UNTOLD
from services.results.records.models import record_model
from shared.contracts.datasets import datasets
from shared.contracts.events import EVENTS
from tests.notifier.given_deliveries import made
from tests.notifier.receiver import Answer, receiving

NOUNS = {dataset.noun: dataset for dataset in datasets().values()}


async def asked(notifier, webhook, path, status=200, **body):
    response = await notifier.call("POST", f"/webhooks/{webhook['id']}/{path}", json=body)
    assert response.status_code == status, response.text
    return response.json()


async def test_a_test_is_signed_and_answers_with_what_came_back(notifier):
    async with receiving(Answer(200, b"welcome")) as receiver:
        webhook = await notifier.webhook(receiver.url)
        response = await notifier.call("POST", f"/webhooks/{webhook['id']}/test")  # a button sends no body
        shown = response.json()
    (request,) = receiver.received
    assert request.verified(webhook["secret"]) == shown["payload"]
    assert shown["payload"]["type"] == shown["event_type"] == "webhook.test"
    assert request.headers["webhook-id"] == shown["webhook_id"]
    assert request.headers["webhook-sequence"] == str(shown["sequence"]) == "1"
    assert request.headers["webhook-test"] == "true"
    assert (shown["status"], shown["test"], shown["in_flight"]) == ("succeeded", True, False)
    (attempt,) = shown["attempts"]
    assert (attempt["response_status"], attempt["response_body"]) == (200, "welcome")
    (logged,) = await notifier.deliveries(webhook["id"])
    assert logged == shown | {"payload": None}


async def test_a_test_is_sent_once_also_to_an_endpoint_that_is_disabled(notifier, database):
    async with receiving(then=Answer(500, b"oops")) as receiver:
        webhook = await notifier.webhook(receiver.url, "import.*")
        await notifier.call("PATCH", f"/webhooks/{webhook['id']}", json={"enabled": False})
        shown = await asked(notifier, webhook, "test", event_type="product.updated")
        assert (shown["status"], shown["attempts_made"], shown["next_attempt_at"]) == ("failed", 1, None)
        assert shown["last_attempt"]["response_status"] == 500
        await notifier.call("PATCH", f"/webhooks/{webhook['id']}", json={"enabled": True})
        retried = await asked(notifier, webhook, f"deliveries/{shown['id']}/retry")
        assert (retried["status"], retried["attempts_made"]) == ("failed", 2)
    assert [request.headers["webhook-test"] for request in receiver.received] == ["true"] * 2
    assert [json.loads(request.body)["type"] for request in receiver.received] == ["product.updated"] * 2
    assert await database.fetchval("SELECT count(*) FROM notifier.endpoint_health") == 0, (
        "it tells nothing new"
    )


@pytest.mark.parametrize("event_type", SENDABLE)
def test_a_sample_is_as_real_ones_are(event_type):
    endpoint_id = uuid4()
    document = json.loads(sample_of(event_type, endpoint_id))
    assert (set(document), document["type"]) == ({"type", "timestamp", "data"}, event_type)
    noun, _, what = event_type.partition(".")
    if event_type in EVENTS:
        event = EVENTS[event_type].model_validate(document["data"])
        assert event.model_dump(mode="json", exclude=UNTOLD) == document["data"]
    elif noun in NOUNS:
        assert document["data"]["dataset"] == NOUNS[noun].name
        (item,) = document["data"]["items"]
        if what != "deleted":
            assert (item.pop("changed_by_row"), item["import_id"]) == (1, document["data"]["import_id"])
            assert item.pop("links") == {"record": f"/api/v1/records/{NOUNS[noun].name}/{item['id']}"}
            record_model(NOUNS[noun]).model_validate_json(json.dumps(item))
    else:
        assert document["data"]["webhook_id"] == str(endpoint_id)


async def test_there_is_no_test_of_another_type(resting):
    webhook = await resting.webhook("http://127.0.0.1:1024/")
    for event_type in ("product.*", "records.changed", "*", ""):
        problem = await asked(resting, webhook, "test", 422, event_type=event_type)
        assert problem["code"] == "event_type_unknown"
        assert set(problem["known"]) == set(SENDABLE)


async def test_a_retry_begins_a_new_round(notifier, database, subtests):
    async with receiving(*[Answer(500), Answer(200)] * 4) as receiver:
        hour = await database.fetchval("SELECT interval '1 hour'")
        for before in ("failed", "succeeded", "skipped", "pending"):
            with subtests.test(before):
                webhook = await notifier.webhook(receiver.url)
                delivery = await made(database, webhook, status=before, tries=2, due_in=hour)
                path = f"deliveries/{delivery.id}/retry"
                failed = await asked(notifier, webhook, path)
                assert (failed["status"], failed["in_flight"], failed["finished_at"]) == (
                    "pending",
                    False,
                    None,
                )
                assert [attempt["number"] for attempt in failed["attempts"]] == [1, 2, 3]
                # As after the first attempt of all: in five seconds, more or less, and not in five minutes.
                due, attempted = failed["next_attempt_at"], failed["last_attempt"]["attempted_at"]
                wait = datetime.fromisoformat(due) - datetime.fromisoformat(attempted)
                assert 4 <= wait.total_seconds() <= 6.5
                succeeded = await asked(notifier, webhook, path)
                assert (succeeded["status"], succeeded["attempts_made"]) == ("succeeded", 4)
                sent = [request.headers for request in receiver.received[-2:]]
                assert {headers["webhook-id"] for headers in sent} == {succeeded["webhook_id"]}
                assert {headers["webhook-sequence"] for headers in sent} == {"1"}


async def test_a_retry_goes_past_what_holds_it(notifier, database):
    async with receiving() as receiver:
        webhook = await notifier.webhook(receiver.url)
        group, hour = uuid4(), await database.fetchval("SELECT interval '1 hour'")
        first = await made(database, webhook, status="pending", ordered_by=group, tries=1, due_in=hour)
        second = await made(database, webhook, status="pending", ordered_by=group, held=True)
        third = await made(database, webhook, status="pending", ordered_by=group, held=True)
        shown = await asked(notifier, webhook, f"deliveries/{third.id}/retry")
        assert (shown["status"], shown["held"]) == ("succeeded", False)
        assert [item["held"] for item in await notifier.deliveries(webhook["id"])] == [False, True, False]
        await asked(notifier, webhook, f"deliveries/{first.id}/retry")
        sequences = [request.headers["webhook-sequence"] for request in await receiver.wait_for(3)]
    assert sequences == ["3", "1", "2"], "what the first one held went by itself"
    assert second.sequence == 2


async def test_what_is_under_way_is_not_attempted_twice(notifier, database):
    async with receiving(Answer(stall=1.0)) as receiver:
        webhook = await notifier.webhook(receiver.url)
        delivery = await made(database, webhook, status="failed")
        path = f"deliveries/{delivery.id}/retry"
        under_way = asyncio.create_task(asked(notifier, webhook, path))
        await receiver.wait_for(1)
        refused = await asked(notifier, webhook, path, 409)
        assert refused["code"] == "delivery_in_flight"
        (shown,) = await notifier.deliveries(webhook["id"])
        assert shown["in_flight"]
        assert (await under_way)["status"] == "succeeded"
    assert len(receiver.received) == 1


async def test_whoever_asks_may_go_away(notifier, database, eventually):
    async with receiving(Answer(500, stall=0.3)) as receiver:
        webhook = await notifier.webhook(receiver.url)
        delivery = await made(database, webhook, status="failed")
        asking = asyncio.create_task(asked(notifier, webhook, f"deliveries/{delivery.id}/retry"))
        await receiver.wait_for(1)
        asking.cancel()
        await eventually("SELECT attempts_made FROM notifier.deliveries", gives=1)


async def test_what_is_not_retried(resting, database):
    webhook = await resting.webhook("http://127.0.0.1:1024/")
    often, once = (
        await made(database, webhook, status="failed"),
        await made(database, webhook, status="failed"),
    )
    await database.execute("UPDATE notifier.deliveries SET attempts_made = 1000 WHERE id = $1", often.id)
    problem = await asked(resting, webhook, f"deliveries/{often.id}/retry", 409)
    assert problem["code"] == "delivery_attempts_limit"
    await resting.call("PATCH", f"/webhooks/{webhook['id']}", json={"enabled": False})
    problem = await asked(resting, webhook, f"deliveries/{once.id}/retry", 409)
    assert problem["code"] == "webhook_disabled"


async def test_a_few_wait_for_an_answer_at_a_time(notifier):
    async with receiving(then=Answer(stall=0.5)) as receiver:
        webhook = await notifier.webhook(receiver.url)
        tests = [
            notifier.call("POST", f"/webhooks/{webhook['id']}/test", json={}) for _ in range(AT_ONCE + 1)
        ]
        answers = await asyncio.gather(*tests)
        assert sorted(answer.status_code for answer in answers) == [200] * AT_ONCE + [429]
        (busy,) = [answer for answer in answers if answer.status_code == 429]
        assert (busy.json()["code"], busy.headers["retry-after"]) == ("webhook_busy", "5")
        assert (await asked(notifier, webhook, "test"))["status"] == "succeeded"
    assert receiver.most_in_flight == AT_ONCE
