"""Receipts signed with Ed25519 (RFC 8032), in the JSON Signature Format (JSF), over canonical JSON (RFC 8785). Pure.

The receipt carries its signature in a member of its own: `{…, "signature": {"algorithm", "keyId", "value"}}`. Signed is the
whole document without `value`, so that nobody can change what the signature says of itself either. Keys are told apart by
their thumbprint (RFC 7638) and published as a JWK Set (RFC 7517, RFC 8037).
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import rfc8785
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

ALGORITHM = "Ed25519"

_FRAME = re.compile(r"-----(BEGIN|END) (PRIVATE|PUBLIC) KEY-----")


class NotAKey(ValueError):
    """A text is no key of the kind that is needed. The message does not show the text."""


class ReceiptKeys:
    """The key that signs, and those that are published: its own, and further ones such as its predecessors'."""

    def __init__(self, private_key: Ed25519PrivateKey, further: Sequence[Ed25519PublicKey] = ()) -> None:
        self._private_key = private_key
        own = public_jwk(private_key.public_key())
        published = {jwk["kid"]: jwk for jwk in (own, *map(public_jwk, further))}
        self._key_id = own["kid"]
        self.jwk_set = {"keys": list(published.values())}

    def signed(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """`document`, a JSON object, with its signature. The same document always has the same."""
        signature = {"algorithm": ALGORITHM, "keyId": self._key_id}
        to_be_signed = rfc8785.dumps({**document, "signature": signature})
        value = base64url(self._private_key.sign(to_be_signed))
        return {**document, "signature": signature | {"value": value}}


def private_key_of(text: str) -> Ed25519PrivateKey:
    """The key in `text`: PKCS#8 as PEM, or the base64 that stands in a PEM file, in one line.

    Raises:
        NotAKey: it is none.
    """
    try:
        key = load_der_private_key(_der(text), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise NotAKey("it is no Ed25519 private key, in PEM or as the base64 of its DER")
    return key


def public_key_of(text: str) -> Ed25519PublicKey:
    """The key in `text`: SubjectPublicKeyInfo, written as in `private_key_of`.

    Raises:
        NotAKey: it is none.
    """
    try:
        key = load_der_public_key(_der(text))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise NotAKey("it is no Ed25519 public key, in PEM or as the base64 of its DER")
    return key


def _der(text: str) -> bytes:
    return base64.b64decode("".join(_FRAME.sub("", text).split()), validate=True)


def public_jwk(key: Ed25519PublicKey) -> dict[str, str]:
    """The key as a JSON Web Key (RFC 8037, section 2)."""
    named = {"crv": ALGORITHM, "kty": "OKP", "x": base64url(key.public_bytes_raw())}
    # What a thumbprint is of (RFC 7638, section 3; RFC 8037, appendix A.3).
    thumbprint = hashlib.sha256(json.dumps(named, separators=(",", ":"), sort_keys=True).encode()).digest()
    return named | {"kid": base64url(thumbprint), "use": "sig", "alg": "EdDSA"}


def base64url(data: bytes) -> str:
    """Without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
