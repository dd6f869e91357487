"""Whole columns at once. A right column costs a few passes in C; Python looks only at values that may be wrong.

Each kind of column gives for every cell the very result that its reading of one value gives.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import filterfalse
from typing import Protocol

from services.processor.checking import isbn
from services.processor.checking.dates import Dates
from services.processor.checking.faults import Result
from services.processor.checking.texts import SPREADSHEET_NUMBER, Texts
from services.processor.checking.values import Read, isbn_fault, missing, scalar, whole
from shared.contracts.datasets import DatasetField
from shared.contracts.options import DateOrder
from shared.contracts.record_keys import SEPARATOR

MEMO_VALUES = 20_000  # some 5 MB; more distinct values hardly come again within a batch or two
MEMO_LENGTH = 100  # characters of a value worth keeping


class Column(Protocol):
    """Reads the cells of one column.

    Attributes:
        guessed: Trimmed cells of the last batch (and maybe of earlier ones) that had another reading too, and the
            note that counts them.
    """

    guessed: dict[str, str]

    def read(self, cells: Sequence[str]) -> tuple[Sequence[Result], Sequence[int]]:
        """The result of each cell, and the indexes of those with faults."""
        ...


def column_of(
    field: DatasetField, now: datetime, order: DateOrder | None, *, in_composite_key: bool
) -> Column:
    """The column of a field, whose dates are read in `order`."""
    if field.type in {"date", "datetime"}:
        dates = Dates(field, now, order)
        return MemoColumn(field, dates.read, dates.guessed)
    if field.type != "string":
        return MemoColumn(field, scalar(field, now))
    if field.format == "isbn":
        return IsbnColumn(field)
    texts = Texts(field, in_composite_key=in_composite_key)
    rules = field.constraints
    if field.format == "default" and not (field.case or rules.pattern or rules.enum):
        return TextColumn(field, texts, in_composite_key=in_composite_key)
    return MemoColumn(field, texts.read)


class MemoColumn:
    """Reads each distinct value once: dates, quantities and prices come again and again."""

    def __init__(self, field: DatasetField, read: Read, guessed: dict[str, str] | None = None) -> None:
        self.guessed = {} if guessed is None else guessed
        self._memo = _Memo(whole(field, read))

    def read(self, cells: Sequence[str]) -> tuple[Sequence[Result], Sequence[int]]:
        memo = self._memo
        if len(memo) > MEMO_VALUES:
            memo.clear()
            self.guessed.clear()
            memo.has_faults = False
        results = list(map(memo.__getitem__, cells))
        if not memo.has_faults:
            return results, ()
        return results, [index for index, result in enumerate(results) if type(result) is tuple]


class _Memo(dict[str, Result]):
    def __init__(self, read: Read) -> None:
        self.has_faults = False
        self._read = read

    def __missing__(self, cell: str) -> Result:
        result = self._read(cell)
        self.has_faults = self.has_faults or type(result) is tuple
        if len(cell) <= MEMO_LENGTH:
            self[cell] = result
        return result


class TextColumn:
    """Text, which hardly comes twice. What may be wrong is found for the whole column, then read by itself."""

    def __init__(self, field: DatasetField, texts: Texts, *, in_composite_key: bool) -> None:
        self.guessed: dict[str, str] = {}
        rules = field.constraints
        self._trim = field.trim
        self._required = rules.required
        self._shortest = rules.min_length or 0
        self._longest = rules.max_length
        self._normal_form = field.normal_form
        self._identifier = field.identifier
        self._unwanted = f"\0{SEPARATOR}" if in_composite_key else "\0"
        self._read = whole(field, texts.read)

    def read(self, cells: Sequence[str]) -> tuple[Sequence[Result], Sequence[int]]:
        values = list(map(str.strip, cells)) if self._trim else cells
        suspects = self._suspects(values)
        if not all(values):
            results: list[Result] = [value or None for value in values]
        elif suspects:
            results = list(values)
        else:
            return values, ()
        faulty = []
        for index in sorted(suspects):
            result = results[index] = self._read(values[index])
            if type(result) is tuple:
                faulty.append(index)
        return results, faulty

    def _suspects(self, values: Sequence[str]) -> set[int]:
        """Indexes of all values that may be wrong or not yet as they are stored; of blank ones if they are wrong."""
        suspects: set[int] = set()
        if self._required and not all(values):
            suspects.update(_where(not value for value in values))
        if self._longest is not None and max(map(len, values), default=0) > self._longest:
            longest = self._longest
            suspects.update(_where(len(value) > longest for value in values))
        if self._shortest > 1:
            shortest = self._shortest
            suspects.update(_where(0 < len(value) < shortest for value in values))
        text = "\n".join(values)
        for unwanted in self._unwanted:
            if unwanted in text:
                suspects.update(_where(unwanted in value for value in values))
        if self._identifier and "+" in text:
            suspects.update(_where(map(SPREADSHEET_NUMBER.fullmatch, values)))
        if not text.isascii() and not self._is_normal("\n".join(filterfalse(str.isascii, values))):
            suspects.update(_where(not value.isascii() for value in values))
        return suspects

    def _is_normal(self, text: str) -> bool:
        """Whether `text` is in the normal form, and text for PostgreSQL."""
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            return False
        return self._normal_form is None or unicodedata.is_normalized(self._normal_form, text)


class IsbnColumn:
    """ISBNs, which hardly come twice either."""

    def __init__(self, field: DatasetField) -> None:
        self.guessed: dict[str, str] = {}
        self._field = field
        self._blank = missing(field)

    def read(self, cells: Sequence[str]) -> tuple[Sequence[Result], Sequence[int]]:
        results: list[Result] = list(isbn.all_canonical(cells))
        if None not in results:
            return results, ()
        faulty = []
        for index in _where(result is None for result in results):
            value = cells[index].strip()
            results[index] = (isbn_fault(self._field, value),) if value else self._blank
            if results[index] is not None:
                faulty.append(index)
        return results, faulty


def _where(truths: Iterable[object]) -> list[int]:
    return [index for index, true in enumerate(truths) if true]
