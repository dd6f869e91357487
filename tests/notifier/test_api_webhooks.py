"""Webhook endpoints over HTTP."""

import base64
import json
from uuid import uuid4

import pytest

from tests.notifier.conftest import running

URL = "https://8.8.8.8/hook"
JSON = {"Content-Type": "application/json"}


async def test_a_webhook_is_created_shown_listed_and_deleted(notifier):
    created = await notifier.call(
        "POST",
        "/webhooks",
        json={"url": URL, "event_types": ["import.*", "import.*"], "description": "Büro"},
    )
    assert created.status_code == 201
    webhook = created.json()
    assert created.headers["Location"] == f"/api/v1/webhooks/{webhook['id']}"
    secret = webhook.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert webhook["event_types"] == ["import.*"]
    assert webhook["enabled"] is True

    assert (await notifier.call("GET", f"/webhooks/{webhook['id']}")).json() == webhook
    assert (await notifier.call("GET", "/webhooks")).json() == {"items": [webhook], "next_cursor": None}

    deleted = await notifier.call("DELETE", f"/webhooks/{webhook['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await notifier.call("GET", f"/webhooks/{webhook['id']}")).status_code == 404
    assert (await notifier.call("DELETE", f"/webhooks/{webhook['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": "ftp://x/", "event_types": ["import.*"]}, "webhook_url_invalid"),
        ({"url": "nonsense", "event_types": ["import.*"]}, "webhook_url_invalid"),
        ({"url": "https://user:pw@x/", "event_types": ["import.*"]}, "webhook_url_invalid"),
        ({"url": URL, "event_types": ["import.exploded"]}, "event_type_unknown"),
        ({"url": URL, "event_types": ["*"]}, "event_type_unknown"),
        ({"url": URL, "event_types": []}, "request_invalid"),
        ({"url": URL}, "request_invalid"),
        ({"event_types": ["import.*"]}, "request_invalid"),
        ({"url": URL, "event_types": ["import.*"], "secret": "mine"}, "request_invalid"),
        ({"url": URL, "event_types": ["import.*"], "description": "a\0b"}, "request_invalid"),
        ({"url": URL + "x" * 3000, "event_types": ["import.*"]}, "request_invalid"),
        ({"url": "https://x/\ud800", "event_types": ["import.*"]}, "request_invalid"),
        ({"url": URL, "event_types": ["\ud800"]}, "request_invalid"),
        ([], "request_invalid"),
    ],
)
async def test_bad_input_is_told_and_stores_nothing(notifier, body, code):
    response = await notifier.call("POST", "/webhooks", content=json.dumps(body), headers=JSON)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (await notifier.call("GET", "/webhooks")).json()["items"] == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://localhost:9000/", "http://[::ffff:10.0.0.1]/", "http://2130706433/"]
)
async def test_private_targets_are_forbidden_by_default(environment, monkeypatch, url):
    monkeypatch.delenv("PENSTOCK_WEBHOOK_ALLOW_PRIVATE")
    async with running(environment) as notifier:
        response = await notifier.call("POST", "/webhooks", json={"url": url, "event_types": ["import.*"]})
    assert (response.status_code, response.json()["code"]) == (422, "webhook_url_forbidden")


async def test_a_tenant_sees_only_its_own(notifier):
    webhook = await notifier.webhook(URL)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/deliveries")):
        response = await notifier.call(method, f"/webhooks/{webhook['id']}{path}", tenant="other")
        assert (response.status_code, response.json()["code"]) == (404, "webhook_not_found")
    assert (await notifier.call("GET", "/webhooks", tenant="other")).json()["items"] == []
    assert (await notifier.call("GET", f"/webhooks/{webhook['id']}")).status_code == 200


async def test_the_scope_is_needed(notifier):
    response = await notifier.call("GET", "/webhooks", scopes=["investigations:read"])
    assert (response.status_code, response.json()["code"]) == (403, "scope_missing")
    assert (await notifier.client.get("/api/v1/webhooks")).status_code == 401


async def test_fifty_are_enough(notifier):
    for _ in range(50):
        await notifier.webhook(URL)
    response = await notifier.call("POST", "/webhooks", json={"url": URL, "event_types": ["import.*"]})
    assert (response.status_code, response.json()["code"]) == (409, "webhook_limit")
    await notifier.webhook(URL, tenant="other")


async def test_pages_hold_each_webhook_once(notifier):
    created = [(await notifier.webhook(URL))["id"] for _ in range(5)]
    found, parameters = [], {"limit": 2}
    while True:
        page = (await notifier.call("GET", "/webhooks", params=parameters)).json()
        found += [item["id"] for item in page["items"]]
        parameters["cursor"] = page["next_cursor"]
        if page["next_cursor"] is None:
            break
    assert found == created[::-1]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"limit": 0}, "request_invalid"),
        ({"limit": 201}, "request_invalid"),
        ({"cursor": "nonsense!"}, "cursor_invalid"),
        ({"cursor": "YWJj"}, "cursor_invalid"),
        ({"cursor": ""}, "cursor_invalid"),
    ],
)
async def test_bad_pages(notifier, parameters, code):
    response = await notifier.call("GET", "/webhooks", params=parameters)
    assert (response.status_code, response.json()["code"]) == (422, code)


async def test_unknown_and_malformed_ids(notifier):
    assert (await notifier.call("GET", f"/webhooks/{uuid4()}/deliveries")).status_code == 404
    assert (await notifier.call("GET", "/webhooks/nonsense")).status_code == 422


async def test_health_tells_of_the_worker(notifier):
    health = (await notifier.client.get("/health/ready")).json()
    assert health["status"] == "ok"
    assert {check["name"] for check in health["services"]["notifier"]} >= {"database", "delivery"}
