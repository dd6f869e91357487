"""Standard Webhooks 1.0 signatures, symmetric scheme `v1` (HMAC-SHA256). Pure."""

import base64
import hashlib
import hmac
import secrets

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of a secret, not one
SECRET_BYTES = 32  # the specification wants 24 to 64


def new_secret() -> str:
    """A fresh secret of 256 random bits: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature `v1,<base64>` over `message_id.timestamp.body`; `timestamp` in Unix seconds.

    Raises:
        ValueError: the secret is not base64, with or without its prefix.
    """
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    content = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def signed_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt. The id stays the same over all attempts, the timestamp does not."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret, message_id, timestamp, body),
    }
