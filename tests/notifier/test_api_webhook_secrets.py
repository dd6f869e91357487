"""Webhook secrets and key pairs over HTTP: shown, replaced, forgotten."""

from datetime import UTC, datetime, timedelta

import pytest

from services.notifier.delivery.signing import new_secret


@pytest.fixture
async def webhook(edge):
    return await edge.webhook("https://8.8.8.8/hook")


async def secret_of(edge, webhook):
    response = await edge.call("GET", f"/webhooks/{webhook['id']}/secret")
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    assert "whsk_" not in response.text
    return response.json()


async def rotate(edge, webhook, **rotation):
    return await edge.call("POST", f"/webhooks/{webhook['id']}/rotate-secret", json=rotation)


async def rotated(edge, webhook, **rotation):
    response = await rotate(edge, webhook, **rotation)
    assert response.status_code == 200, response.text
    assert "whsk_" not in response.text
    return response.json()


def hours_until(moment):
    return (datetime.fromisoformat(moment) - datetime.now(UTC)) / timedelta(hours=1)


async def test_a_secret_is_shown_on_demand(edge, webhook):
    assert await secret_of(edge, webhook) == {"secret": webhook["secret"], "public_key": None, "retired": []}


async def test_a_rotation_keeps_the_old_secret_for_a_day(edge, webhook):
    path = f"/webhooks/{webhook['id']}/rotate-secret"
    after = (await edge.call("POST", path)).json()  # no body at all
    assert after["secret"] != webhook["secret"]
    assert after["retired"] == [
        {"secret": webhook["secret"], "public_key": None, "expires_at": after["overlap_ends_at"]}
    ]
    assert 23.9 < hours_until(after.pop("overlap_ends_at")) <= 24
    assert await secret_of(edge, webhook) == after


async def test_how_long_and_which_secret_may_be_said(edge, webhook):
    own = new_secret()
    week = await rotated(edge, webhook, secret=own, overlap_hours=168)
    assert week["secret"] == own
    assert 167.9 < hours_until(week["overlap_ends_at"]) <= 168
    at_once = await rotated(edge, webhook, overlap_hours=0)
    assert at_once["overlap_ends_at"] is None
    assert [one["secret"] for one in at_once["retired"]] == [webhook["secret"]]


async def test_a_rotation_may_be_taken_back(edge, webhook):
    new = (await rotated(edge, webhook))["secret"]
    back = await rotated(edge, webhook, secret=webhook["secret"])
    assert (back["secret"], [one["secret"] for one in back["retired"]]) == (webhook["secret"], [new])
    same = await rotate(edge, webhook, secret=webhook["secret"])
    assert (same.status_code, same.json()["code"]) == (409, "webhook_secret_in_use")
    assert await secret_of(edge, webhook) == {
        name: back[name] for name in ("secret", "public_key", "retired")
    }


async def test_what_has_expired_is_neither_shown_nor_counted(edge, webhook, database):
    made = [(await rotated(edge, webhook, overlap_hours=hours))["secret"] for hours in (3, 1, 5, 4, 2)]
    old = [webhook["secret"], *made]
    before = await secret_of(edge, webhook)
    assert [one["secret"] for one in before["retired"]] == [old[2], old[3], old[0], old[4], old[1]]
    full = await rotate(edge, webhook)
    assert (full.status_code, full.json()["code"]) == (409, "webhook_secret_limit")
    first = datetime.fromisoformat(before["retired"][-1]["expires_at"])
    assert first.isoformat() in full.json()["detail"]
    assert await secret_of(edge, webhook) == before

    await database.execute("UPDATE notifier.retired_secrets SET expires_at = now() WHERE secret = $1", old[1])
    assert (await secret_of(edge, webhook))["retired"] == before["retired"][:-1]
    assert len((await rotated(edge, webhook, overlap_hours=6))["retired"]) == 5
    assert await database.fetchval("SELECT count(*) FROM notifier.retired_secrets") == 5
    assert (await rotated(edge, webhook, overlap_hours=0))["overlap_ends_at"] is None


async def test_a_key_pair_is_made_replaced_and_forgotten(edge, webhook, database):
    without = await rotate(edge, webhook, signature="ed25519")
    assert (without.status_code, without.json()["code"]) == (409, "webhook_without_key_pair")
    path = f"/webhooks/{webhook['id']}"
    first = (await edge.call("PATCH", path, json={"signature": "ed25519"})).json()["public_key"]
    assert first.startswith("whpk_")
    again = (await edge.call("PATCH", path, json={"signature": "ed25519"})).json()
    assert (again["signature"], again["public_key"]) == ("ed25519", first)

    after = await rotated(edge, webhook, signature="ed25519")
    assert after["secret"] == webhook["secret"]
    assert after["public_key"] != first
    assert [(one["secret"], one["public_key"]) for one in after["retired"]] == [(None, first)]
    for _ in range(5):  # those of the other kind do not count
        after = await rotated(edge, webhook)
    assert len(after["retired"]) == 6
    assert (await edge.call("GET", path)).json()["public_key"] == after["public_key"]

    hmac = (await edge.call("PATCH", path, json={"signature": "hmac"})).json()
    assert (hmac["signature"], hmac["public_key"]) == ("hmac", None)
    assert len((await secret_of(edge, webhook))["retired"]) == 5
    stored = "SELECT (SELECT count(*) FROM notifier.retired_secrets WHERE secret ^@ 'whsk_') + count(private_key) FROM notifier.endpoints"
    assert await database.fetchval(stored) == 0


BAD_ROTATIONS = [
    {"overlap_hours": -1},
    {"overlap_hours": 169},
    {"overlap_hours": 1.5},
    {"overlap_hours": None},
    {"secret": "mine"},
    {"secret": "whsec_c2hvcnQ="},
    {"signature": "rsa"},
    {"signature": "ed25519", "secret": new_secret()},
    {"seconds": 1},
]


async def test_bad_rotations_change_nothing(edge, webhook, subtests):
    for rotation in BAD_ROTATIONS:
        with subtests.test(str(rotation)):
            response = await rotate(edge, webhook, **rotation)
            assert (response.status_code, response.json()["code"]) == (422, "request_invalid")
            assert str(rotation.get("secret", "?")) not in response.text
    assert (await secret_of(edge, webhook))["secret"] == webhook["secret"]
