"""Receipts as anybody can check them: by their signature (JSF: Ed25519 over RFC 8785), and by their own counts. Pure."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Json = dict[str, Any]

ALGORITHM = "Ed25519"
KEYS_PATH = "/api/v1/receipts/keys"
READ = "rows_read"
PARTS = ("rows_inserted", "rows_updated", "rows_unchanged", "rows_duplicate", "rows_rejected")
_SIGNATURE = frozenset({"algorithm", "keyId", "value"})


class NoReceipt(ValueError):
    """What was given is no JSON object, or none that two readers would understand in the same way."""


class NoKeys(ValueError):
    """What was given is no JWK Set."""


class ReceiptWrong(ValueError):
    """The receipt is not what was signed, or its counts do not add up; the message says which."""


def receipt_from(text: bytes) -> Json:
    """The receipt in `text`.

    Raises:
        NoReceipt: it is no JSON object, or a member is in it twice.
    """
    try:
        receipt = json.loads(text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise NoReceipt(f"it is no JSON that can be relied on: {error}") from None
    if not isinstance(receipt, dict):
        raise NoReceipt("it is JSON, but no object")
    return receipt


def _once_each(members: list[tuple[str, Any]]) -> Json:
    read = dict(members)
    if len(read) < len(members):
        raise NoReceipt("a member is in it twice")
    return read


def keys_from(text: bytes) -> dict[str, Ed25519PublicKey]:
    """The Ed25519 keys of a JWK Set (RFC 8037), by their `kid`.

    Raises:
        NoKeys: it is none, or has no such key.
    """
    try:
        keys = [key for key in json.loads(text)["keys"] if key.get("crv") == ALGORITHM]
        found = {str(key["kid"]): Ed25519PublicKey.from_public_bytes(_decoded(key["x"])) for key in keys}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NoKeys("they are no JWK Set") from None
    if not found:
        raise NoKeys(f"there is no {ALGORITHM} key among them")
    return found


def verify_signature(receipt: Json, keys: Mapping[str, Ed25519PublicKey]) -> str:
    """Check that the receipt is as it was signed with one of `keys`, and return that one's name.

    Raises:
        ReceiptWrong: it is not.
    """
    signature = receipt.get("signature")
    if not isinstance(signature, dict):
        raise ReceiptWrong("it has no signature")
    if set(signature) != _SIGNATURE or signature["algorithm"] != ALGORITHM:
        raise ReceiptWrong(f"its signature is none of {ALGORITHM} in the JSON Signature Format")
    named = signature["keyId"]
    key = keys.get(named) if isinstance(named, str) else None
    if key is None:
        raise ReceiptWrong(f"it says that it was signed with the key {named!r}, which is none of those given")
    try:
        key.verify(_decoded(signature["value"]), _signed_bytes(receipt))
    except (InvalidSignature, ValueError, TypeError, RecursionError):
        raise ReceiptWrong("it was changed since it was signed") from None
    return str(named)


def verify_balance(receipt: Json) -> str:
    """Check that the counts add up, and return them as a sum.

    Raises:
        ReceiptWrong: they do not, or one is missing.
    """
    counts = {name: receipt.get(name) for name in (READ, *PARTS)}
    if missing := [name for name, count in counts.items() if type(count) is not int]:
        raise ReceiptWrong(f"it does not say {missing[0]}")
    parts = " + ".join(f"{counts[name]:,} {name.removeprefix('rows_')}" for name in PARTS)
    total = sum(counts[name] or 0 for name in PARTS)
    if total != counts[READ]:
        raise ReceiptWrong(f"{counts[READ]:,} read, but {parts} = {total:,}")
    return f"{counts[READ]:,} read = {parts}"


def _signed_bytes(receipt: Json) -> bytes:
    signature = {name: value for name, value in receipt["signature"].items() if name != "value"}
    return rfc8785.dumps({**receipt, "signature": signature})


def _decoded(text: str) -> bytes:
    """base64url without padding, of which each value has one form only.

    Raises:
        ValueError: it is in another one.
    """
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise ValueError("it is not written as it must be")
    return data
