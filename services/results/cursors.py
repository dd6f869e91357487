"""Opaque cursors of keyset pages: base64url of JSON `[list, position]`.

A position is what the list is ordered by, of the last item shown. It belongs to one list; filters may change
between pages, the order may not.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter

from shared.contracts.problems import Unprocessable

BIGINT_MAX = 2**63 - 1
INTEGER_MAX = 2**31 - 1

PositionT = TypeVar("PositionT")


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain the character U+0000")
    return value


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


# PostgreSQL keeps no U+0000 in text, so nothing can be found by it.
FoundableText = Annotated[str, AfterValidator(_without_nul)]


class Cursors(Generic[PositionT]):
    """The cursors of one kind of list, whose positions are `PositionT`."""

    def __init__(self, position: Any) -> None:
        self._adapter: TypeAdapter[tuple[str, PositionT]] = TypeAdapter(tuple[str, position])

    def encode(self, of: str, position: PositionT) -> str:
        """The cursor that continues behind `position` in the list named `of`."""
        return urlsafe_b64encode(self._adapter.dump_json((of, position))).rstrip(b"=").decode()

    def decode(self, of: str, cursor: str) -> PositionT:
        """The position that `cursor` stands for.

        Raises:
            Unprocessable: `cursor_invalid`: it is none of ours, or one of another list.
        """
        try:
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            found, position = self._adapter.validate_json(urlsafe_b64decode(padded))
        except (ValueError, OverflowError) as error:
            raise _invalid() from error
        if found != of:
            raise _invalid()
        return position


def _invalid() -> Unprocessable:
    return Unprocessable(
        "cursor_invalid",
        "this cursor is not one that this list has given out",
        hint="pass `next_cursor` of the page before as it came, to the same path; leave it out for the first page",
    )


ImportPosition = tuple[datetime, UUID]
RowErrorPosition = tuple[int, int]

_BigInteger = Annotated[int, Field(ge=0, le=BIGINT_MAX)]
_Integer = Annotated[int, Field(ge=0, le=INTEGER_MAX)]

import_cursors = Cursors[ImportPosition](tuple[Annotated[AwareDatetime, AfterValidator(_in_utc)], UUID])
row_error_cursors = Cursors[RowErrorPosition](tuple[_BigInteger, _Integer])
record_cursors = Cursors[str](FoundableText)
