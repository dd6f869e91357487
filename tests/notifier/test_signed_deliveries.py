"""What endpoints say of themselves shows in what their receivers get: signatures over a rotation, headers."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import WebhookVerificationError

from tests.notifier.given import completed
from tests.notifier.receiver import Answer, receiving


def verify_with_public_key(public_key, received):
    """As a receiver does who has nothing secret."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    headers = received.headers
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + received.body
    [signature] = [one for one in headers["webhook-signature"].split(" ") if one.startswith("v1a,")]
    key.verify(base64.b64decode(signature.removeprefix("v1a,")), content)


async def test_over_a_rotation_each_receiver_finds_a_signature_it_can_check(notifier, publish, database):
    async with receiving() as receiver:
        new = {
            "url": receiver.url,
            "event_types": ["*"],
            "signature": "ed25519",
            "headers": {"Authorization": "Bearer open-sesame", "X-Team": "mill"},
        }
        created = (await notifier.call("POST", "/webhooks", json=new)).json()
        old, path = created["secret"], f"/webhooks/{created['id']}"

        await publish(completed())
        [first] = await receiver.wait_for(1)
        assert first.verified(old)["type"] == "import.completed"
        verify_with_public_key(created["public_key"], first)
        assert [one.partition(",")[0] for one in first.headers["webhook-signature"].split(" ")] == [
            "v1",
            "v1a",
        ]
        assert (first.headers["authorization"], first.headers["x-team"]) == ("Bearer open-sesame", "mill")
        assert first.headers["user-agent"].startswith("Penstock-Webhooks")

        present = (await notifier.call("POST", f"{path}/rotate-secret")).json()["secret"]
        await notifier.call("PATCH", path, json={"headers": {"X-Team": None, "Authorization": "********"}})
        await publish(completed())
        second = (await receiver.wait_for(2))[1]
        assert second.verified(old) == second.verified(present)
        assert second.headers["authorization"] == "Bearer open-sesame"
        assert "x-team" not in second.headers

        await database.execute("UPDATE notifier.retired_secrets SET expires_at = now()")
        await notifier.call("PATCH", path, json={"signature": "hmac"})
        await publish(completed())
        third = (await receiver.wait_for(3))[2]
        assert third.verified(present)["type"] == "import.completed"
        with pytest.raises(WebhookVerificationError):
            third.verified(old)
        assert third.headers["webhook-signature"].count(",") == 1


async def test_an_endpoint_that_is_enabled_gets_what_waited(notifier, publish, database, eventually):
    async with receiving(Answer(status=500)) as receiver:
        webhook = await notifier.webhook(receiver.url)
        path = f"/webhooks/{webhook['id']}"
        await publish(completed())
        await eventually("SELECT count(*) FROM notifier.attempts", gives=1)
        assert (await notifier.call("GET", path)).json()["health"]["state"] == "failing"
        paused = await notifier.call("PATCH", path, json={"enabled": False})
        assert paused.json()["disabled_reason"] == "paused"
        await publish(completed())
        await eventually("SELECT count(*) FROM notifier.deliveries WHERE status = 'skipped'", gives=1)
        await database.execute(
            "UPDATE notifier.deliveries SET next_attempt_at = now() WHERE status = 'pending'"
        )

        enabled = (await notifier.call("PATCH", path, json={"enabled": True})).json()
        assert (enabled["health"]["state"], enabled["last_sequence"]) == ("healthy", 2)
        statuses = "SELECT string_agg(status, ' ' ORDER BY sequence) FROM notifier.deliveries"
        await eventually(statuses, gives="succeeded skipped")
        assert [one.headers["webhook-sequence"] for one in receiver.received] == ["1", "1"]
        assert len({one.headers["webhook-id"] for one in receiver.received}) == 1
