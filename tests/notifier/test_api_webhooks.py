"""Webhook endpoints over HTTP: created, listed, shown, deleted."""

import base64
import json
from uuid import uuid4

from services.notifier.delivery.signing import new_secret
from tests.notifier.conftest import endpoints_alone

URL = "https://8.8.8.8/hook"
JSON = {"Content-Type": "application/json"}
ASKED = {"url": URL, "event_types": ["import.*"]}
WELL = {
    "state": "healthy",
    "failures": 0,
    "failing_since": None,
    "last_failure_at": None,
    "next_probe_at": None,
    "disables_at": None,
}


async def listed(edge, **parameters):
    response = await edge.call("GET", "/webhooks", params=parameters)
    assert response.status_code == 200, response.text
    return [item["description"] for item in response.json()["items"]]


async def test_a_webhook_is_created_shown_listed_and_deleted(edge):
    new = {**ASKED, "event_types": ["import.*", "product.*", "import.*"], "description": "Büro"}
    created = await edge.call("POST", "/webhooks", json=new)
    assert created.status_code == 201, created.text
    assert created.headers["Cache-Control"] == "no-store"
    webhook = created.json()
    here = f"/api/v1/webhooks/{webhook['id']}"
    assert created.headers["Location"] == here
    secret = webhook.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert webhook == {
        "id": webhook["id"],
        "url": URL,
        "description": "Büro",
        "event_types": ["import.*", "product.*"],
        "datasets": None,
        "headers": {},
        "rate_limit": None,
        "signature": "hmac",
        "public_key": None,
        "enabled": True,
        "disabled_reason": None,
        "disabled_at": None,
        "last_sequence": 0,
        "health": WELL,
        "created_at": webhook["created_at"],
        "updated_at": webhook["created_at"],
        "links": {
            "self": here,
            "secret": f"{here}/secret",
            "rotate_secret": f"{here}/rotate-secret",
            "deliveries": f"{here}/deliveries",
            "test": f"{here}/test",
            "replay": f"{here}/replay",
        },
    }
    assert (await edge.call("GET", f"/webhooks/{webhook['id']}")).json() == webhook
    page = (await edge.call("GET", "/webhooks")).json()
    assert page == {"items": [webhook], "next_cursor": None, "total": None}

    deleted = await edge.call("DELETE", f"/webhooks/{webhook['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await edge.call("GET", f"/webhooks/{webhook['id']}")).status_code == 404
    assert (await edge.call("DELETE", f"/webhooks/{webhook['id']}")).status_code == 404


async def test_all_that_an_endpoint_may_have(edge, database):
    secret = new_secret()
    new = {
        **ASKED,
        "event_types": ["*"],
        "datasets": ["books", "products", "books"],
        "headers": {"Authorization": "Bearer open-sesame", "X-Team": "mill"},
        "rate_limit": 50,
        "signature": "ed25519",
        "secret": secret,
    }
    created = await edge.call("POST", "/webhooks", json=new)
    assert created.status_code == 201, created.text
    webhook = created.json()
    assert webhook["datasets"] == ["books", "products"]
    assert webhook["headers"] == {"Authorization": "********", "X-Team": "mill"}
    assert (webhook["rate_limit"], webhook["signature"], webhook["secret"]) == (50, "ed25519", secret)
    assert len(base64.b64decode(webhook["public_key"].removeprefix("whpk_"))) == 32
    for answer in (created, await edge.call("GET", "/webhooks")):
        assert "open-sesame" not in answer.text
        assert "whsk_" not in answer.text
    kept = await database.fetchrow("SELECT headers, private_key FROM notifier.endpoints")
    assert json.loads(kept["headers"])["Authorization"] == "Bearer open-sesame"
    assert kept["private_key"].startswith("whsk_")


BAD_INPUT = [
    ({**ASKED, "url": "ftp://x/"}, "webhook_url_invalid"),
    ({**ASKED, "url": "nonsense"}, "webhook_url_invalid"),
    ({**ASKED, "url": "https://user:pw@x/"}, "webhook_url_invalid"),
    ({**ASKED, "event_types": ["import.exploded"]}, "event_type_unknown"),
    ({**ASKED, "event_types": ["records.changed"]}, "event_type_unknown"),
    ({**ASKED, "datasets": ["books", "boats"]}, "dataset_unknown"),
    ({**ASKED, "headers": {"Host": "x"}}, "webhook_header_invalid"),
    ({**ASKED, "headers": {"X-Team": "a\r\nX-Injected: b"}}, "webhook_header_invalid"),
    ({**ASKED, "headers": {"Authorization": "********"}}, "webhook_header_invalid"),
    ({**ASKED, "headers": {"X-Team": None}}, "request_invalid"),
    ({**ASKED, "headers": ["X-Team"]}, "request_invalid"),
    ({**ASKED, "event_types": []}, "request_invalid"),
    ({**ASKED, "datasets": []}, "request_invalid"),
    ({"url": URL}, "request_invalid"),
    ({"event_types": ["import.*"]}, "request_invalid"),
    ({**ASKED, "secret": "mine"}, "request_invalid"),
    ({**ASKED, "secret": "whsec_" + base64.b64encode(bytes(65)).decode()}, "request_invalid"),
    ({**ASKED, "signature": "rsa"}, "request_invalid"),
    ({**ASKED, "rate_limit": 0}, "request_invalid"),
    ({**ASKED, "rate_limit": 1001}, "request_invalid"),
    ({**ASKED, "enabled": False}, "request_invalid"),
    ({**ASKED, "description": "a\0b"}, "request_invalid"),
    ({**ASKED, "url": URL + "x" * 3000}, "request_invalid"),
    ({**ASKED, "url": "https://x/\ud800"}, "request_invalid"),
    ({**ASKED, "event_types": ["\ud800"]}, "request_invalid"),
    ({**ASKED, "headers": {"X-\ud800": "a"}}, "request_invalid"),
    ([], "request_invalid"),
]


async def test_bad_input_is_told_and_stores_nothing(edge, subtests):
    for body, code in BAD_INPUT:
        with subtests.test(str(body)):
            response = await edge.call("POST", "/webhooks", content=json.dumps(body), headers=JSON)
            assert (response.status_code, response.json()["code"]) == (422, code)
            assert response.headers["Content-Type"] == "application/problem+json"
    assert (await edge.call("GET", "/webhooks")).json()["items"] == []


async def test_private_targets_are_forbidden_by_default(environment, monkeypatch, subtests):
    monkeypatch.delenv("PENSTOCK_WEBHOOK_ALLOW_PRIVATE")
    async with endpoints_alone(environment) as notifier:
        webhook = await notifier.webhook(URL)
        for url in ("http://127.0.0.1/", "http://localhost:9000/", "http://[::ffff:10.0.0.1]/"):
            with subtests.test(url):
                created = await notifier.call("POST", "/webhooks", json={**ASKED, "url": url})
                changed = await notifier.call("PATCH", f"/webhooks/{webhook['id']}", json={"url": url})
                for response in (created, changed):
                    assert (response.status_code, response.json()["code"]) == (422, "webhook_url_forbidden")
                    assert response.json()["hint"]


async def test_a_tenant_sees_only_its_own(edge):
    webhook = await edge.webhook(URL)
    asked = [("GET", "", {}), ("PATCH", "", {"json": {"enabled": False}}), ("DELETE", "", {})]
    asked += [("GET", "/secret", {}), ("POST", "/rotate-secret", {})]
    for method, path, request in asked:
        response = await edge.call(method, f"/webhooks/{webhook['id']}{path}", tenant="other", **request)
        assert (response.status_code, response.json()["code"]) == (404, "webhook_not_found")
    assert (await edge.call("GET", "/webhooks", tenant="other")).json()["items"] == []
    webhook.pop("secret")
    assert (await edge.call("GET", f"/webhooks/{webhook['id']}")).json() == webhook


async def test_the_scope_is_needed(edge):
    response = await edge.call("GET", "/webhooks", scopes=["investigations:read"])
    assert (response.status_code, response.json()["code"]) == (403, "scope_missing")
    assert (await edge.client.get("/api/v1/webhooks")).status_code == 401


async def test_fifty_are_enough(edge, database):
    await database.execute(
        "INSERT INTO notifier.endpoints (tenant, url, event_types, secret)"
        " SELECT 'acme', $1, ARRAY['import.*'], 'whsec_' FROM generate_series(1, 49)",
        URL,
    )
    await edge.webhook(URL)
    response = await edge.call("POST", "/webhooks", json=ASKED)
    assert (response.status_code, response.json()["code"]) == (409, "webhook_limit")
    await edge.webhook(URL, tenant="other")


async def test_pages_hold_each_webhook_once(edge):
    created = [(await edge.webhook(URL))["id"] for _ in range(5)]
    found, parameters = [], {"limit": 2, "total": "exact"}
    while True:
        page = (await edge.call("GET", "/webhooks", params=parameters)).json()
        found += [item["id"] for item in page["items"]]
        assert page["total"] == 5
        parameters["cursor"] = page["next_cursor"]
        if page["next_cursor"] is None:
            break
    assert found == created[::-1]


async def test_a_list_is_narrowed(edge):
    for new in (
        {"description": "all of it", "event_types": ["*"]},
        {
            "description": "products of Mill",
            "event_types": ["product.*"],
            "url": "https://8.8.8.8/100%25_off",
        },
        {"description": "deletions", "event_types": ["product.deleted"], "datasets": ["products"]},
        {"description": "imports of books", "datasets": ["books", "parts"]},
    ):
        await edge.call("POST", "/webhooks", json={**ASKED, **new})
    assert await listed(edge, event_type="product.created") == ["products of Mill", "all of it"]
    assert await listed(edge, event_type="product.*") == ["products of Mill", "all of it"]
    assert await listed(edge, event_type="import.failed") == ["imports of books", "all of it"]
    assert await listed(edge, event_type="*") == ["all of it"]
    assert await listed(edge, dataset="products") == ["deletions", "products of Mill", "all of it"]
    assert await listed(edge, q="mill") == ["products of Mill"]
    assert await listed(edge, q="%25_") == ["products of Mill"]
    assert await listed(edge, enabled="false") == []
    assert len(await listed(edge, enabled="true")) == 4
    first = (await edge.call("GET", "/webhooks", params={"limit": 1, "q": "l", "total": "estimate"})).json()
    assert first["total"] == 3
    other = await edge.call("GET", "/webhooks", params={"cursor": first["next_cursor"]})
    assert (other.status_code, other.json()["code"]) == (422, "cursor_invalid")


BAD_PAGES = [
    ({"limit": 0}, "request_invalid"),
    ({"limit": 201}, "request_invalid"),
    ({"cursor": "nonsense!"}, "cursor_invalid"),
    ({"cursor": ""}, "cursor_invalid"),
    ({"event_type": "import.exploded"}, "event_type_unknown"),
    ({"event_type": ""}, "event_type_unknown"),
    ({"dataset": "boats"}, "dataset_unknown"),
    ({"q": "a\0"}, "request_invalid"),
    ({"enabled": "perhaps"}, "request_invalid"),
    ({"enabld": "true"}, "filter_unknown"),
]


async def test_bad_pages(edge, subtests):
    for parameters, code in BAD_PAGES:
        with subtests.test(str(parameters)):
            response = await edge.call("GET", "/webhooks", params=parameters)
            assert (response.status_code, response.json()["code"]) == (422, code)


async def test_unknown_and_malformed_ids(edge):
    assert (await edge.call("GET", f"/webhooks/{uuid4()}/secret")).status_code == 404
    assert (await edge.call("GET", "/webhooks/nonsense")).status_code == 422


async def test_health_tells_of_the_worker(notifier):
    health = (await notifier.client.get("/health/ready")).json()
    assert health["status"] == "ok"
    assert {check["name"] for check in health["services"]["notifier"]} >= {"database", "delivery"}
