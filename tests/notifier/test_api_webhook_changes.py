"""Webhook endpoints over HTTP: changed, disabled and enabled."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

URL = "https://8.8.8.8/hook"
FAILING_SINCE = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


@pytest.fixture
async def webhook(edge):
    new = {
        "url": URL,
        "event_types": ["import.*"],
        "description": "Büro",
        "datasets": ["books"],
        "headers": {"Authorization": "Bearer open-sesame", "X-Team": "mill"},
        "rate_limit": 5,
    }
    created = (await edge.call("POST", "/webhooks", json=new)).json()
    created.pop("secret")
    return created


async def patched(edge, webhook, **changes):
    response = await edge.call("PATCH", f"/webhooks/{webhook['id']}", json=changes)
    assert response.status_code == 200, response.text
    shown = response.json()
    assert (await edge.call("GET", f"/webhooks/{webhook['id']}")).json() == shown
    return shown


async def fail(database, webhook, *, probe_at=None):
    await database.execute(
        "INSERT INTO notifier.endpoint_health (endpoint_id, tenant, failures, failing_since, last_failure_at, probe_at)"
        " VALUES ($1, 'acme', 7, $2, $3, $4)",
        webhook["id"],
        FAILING_SINCE,
        FAILING_SINCE + timedelta(hours=1),
        probe_at,
    )


async def test_a_merge_patch_changes_what_it_names(edge, webhook, subtests):
    for changes in (
        {"url": "https://8.8.4.4/other"},
        {"description": "Lager"},
        {"description": None},
        {"event_types": ["product.*", "import.failed"]},
        {"datasets": ["parts", "products"]},
        {"datasets": None},
        {"rate_limit": 1000},
        {"rate_limit": None},
        {"url": URL, "description": "Büro", "rate_limit": 1},
    ):
        with subtests.test(str(changes)):
            before = (await edge.call("GET", f"/webhooks/{webhook['id']}")).json()
            after = await patched(edge, webhook, **changes)
            assert after["updated_at"] > before["updated_at"]
            assert after == before | changes | {"updated_at": after["updated_at"]}


async def test_what_is_as_it_was_is_no_change(edge, webhook):
    shown = {
        name: webhook[name]
        for name in ("url", "description", "event_types", "datasets", "headers", "enabled")
    }
    assert await patched(edge, webhook, **shown) == webhook
    assert await patched(edge, webhook) == webhook


async def test_headers_are_merged_and_a_mask_keeps_its_value(edge, webhook, database):
    after = await patched(edge, webhook, headers={"Authorization": "********", "X-Team": None, "X-Room": "4"})
    assert after["headers"] == {"Authorization": "********", "X-Room": "4"}
    kept = json.loads(await database.fetchval("SELECT headers FROM notifier.endpoints"))
    assert kept == {"Authorization": "Bearer open-sesame", "X-Room": "4"}
    await patched(edge, webhook, headers=None)
    assert await database.fetchval("SELECT headers FROM notifier.endpoints") == "{}"


BAD_PATCHES = [
    ({"url": None}, "request_invalid"),
    ({"url": "ftp://x"}, "webhook_url_invalid"),
    ({"event_types": None}, "request_invalid"),
    ({"event_types": []}, "request_invalid"),
    ({"event_types": ["product.sold"]}, "event_type_unknown"),
    ({"datasets": ["boats"]}, "dataset_unknown"),
    ({"datasets": []}, "request_invalid"),
    ({"headers": {"webhook-id": "1"}}, "webhook_header_invalid"),
    ({"headers": {f"X-{number}": "" for number in range(19)}}, "webhook_header_invalid"),
    ({"enabled": None}, "request_invalid"),
    ({"enabled": "perhaps"}, "request_invalid"),
    ({"signature": None}, "request_invalid"),
    ({"rate_limit": 0}, "request_invalid"),
    ({"secret": "whsec_"}, "request_invalid"),
    ({"id": "1"}, "request_invalid"),
    ([], "request_invalid"),
]


async def test_a_bad_patch_changes_nothing(edge, webhook, subtests):
    for changes, code in BAD_PATCHES:
        with subtests.test(str(changes)):
            sent = changes and {"description": "changed", **changes}
            response = await edge.call("PATCH", f"/webhooks/{webhook['id']}", json=sent)
            assert (response.status_code, response.json()["code"]) == (422, code), response.text
    assert (await edge.call("GET", f"/webhooks/{webhook['id']}")).json() == webhook


async def test_a_merge_patch_may_be_called_one(edge, webhook):
    headers = {"Content-Type": "application/merge-patch+json"}
    path, body = f"/webhooks/{webhook['id']}", b'{"description": "Lager"}'
    response = await edge.call("PATCH", path, content=body, headers=headers)
    assert (response.status_code, response.json()["description"]) == (200, "Lager")


async def test_two_patches_of_headers_at_once_lose_nothing(edge, webhook):
    patches = [{f"X-{number}": str(number)} for number in range(8)]
    await asyncio.gather(*(patched_headers(edge, webhook, headers) for headers in patches))
    after = (await edge.call("GET", f"/webhooks/{webhook['id']}")).json()
    assert after["headers"].keys() == {"Authorization", "X-Team", *(f"X-{number}" for number in range(8))}


async def patched_headers(edge, webhook, headers):
    response = await edge.call("PATCH", f"/webhooks/{webhook['id']}", json={"headers": headers})
    assert response.status_code == 200


async def test_an_endpoint_is_paused_and_enabled(edge, webhook):
    paused = await patched(edge, webhook, enabled=False)
    assert (paused["enabled"], paused["disabled_reason"]) == (False, "paused")
    assert paused["disabled_at"] == paused["updated_at"]
    assert await patched(edge, webhook, enabled=False) == paused
    edge.app.state.woken.clear()
    enabled = await patched(edge, webhook, enabled=True)
    assert enabled == webhook | {"updated_at": enabled["updated_at"]}
    assert edge.app.state.woken


async def test_how_it_does_is_shown(edge, webhook, database):
    await fail(database, webhook)
    [shown] = (await edge.call("GET", "/webhooks")).json()["items"]
    assert shown["health"] == {
        "state": "failing",
        "failures": 7,
        "failing_since": _z(FAILING_SINCE),
        "last_failure_at": _z(FAILING_SINCE + timedelta(hours=1)),
        "next_probe_at": None,
        "disables_at": _z(FAILING_SINCE + timedelta(days=5)),
    }
    await database.execute("UPDATE notifier.endpoint_health SET probe_at = $1", FAILING_SINCE)
    open_ = (await edge.call("GET", f"/webhooks/{webhook['id']}")).json()["health"]
    assert (open_["state"], open_["next_probe_at"]) == ("open", _z(FAILING_SINCE))
    await database.execute(
        "UPDATE notifier.endpoint_health SET failures = 0, failing_since = NULL, last_failure_at = NULL,"
        " probe_at = NULL, paced_to = now()"
    )
    assert await patched(edge, webhook) == webhook


async def test_enabling_one_that_failed_too_long_forgets_its_health(edge, webhook, database):
    await fail(database, webhook, probe_at=FAILING_SINCE)
    await database.execute(
        "UPDATE notifier.endpoints SET enabled = false, disabled_reason = 'failing', disabled_at = $1",
        FAILING_SINCE,
    )
    stays = await patched(edge, webhook, enabled=False)
    assert (stays["disabled_reason"], stays["disabled_at"]) == ("failing", _z(FAILING_SINCE))
    assert (stays["health"]["failures"], stays["health"]["disables_at"]) == (7, None)
    after = await patched(edge, webhook, enabled=True)
    assert after == webhook | {"updated_at": after["updated_at"]}


async def test_another_url_is_another_endpoint_as_to_health(edge, webhook, database):
    await fail(database, webhook)
    for changes in ({"url": URL}, {"rate_limit": 7}, {"enabled": True}):
        assert (await patched(edge, webhook, **changes))["health"]["failures"] == 7
    after = await patched(edge, webhook, url="https://8.8.4.4/hook")
    assert after["health"] == webhook["health"]


def _z(moment):
    return moment.isoformat().replace("+00:00", "Z")
