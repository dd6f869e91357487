"""Standard Webhooks 1.0 signatures: `v1` (HMAC-SHA256, `whsec_…`) and `v1a` (ed25519, `whsk_…` and `whpk_…`). Pure."""

import base64
import hmac
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Signature = Literal["hmac", "ed25519"]

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of a secret, not one
PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"

SECRET_BYTES = 32
LEAST_SECRET_BYTES, MOST_SECRET_BYTES = 24, 64  # as the specification has it, "Signature scheme"
SEED_BYTES = (
    32  # an ed25519 private key is written down as its seed and its public key (RFC 8032, section 5.1.5)
)

_NO_BASE64 = f"must be base64 behind `{SECRET_PREFIX}`, with its padding"


def new_secret() -> str:
    """A fresh secret of 256 random bits: `whsec_` and base64."""
    return _written(SECRET_PREFIX, secrets.token_bytes(SECRET_BYTES))


def new_private_key() -> str:
    """A fresh ed25519 key pair: `whsk_` and base64 of the 32 bytes of the seed and the 32 of the public key."""
    key = Ed25519PrivateKey.generate()
    return _written(PRIVATE_PREFIX, key.private_bytes_raw() + key.public_key().public_bytes_raw())


def public_key_of(private_key: str) -> str:
    """What a receiver verifies `v1a` with: `whpk_` and base64 of 32 bytes."""
    return _written(PUBLIC_PREFIX, _bytes_of(private_key, PRIVATE_PREFIX)[SEED_BYTES:])


def signature_of(key: str) -> Signature:
    """What `key`, a secret or a private key, signs."""
    return "ed25519" if key.startswith(PRIVATE_PREFIX) else "hmac"


def checked_secret(text: str) -> str:
    """`text`, if it is a secret as the specification has it.

    Raises:
        ValueError: it is not `whsec_` and base64 of 24 to 64 bytes. The message does not repeat it.
    """
    if not text.startswith(SECRET_PREFIX):
        raise ValueError(f"must begin with `{SECRET_PREFIX}`")
    try:
        secret = _bytes_of(text, SECRET_PREFIX)
    except ValueError as error:
        raise ValueError(_NO_BASE64) from error
    if (
        _written(SECRET_PREFIX, secret) != text
    ):  # receivers in other languages would not read it, or as another one
        raise ValueError(_NO_BASE64)
    size = len(secret)
    if not LEAST_SECRET_BYTES <= size <= MOST_SECRET_BYTES:
        raise ValueError(f"must be {LEAST_SECRET_BYTES} to {MOST_SECRET_BYTES} bytes, and is {size}")
    return text


def signed_headers(keys: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt. The id stays the same over all attempts, the timestamp does not.

    Args:
        keys: `whsec_…` and `whsk_…`: the list of signatures has one for each, in this order.
        timestamp: Of the attempt, in Unix seconds.

    Raises:
        ValueError: a key is malformed. The message does not repeat it.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signer(key)(content) for key in keys),
    }


@lru_cache(maxsize=4096)  # to read a key takes longer than to sign with it
def _signer(key: str) -> Callable[[bytes], str]:
    """What makes the signature, `<version>,<base64>`, of a content."""
    if signature_of(key) == "ed25519":
        private_key = Ed25519PrivateKey.from_private_bytes(_bytes_of(key, PRIVATE_PREFIX)[:SEED_BYTES])
        return lambda content: _written("v1a,", private_key.sign(content))
    secret = _bytes_of(key, SECRET_PREFIX)
    return lambda content: _written("v1,", hmac.digest(secret, content, "sha256"))


def _bytes_of(key: str, prefix: str) -> bytes:
    return base64.b64decode(key.removeprefix(prefix), validate=True)


def _written(prefix: str, value: bytes) -> str:
    return prefix + base64.b64encode(value).decode()
