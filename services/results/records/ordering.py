"""What a list of records is sorted by, and the cursors that go on in that order. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from services.results.cursors import BIGINT_MAX
from services.results.records.columns import Column, Kind, columns_of
from shared.contracts.datasets import Dataset
from shared.contracts.problems import Unprocessable
from shared.platform.paging import Cursors, Moment, StorableText

# Of a text, so many characters count for its place; beyond them the key decides. A cursor holds them.
SORTED_CHARACTERS = 100

BY_ID = "id"

# The value of the column it is sorted by, None behind all others; then the key, which no two records share.
Position = tuple[Any, str]

_Whole = Annotated[int, Field(ge=-BIGINT_MAX - 1, le=BIGINT_MAX)]
_VALUES: Mapping[Kind, Any] = MappingProxyType(
    {
        "string": StorableText,
        "integer": _Whole,
        "number": Annotated[Decimal, Field(max_digits=200, allow_inf_nan=False)],
        "boolean": bool,
        "date": date,
        "datetime": Moment,
        "year": _Whole,
        "uuid": UUID,
    }
)


@dataclass(frozen=True)
class Order:
    """By `column`, records without a value last, and within equal ones by key; by the key alone if it is None."""

    column: Column | None = None
    descending: bool = False


def default_sort(dataset: Dataset) -> str:
    """What `sort` says if a request does not."""
    return f"-{dataset.newest_by}" if dataset.newest_by else BY_ID


def order_of(dataset: Dataset, query: Iterable[tuple[str, str]]) -> Order:
    """The order that the parameter `sort` asks for: a column, with a `-` before it the other way round.

    Raises:
        Unprocessable: `sort_invalid`.
    """
    sorts = [value for name, value in query if name == "sort"] or [default_sort(dataset)]
    if len(sorts) > 1:
        raise Unprocessable("sort_invalid", "sort: is given more than once", hint="give it once")
    [asked] = sorts
    name = asked.removeprefix("-")
    columns = columns_of(dataset)
    if name != BY_ID and name not in columns:
        there = ", ".join((BY_ID, *columns))
        raise Unprocessable(
            "sort_invalid",
            f"records of {dataset.name!r} cannot be sorted by {name[:100]!r}",
            hint=f"there are: {there}; put a - before it for the other way round",
        )
    column = None if name == BY_ID else columns[name]
    is_key = column is not None and column.key_column == "key"
    return Order(None if is_key else column, asked.startswith("-"))


class Pages:
    """The pages of one list: a dataset, its filters and its order, to which a cursor belongs."""

    def __init__(self, dataset: Dataset, query: Iterable[tuple[str, str]], order: Order) -> None:
        asked = sorted((name, value) for name, value in query if name not in {"limit", "cursor", "total"})
        digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
        self._list = f"records/{dataset.name}/{digest}"
        self._cursors = _cursors(order.column and order.column.kind)

    def cursor(self, position: Position) -> str:
        """The cursor of the page behind `position`."""
        return self._cursors.encode(self._list, position)

    def position(self, cursor: str | None) -> Position | None:
        """The position that `cursor` stands for; None: the page is the first one.

        Raises:
            Unprocessable: `cursor_invalid`.
        """
        try:
            return self._cursors.decode(self._list, cursor)
        except Unprocessable as error:
            raise Unprocessable(
                "cursor_invalid",
                error.detail,
                hint="pass `next_cursor` of the page before as it came, with the same filters and sort;"
                " leave it out for the first page",
            ) from error


@cache
def _cursors(kind: Kind | None) -> Cursors[Position]:
    value: Any = _VALUES[kind] | None if kind else None
    return Cursors[Position](tuple[value, StorableText])
