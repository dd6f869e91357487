"""Keyset pages: `limit` and an opaque `cursor` that names the last item of the page before."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from sqlalchemy import Row

from shared.contracts.problems import Unprocessable

Limit = Annotated[int, Query(ge=1, le=200, description="At most so many items.")]
Cursor = Annotated[
    str | None, Query(max_length=64, description="`next_cursor` of the page before; none for the first page.")
]


def position_of(cursor: str | None) -> UUID | None:
    """The key after which the page begins.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    if cursor is None:
        return None
    try:
        return UUID(bytes=base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise Unprocessable(
            "cursor_invalid", "this cursor is none of ours", hint="send `next_cursor` as you got it"
        ) from error


def page_of(rows: Sequence[Row[Any]], limit: int) -> tuple[Sequence[Row[Any]], str | None]:
    """The rows of the page and the next cursor, from up to `limit` + 1 rows with an `id`."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], base64.urlsafe_b64encode(rows[limit - 1].id.bytes).rstrip(b"=").decode()
