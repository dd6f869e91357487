"""The log of deliveries: pages, filters, payloads, and what a receiver that was away fetches by it."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from services.notifier.deliveries.resources import ATTEMPTS_LISTED, PAGE_BYTES
from tests.notifier.given_deliveries import made
from tests.notifier.receiver import Answer, receiving

NOWHERE = "http://127.0.0.1:1024/hook"


async def listed(resting, webhook, **parameters):
    response = await resting.call("GET", f"/webhooks/{webhook['id']}/deliveries", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


async def walked(resting, webhook, **parameters):
    """All items, page by page; and how many pages."""
    items, pages, page = [], 0, {"next_cursor": ""}
    while page["next_cursor"] is not None:
        more = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        page = await listed(resting, webhook, **parameters, **more)
        items, pages = items + page["items"], pages + 1
    return items, pages


async def test_pages_in_both_orders_while_more_come(resting, database):
    webhook, other = await resting.webhook(NOWHERE), await resting.webhook(NOWHERE)
    for _ in range(7):
        await made(database, webhook)
        await made(database, other)
    first = await listed(resting, webhook, limit=3, total="exact")
    assert ([item["sequence"] for item in first["items"]], first["total"]) == ([7, 6, 5], 7)
    await made(database, webhook)
    then = await listed(resting, webhook, limit=5, cursor=first["next_cursor"])
    assert ([item["sequence"] for item in then["items"]], then["next_cursor"]) == ([4, 3, 2, 1], None)
    ascending, pages = await walked(resting, webhook, limit=3, order="asc")
    assert ([item["sequence"] for item in ascending], pages) == ([1, 2, 3, 4, 5, 6, 7, 8], 3)
    crossed = await resting.call(
        "GET",
        f"/webhooks/{webhook['id']}/deliveries",
        params={"order": "asc", "cursor": first["next_cursor"]},
    )
    assert (crossed.status_code, crossed.json()["code"]) == (422, "cursor_invalid")


FILTERS = [
    ({"status": "pending"}, [3]),
    ({"status": ["failed", "skipped"]}, [2, 4, 6]),
    ({"status": "undelivered"}, [2, 3, 4]),
    ({"status": ["undelivered", "succeeded"]}, [1, 2, 3, 4, 5]),
    ({"status": "failed"}, [2, 6]),
    ({"status": ["undelivered", "failed"]}, [2, 3, 4, 6]),
    ({"event_type": "product.*"}, [2, 3]),
    ({"event_type": ["product.created", "webhook.test"]}, [2, 5, 6]),
    ({"event_type": "*"}, [1, 2, 3, 4, 5, 6]),
    ({"sequence_from": 2, "sequence_to": 4}, [2, 3, 4]),
    ({"since": "{3}"}, [3, 4, 5, 6]),
    ({"until": "{3}"}, [1, 2]),
    ({"since": "{2}", "until": "{4}", "status": "undelivered", "event_type": "product.updated"}, [3]),
]


async def test_filters(resting, database, subtests):
    webhook = await resting.webhook(NOWHERE)
    day = timedelta(days=1)
    await made(database, webhook, age=5 * day)
    await made(database, webhook, age=4 * day, status="failed", event_type="product.created")
    await made(database, webhook, age=3 * day, status="pending", event_type="product.updated")
    await made(database, webhook, age=2 * day, status="skipped", event_type="import.failed")
    await made(database, webhook, age=1 * day, event_type="webhook.test", test=True)
    await made(database, webhook, status="failed", event_type="webhook.test", test=True)
    times = {item["sequence"]: item["created_at"] for item in (await listed(resting, webhook))["items"]}
    for parameters, sequences in FILTERS:
        with subtests.test(str(parameters)):
            asked = {
                name: times[int(value[1])] if str(value).startswith("{") else value
                for name, value in parameters.items()
            }
            page = await listed(resting, webhook, order="asc", total="estimate", **asked)
            assert [item["sequence"] for item in page["items"]] == sequences
            assert page["total"] == len(sequences)


async def test_what_a_list_does_not_take(resting):
    webhook = await resting.webhook(NOWHERE)
    for parameters, code in (
        ({"stauts": "failed"}, "filter_unknown"),
        ({"status": "lost"}, "request_invalid"),
        ({"event_type": "product.create"}, "event_type_unknown"),
        ({"since": "yesterday"}, "request_invalid"),
        ({"since": "2026-03-02", "until": "2026-03-01T23:59:59Z"}, "filter_invalid"),
        ({"since": "2026-03-01", "until": "2026-03-01T01:00:00+01:00"}, "filter_invalid"),
        ({"sequence_from": 2**63}, "request_invalid"),
        ({"cursor": "WyJ3ZWJob29rcyIsMV0"}, "cursor_invalid"),
    ):
        response = await resting.call("GET", f"/webhooks/{webhook['id']}/deliveries", params=parameters)
        assert (response.status_code, response.json()["code"]) == (422, code)


async def test_a_page_is_as_long_as_its_payloads_allow(resting, database):
    webhook = await resting.webhook(NOWHERE)
    names = [f"{number} {'x' * (PAGE_BYTES // 5)}" for number in range(12)]
    for name in names:
        await made(database, webhook, body=json.dumps({"type": "a", "data": {"name": name}}).encode())
    items, pages = await walked(resting, webhook, payload=True, order="asc", limit=200)
    assert [item["payload"]["data"]["name"] for item in items] == names
    assert pages == 3  # 4 and a bit do not fit
    without = await listed(resting, webhook)
    assert [item["payload"] for item in without["items"]] == [None] * 12
    huge = await made(database, webhook, body=json.dumps({"name": "x" * 2 * PAGE_BYTES}).encode())
    (alone,) = (await listed(resting, webhook, payload=True))["items"]
    assert alone["id"] == str(huge.id)


async def test_responses_count_for_the_length_of_a_page_too(resting, database):
    webhook = await resting.webhook(NOWHERE)
    for _ in range(20):
        await made(database, webhook, status="failed", tries=ATTEMPTS_LISTED + 2, response="x" * 16_000)
    items, pages = await walked(resting, webhook)
    assert (len(items), pages) == (20, 2)
    numbers = [attempt["number"] for attempt in items[0]["attempts"]]
    assert numbers == list(range(3, ATTEMPTS_LISTED + 3))


async def test_a_delivery_whole(resting, database):
    webhook = await resting.webhook(NOWHERE)
    group, hour = uuid4(), timedelta(hours=1)
    payload = {
        "type": "import.completed",
        "timestamp": "2026-03-01T12:00:00Z",
        "data": {"name": "Käse\u2028"},
    }
    first = await made(
        database,
        webhook,
        body=json.dumps(payload, ensure_ascii=False).encode(),
        status="pending",
        ordered_by=group,
        tries=2,
        due_in=hour,
    )
    path = f"/webhooks/{webhook['id']}/deliveries/{first.id}"
    shown = (await resting.call("GET", path)).json()
    assert shown["webhook_id"] == f"msg_{first.id.hex}"
    assert shown["payload"] == payload
    assert [attempt["number"] for attempt in shown["attempts"]] == [1, 2]
    assert (shown["last_attempt"]["response_status"], shown["last_attempt"]["latency_ms"]) == (500, 7)
    due = datetime.fromisoformat(shown["next_attempt_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < due <= hour
    assert shown["links"] == {
        "self": f"/api/v1{path}",
        "webhook": f"/api/v1/webhooks/{webhook['id']}",
        "retry": f"/api/v1{path}/retry",
    }
    await made(database, webhook, status="pending", ordered_by=group, held=True)
    await made(database, webhook, status="pending", leased=True, due_in=hour)
    flying, held, _ = (await listed(resting, webhook))["items"]
    assert (held["held"], held["in_flight"], held["next_attempt_at"]) == (True, False, None)
    assert (flying["held"], flying["in_flight"], flying["next_attempt_at"]) == (False, True, None)


async def test_what_is_not_there(resting, database):
    webhook, other = await resting.webhook(NOWHERE), await resting.webhook(NOWHERE, tenant="harbour")
    theirs = await made(database, other)
    for endpoint, delivery, code in (
        (webhook["id"], uuid4(), "delivery_not_found"),
        (webhook["id"], theirs.id, "delivery_not_found"),
        (other["id"], theirs.id, "webhook_not_found"),
        (uuid4(), theirs.id, "webhook_not_found"),
    ):
        path = f"/webhooks/{endpoint}/deliveries/{delivery}"
        for response in (await resting.call("GET", path), await resting.call("POST", f"{path}/retry")):
            assert (response.status_code, response.json()["code"]) == (404, code)


async def test_a_receiver_that_was_away_sees_the_gap_and_fetches_it(notifier, database):
    lost = [Answer(503)] * 3
    async with receiving(Answer(), Answer(), *lost) as receiver:
        webhook = await notifier.webhook(receiver.url)
        seen = {}
        for number in range(1, 7):
            body = json.dumps({"type": "import.completed", "data": {"number": number}}).encode()
            await made(database, webhook, status="pending", body=body)
            request = (await receiver.wait_for(number))[-1]
            if number not in {3, 4, 5}:
                seen[int(request.headers["webhook-sequence"])] = request.verified(webhook["secret"])
    assert sorted(seen) == [1, 2, 6], "so it knows that it lacks 3 to 5"
    page = await listed(
        notifier, webhook, sequence_from=3, sequence_to=5, order="asc", payload=True, status="undelivered"
    )
    fetched = {item["sequence"]: item["payload"] for item in page["items"]}
    assert {number: payload["data"]["number"] for number, payload in (seen | fetched).items()} == {
        number: number for number in range(1, 7)
    }


async def test_what_the_version_before_inserts_is_numbered_too(resting, database):
    webhook = await resting.webhook(NOWHERE)
    await made(database, webhook)
    for _ in range(2):
        await database.execute(
            "INSERT INTO notifier.deliveries (tenant, endpoint_id, event_id, event_type, body)"
            " VALUES ('acme', $1, uuidv7(), 'import.failed', '{\"type\": \"import.failed\"}')",
            UUID(webhook["id"]),
        )
    await made(database, webhook)
    page = await listed(resting, webhook, payload=True)
    assert [item["sequence"] for item in page["items"]] == [4, 3, 2, 1]
    assert page["items"][1]["payload"] == {"type": "import.failed"}
