"""Strings that a request may hold: what PostgreSQL can store, no more."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints
from pydantic_core import to_json

from shared.platform.paging import without_nul

EXTRA_BYTES = 16 * 1024
EXTRA_DEPTH = 32  # levels of nesting; far below what breaks a JSON library


def _small_json(value: dict[str, Any]) -> dict[str, Any]:
    if not _is_surely_right(value):
        _check(value)
    return value


def _is_surely_right(value: dict[str, Any]) -> bool:
    """Tells it of nearly all that is, without a look at every part."""
    try:
        document = to_json(value)
    except ValueError:
        return False
    brackets = document.count(b"{") + document.count(b"[")
    return (
        len(document) <= EXTRA_BYTES
        and brackets <= EXTRA_DEPTH
        and not any(sign in document for sign in (b"\\u0000", b"NaN", b"Infinity"))
    )


def _check(value: dict[str, Any]) -> None:
    try:
        document = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:  # NaN, an unpaired surrogate, or too deep
        raise ValueError("is no plain JSON") from error
    if len(document) > EXTRA_BYTES:
        raise ValueError(f"is longer than {EXTRA_BYTES} bytes of JSON")
    for text in _strings(value, EXTRA_DEPTH):
        without_nul(text)


def _strings(value: Any, depth: int) -> Iterator[str]:
    if depth < 0:
        raise ValueError(f"is nested deeper than {EXTRA_DEPTH} levels")
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from _strings(part, depth - 1)


Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), AfterValidator(without_nul)
]
LongLine = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1024), AfterValidator(without_nul)
]
Paragraph = Annotated[str, StringConstraints(max_length=2000), AfterValidator(without_nul)]
SmallJson = Annotated[dict[str, Any], AfterValidator(_small_json)]
