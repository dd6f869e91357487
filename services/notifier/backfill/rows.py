"""What rows of ClickHouse are in the words of investigations. Pure."""

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from services.notifier.investigations.catalogue import code_of

MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = "0123456789abcdefghijklmnopqrstuv"  # in order, as text too
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]  # of 10 bits
ID_LENGTH = 255
UNKNOWN = "unexpected"  # the reason of an error that has no id


class Row(NamedTuple):
    """An error: microseconds since 1970, the supplier's id and the error's."""

    micros: int
    supplier: str
    error: str


class Priced(NamedTuple):
    """The prices of a supplier on a day.

    Attributes:
        micros: The last one's time, in microseconds since 1970.
        rows: All of them.
        values: Those that are not empty.
        typical: Geometric mean of the positive ones; None or NaN: there are none.
    """

    micros: int
    supplier: str
    rows: int
    values: int
    negatives: int
    positives: int
    typical: float | None


def moment_of(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // MICROSECOND


def instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


class Ids:
    """Ids of rows that come in order of time: made of what a row says, so that it has the same one whenever it is read.

    `ch-<second><hash>` with 7 and 6 digits, and where they are not 0 the microseconds between: 16 characters take the least
    room that there is for an id, and there are millions. They come in order of time, so that an index of ids is filled at its
    end. Rows that have the same time and hash are told apart by their number among these: `…`, `…-1`, …
    """

    def __init__(self) -> None:
        self._micros: int | None = None
        self._begins = ""
        self._seen: dict[str, int] = {}

    def of(self, row: Row) -> str:
        if row.micros != self._micros:
            self._micros = row.micros
            self._begins = f"ch-{_when(row.micros)}"
            self._seen = {}
        what = self._begins + _hash(row.supplier, row.error)
        number = self._seen.get(what, 0)
        self._seen[what] = number + 1
        return f"{what}-{number}" if number else what


def _when(micros: int) -> str:
    seconds, rest = divmod(micros, 1_000_000)
    # Of seconds the lower 35 bits: enough until the year 3058.
    told = f"{_DIGITS[seconds >> 30 & 31]}{_six_digits(seconds)}"
    return f"{told}{_PAIRS[rest >> 10]}{_PAIRS[rest & 1023]}" if rest else told


def _six_digits(number: int) -> str:
    """The lower 30 bits."""
    return f"{_PAIRS[number >> 20 & 1023]}{_PAIRS[number >> 10 & 1023]}{_PAIRS[number & 1023]}"


@lru_cache(maxsize=50_000)  # some MB: those of what is reported again and again
def _hash(supplier: str, error: str) -> str:
    told = hashlib.sha256(f"{len(supplier)}:{supplier}{error}".encode()).digest()
    return _six_digits(int.from_bytes(told[:4], "big"))


def profile_of(priced: Priced) -> Mapping[str, Mapping[str, Any]]:
    """A `ColumnProfile` of `price`."""
    typical = priced.typical if priced.typical is not None and math.isfinite(priced.typical) else None
    return {
        "price": {
            "values": priced.values,
            "empty": priced.rows - priced.values,
            "numbers": priced.values,
            "negatives": priced.negatives,
            "formatted": 0,
            "typical": typical,
            "positives": priced.positives,
        }
    }


class Meanings:
    """What errors are in the words of investigations.

    Args:
        texts: By the error's id.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._reasons: dict[str, str] = {}

    def reason(self, error: str) -> str:
        """The code of its reason, as the text says it, which may be that text itself; without one the error's id."""
        found = self._reasons.get(error)
        if found is None:
            text = self._texts.get(error)
            found = self._reasons[error] = code_of(text) if text else error or UNKNOWN
        return found
