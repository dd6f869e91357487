"""Which records a request asks for: query parameters, typed by the dataset's declaration. Pure."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from services.results.records.columns import Column, Kind, Operator, columns_of
from shared.contracts.datasets import Dataset
from shared.contracts.problems import Unprocessable
from shared.contracts.record_search import has_words
from shared.platform.paging import without_nul
from shared.platform.parameters import refuse_unknown

MAX_VALUES = 200  # of one `__in`
MAX_TEXT = 1000  # characters of a value

# What is no filter; a column of such a name cannot be asked for.
PAGING = ("limit", "cursor", "total")
RESERVED = (*PAGING, "sort", "search")

Test = Literal["in", "within", "prefix", "contains", "gte", "gt", "lte", "lt", "isnull"]

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,60}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,2})?")
_RANGES: Mapping[Kind, tuple[int, int]] = MappingProxyType(
    {"integer": (-(2**63), 2**63 - 1), "year": (-(2**31), 2**31 - 1)}
)
_BOOLEANS: Mapping[str, bool] = MappingProxyType({"true": True, "false": False, "1": True, "0": False})
_SPAN = "day or moment from 0001-01-02 to 9999-12-30"
_MICROSECOND = timedelta(microseconds=1)  # what PostgreSQL tells moments apart by


@dataclass(frozen=True)
class Condition:
    """What a record's column must be.

    Attributes:
        values: Of `in`: any of them; of `within`: pairs of moments, from the first until before the second; of the
            others: one.
    """

    column: Column
    test: Test
    values: Sequence[Any]


@dataclass(frozen=True)
class Filters:
    """All that a record must be, and the words that must occur in it."""

    conditions: Sequence[Condition] = ()
    search: str | None = None


@cache
def parameters_of(dataset: Dataset) -> Mapping[str, tuple[Column, Operator]]:
    """The filters of a dataset by the names of their query parameters."""
    return MappingProxyType(
        {
            column.parameter(operator): (column, operator)
            for column in columns_of(dataset).values()
            for operator in column.operators
            if column.parameter(operator) not in RESERVED
        }
    )


def filters_of(dataset: Dataset, query: Iterable[tuple[str, str]], *, paged: bool) -> Filters:
    """The filters among the query parameters of a request; `paged`: for a page, rather than for all that match.

    Raises:
        Unprocessable: `filter_unknown` or `filter_invalid`.
    """
    given: dict[str, list[str]] = {}
    for name, value in query:
        given.setdefault(name, []).append(value)
    words = given.get("search", ())
    _refuse_unknown(dataset, given, paged=paged)
    conditions = [
        _condition(name, *parameters_of(dataset)[name], values)
        for name, values in given.items()
        if name not in RESERVED
    ]
    return Filters(tuple(conditions), _words(words) if words else None)


def _words(values: Sequence[str]) -> str:
    sought: str = _parsed("search", str, _one("search", values))
    if not has_words(sought):
        raise _invalid("search", "has no letter and no digit", "give it words, or beginnings of words")
    return sought


def _refuse_unknown(dataset: Dataset, names: Iterable[str], *, paged: bool) -> None:
    there = [
        *parameters_of(dataset),
        "sort",
        *(["search"] if dataset.search else []),
        *(PAGING if paged else ()),
    ]
    refuse_unknown(names, there, of=f"the records of {dataset.name!r}")


def _condition(name: str, column: Column, operator: Operator, values: Sequence[str]) -> Condition:
    if operator == "isnull":
        return Condition(column, "isnull", (_parsed(name, _boolean, _one(name, values)),))
    texts = _several(name, values) if operator == "in" else [_one(name, values)]
    if column.kind == "datetime":
        return _on_moments(
            column, operator, _parsed(name, lambda text: _span(text, column.timezone), texts[0])
        )
    parse = _parser(column)
    parsed = [_parsed(name, parse, text) for text in texts]
    return Condition(column, "in" if operator == "eq" else operator, parsed)


def _on_moments(column: Column, operator: Operator, span: tuple[datetime, datetime]) -> Condition:
    """A value stands for all of its day, or of its microsecond."""
    first, end = span
    if operator == "eq":
        return Condition(column, "within", (span,))
    meaning: Mapping[str, tuple[Test, datetime]] = {
        "gte": ("gte", first),
        "gt": ("gte", end),
        "lte": ("lt", end),
        "lt": ("lt", first),
    }
    test, moment = meaning[operator]
    return Condition(column, test, (moment,))


def _one(name: str, values: Sequence[str]) -> str:
    if len(values) > 1:
        raise _invalid(name, "is given more than once", "give it once")
    if not values[0]:
        raise _invalid(name, "is empty", "leave it out, or give it a value")
    return values[0]


def _several(name: str, values: Sequence[str]) -> list[str]:
    """The values of an `__in`: given several times, or with commas between, or both."""
    try:
        found = [part for row in csv.reader(values) for part in row if part]
    except csv.Error:
        raise _invalid(name, "is no list", 'put values with line breaks in double quotes: "…"') from None
    if not found:
        raise _invalid(name, "is empty", "leave it out, or give it values")
    if len(found) > MAX_VALUES:
        raise _invalid(name, f"has {len(found)} values", f"give it at most {MAX_VALUES}")
    return found


def _parsed(name: str, parse: Callable[[str], Any], text: str) -> Any:
    if len(text) > MAX_TEXT:
        raise _invalid(name, f"has {len(text)} characters", f"give it at most {MAX_TEXT}")
    try:
        without_nul(text)
    except ValueError as error:
        raise _invalid(name, str(error), "leave it out") from error
    try:
        return parse(text)
    except ValueError as error:
        raise _invalid(name, f"{text[:100]!r} is no {error}", _HINTS.get(str(error))) from error


def _parser(column: Column) -> Callable[[str], Any]:
    return _PARSERS.get(column.kind) or (lambda text: _integer(text, *_RANGES[column.kind]))


def _integer(text: str, least: int, most: int) -> int:
    if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
        raise ValueError("whole number")
    return int(text)


def _number(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError("number")
    return Decimal(text)


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError("truth value")
    return _BOOLEANS[text.lower()]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("day") from None


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError("import's id") from None


def _span(text: str, timezone: str) -> tuple[datetime, datetime]:
    """From its first moment until before the next: of a day, or of a moment's microsecond."""
    zone = ZoneInfo(timezone)
    try:
        if len(text) <= len("2026-03-01"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time())
            first, end = (moment.replace(tzinfo=zone) for moment in (day, day + timedelta(days=1)))
        else:
            moment = datetime.fromisoformat(text)
            first = moment if moment.tzinfo else moment.replace(tzinfo=zone)
            end = first.astimezone(UTC) + _MICROSECOND
        return first.astimezone(UTC), end.astimezone(UTC)
    except OverflowError:
        raise ValueError(_SPAN) from None
    except ValueError:
        raise ValueError("day or moment") from None


_PARSERS: Mapping[Kind, Callable[[str], Any]] = MappingProxyType(
    {"string": str, "number": _number, "boolean": _boolean, "date": _day, "uuid": _uuid}
)
_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "number": "write it with a decimal point, as 149.90",
        "truth value": "write true or false",
        "day": "write it as 2026-03-01",
        "day or moment": "write 2026-03-01, or 2026-03-01T12:00:00Z; a + of an offset is %2B in a URL",
    }
)


def _invalid(name: str, what: str, hint: str | None) -> Unprocessable:
    return Unprocessable("filter_invalid", f"{name}: {what}", hint=hint, parameter=name)
