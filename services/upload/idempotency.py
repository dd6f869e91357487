"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): the same request, sent again, is answered again. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

from shared.contracts.problems import Conflict, Unprocessable

KEPT = timedelta(hours=24)
MAX_LENGTH = 255


def key_in(values: Sequence[str]) -> str | None:
    """The key in the header's values: a quoted string (RFC 9651, section 3.3.3), or bare, as most clients send it.

    Raises:
        Unprocessable: `idempotency_key_invalid`.
    """
    if not values:
        return None
    key = values[0].strip()
    if len(key) > 1 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if len(values) > 1 or not key or len(key) > MAX_LENGTH or not (key.isascii() and key.isprintable()):
        raise Unprocessable(
            "idempotency_key_invalid",
            f"Idempotency-Key must be one value of 1 to {MAX_LENGTH} printable ASCII characters",
            hint="make a new UUID for each file, and send the same one when you send the file again",
        )
    return key


def fingerprint_of(sha256: str, file_name: str, fields: Mapping[str, str]) -> str:
    """What tells a request from another one: its file, unpacked, the file's name and the fields, in whatever order."""
    said = json.dumps([sha256, file_name, sorted(fields.items())])
    return hashlib.sha256(said.encode()).hexdigest()


def in_progress() -> Conflict:
    return Conflict(
        "idempotency_key_in_progress",
        "a request with this Idempotency-Key is being answered",
        hint="wait until that one has its answer, then send this one again if you need to",
    )


def reused() -> Unprocessable:
    return Unprocessable(
        "idempotency_key_reused",
        "this Idempotency-Key came before with another file or other fields",
        hint="use a new key for each file",
    )
