"""Keyset pages: `limit`, and an opaque `cursor` that says behind which item the page begins.

A cursor is base64url of JSON `[list, position]`. A position is what the list is ordered by, of the last item shown.
It belongs to one list, whose name the caller chooses: what must not change between pages, such as an order or filters, is
to be part of that name.

`total` asks how many items there are in all, on whatever page one is.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from shared.contracts.problems import Unprocessable

MAX_LIMIT = 200
# A position may be a record's key: 255 characters are up to 1,530 bytes of JSON, and 4 for each 3 of them in base64.
MAX_CURSOR_LENGTH = 4096

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items on a page, at most")]
Cursor = Annotated[
    str | None,
    Query(max_length=MAX_CURSOR_LENGTH, description="`next_cursor` of the page before; none: the first page"),
]

# PostgreSQL's statistics may be far off, most of all where a filter leaves few: few are counted, in milliseconds.
COUNTED_IN_AN_ESTIMATE = 10_000

HowTotal = Literal["exact", "estimate"]
Total = Annotated[
    HowTotal | None,
    Query(
        description="Also say how many items match in all. `exact` counts every one, which takes longer the more there"
        f" are; `estimate` is right up to {COUNTED_IN_AN_ESTIMATE:,}, and beyond that what the database's statistics say"
    ),
]
TotalCount = Annotated[
    int | None, Field(ge=0, description="How many items match on all pages; null unless `total` asks for it")
]

PositionT = TypeVar("PositionT")
RowT = TypeVar("RowT")


def without_nul(value: str) -> str:
    """`value`, if PostgreSQL's text can hold it.

    Raises:
        ValueError: it has a U+0000.
    """
    if "\0" in value:
        raise ValueError("must not contain the character U+0000")
    return value


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)  # OverflowError: beyond the years that there are


# A moment of a position: PostgreSQL's driver would stumble over one at the edge of time.
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]

# What is not storable cannot be found either.
StorableText = Annotated[str, AfterValidator(without_nul)]


class Cursors(Generic[PositionT]):
    """The cursors of one kind of list, whose positions are `PositionT`; `position` is that type for pydantic."""

    def __init__(self, position: Any) -> None:
        self._adapter: TypeAdapter[tuple[str, PositionT]] = TypeAdapter(tuple[str, position])

    def encode(self, of: str, position: PositionT) -> str:
        """The cursor that continues behind `position` in the list named `of`."""
        return urlsafe_b64encode(self._adapter.dump_json((of, position))).rstrip(b"=").decode()

    def decode(self, of: str, cursor: str | None) -> PositionT | None:
        """The position that `cursor` stands for; None: the page is the first one.

        Raises:
            Unprocessable: `cursor_invalid`: it is none of ours, or one of another list.
        """
        if cursor is None:
            return None
        try:
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            found, position = self._adapter.validate_json(urlsafe_b64decode(padded))
        except (ValueError, OverflowError) as error:
            raise _invalid() from error
        if found != of:
            raise _invalid()
        return position


def page_of(rows: Sequence[RowT], limit: int) -> tuple[Sequence[RowT], RowT | None]:
    """The rows of a page, from up to `limit` + 1; and the last of them, if one more shows that there is a next page."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], rows[limit - 1]


async def total_of(
    connection: AsyncConnection, query: Select[*tuple[Any, ...]], how: HowTotal | None
) -> int | None:
    """How many rows `query` finds, which has neither limit nor cursor; None if nobody asks."""
    if how is None:
        return None
    if how == "exact":
        return await _count(connection, query)
    counted = await _count(connection, query.limit(COUNTED_IN_AN_ESTIMATE + 1))
    if counted <= COUNTED_IN_AN_ESTIMATE:
        return counted
    return max(counted, await _planned(connection, query))


async def _count(connection: AsyncConnection, query: Select[*tuple[Any, ...]]) -> int:
    counted = select(func.count()).select_from(query.order_by(None).subquery())
    return (await connection.execute(counted)).scalar_one()


async def _planned(connection: AsyncConnection, query: Select[*tuple[Any, ...]]) -> int:
    plan = (await connection.execute(_Explained(query.order_by(None)))).scalar_one()
    return int(plan[0]["Plan"]["Plan Rows"])


class _Explained(Executable, ClauseElement):
    """The planner's view of a query, as JSON, without running it."""

    inherit_cache = False

    def __init__(self, query: Select[*tuple[Any, ...]]) -> None:
        self.query = query


@compiles(_Explained)
def _compile_explained(explained: _Explained, compiler: SQLCompiler, **options: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(explained.query, **options)}"


def _invalid() -> Unprocessable:
    return Unprocessable(
        "cursor_invalid",
        "this cursor is not one that this list has given out",
        hint="pass `next_cursor` of the page before as it came, to the same path; leave it out for the first page",
    )
