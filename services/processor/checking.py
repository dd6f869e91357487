"""Checks records against a dataset's declaration, column by column, and says all that is wrong with each. Pure."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.processor import isbn
from shared.contracts.datasets import Dataset, DatasetField

Value = str | int | None
Staged = tuple[object, ...]  # row_number, key, then the columns that the file brings, in declared order

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")  # fits a bigint


@dataclass(frozen=True, slots=True)
class Fault:
    """One reason why a record is not loaded. `code` is stable; `message` and `hint` are for the sender."""

    code: str
    message: str
    column: str | None = None
    value: str | None = None
    hint: str | None = None


@dataclass
class Checked:
    """What became of a batch: the records to load, and the faults of the others by their place in the batch."""

    staged: list[Staged] = field(default_factory=list)
    faults: dict[int, list[Fault]] = field(default_factory=dict)


class Checker:
    """Checks the records of one import.

    Args:
        columns: Position of each dataset column in a record, from 0.
        width: How many columns the header has.
    """

    def __init__(self, dataset: Dataset, columns: Mapping[str, int], width: int) -> None:
        self._dataset = dataset
        self._columns = columns
        self._width = width
        self._names = {position: name for name, position in columns.items()}
        self._shortest = max(columns.values()) + 1
        self._fields = [declared for declared in dataset.file_fields if declared.name in columns]
        self._key = [declared.name for declared in self._fields].index(dataset.key)

    def check(self, records: Sequence[Sequence[str]], numbers: Sequence[int]) -> Checked:
        """Check `records`, whose record numbers are `numbers`."""
        checked = Checked()
        places = self._shaped(records, checked)
        columns = [self._column(declared, records, places, checked) for declared in self._fields]
        keys = map(_KEYS[self._dataset.key_comparison], columns[self._key])
        row_numbers = [numbers[place] for place in places]
        rows = zip(row_numbers, keys, *columns, strict=True)
        if not checked.faults:
            checked.staged = list(rows)
        else:
            checked.staged = [
                row for place, row in zip(places, rows, strict=True) if place not in checked.faults
            ]
        return checked

    def _shaped(self, records: Sequence[Sequence[str]], checked: Checked) -> list[int]:
        """The places of records with the right number of cells; faults for the others."""
        places = []
        for place, record in enumerate(records):
            cells = len(record)
            if cells < self._shortest:
                missing = ", ".join(
                    name for position, name in sorted(self._names.items()) if position >= cells
                )
                checked.faults[place] = [
                    Fault(
                        "missing_cell",
                        f"the record has {cells} cells, the header {self._width}: {missing} is missing",
                        hint="check for a delimiter or a line break that got lost",
                    )
                ]
            elif cells > self._width and (surplus := _first_filled(record[self._width :])):
                checked.faults[place] = [
                    Fault(
                        "extra_cell",
                        f"the record has {cells} cells, the header {self._width}",
                        value=surplus,
                        hint="put values that hold the delimiter into quotes",
                    )
                ]
            else:
                places.append(place)
        return places

    def _column(
        self, declared: DatasetField, records: Sequence[Sequence[str]], places: list[int], checked: Checked
    ) -> Sequence[Value]:
        position = self._columns[declared.name]
        values = [records[place][position].strip() for place in places]

        def faulty(index: int, code: str, message: str, hint: str | None = None) -> None:
            fault = Fault(code, message, declared.name, values[index] or None, hint)
            checked.faults.setdefault(places[index], []).append(fault)

        if declared.constraints.required and not all(values):
            for index, value in enumerate(values):
                if not value:
                    faulty(index, "value_missing", f"{declared.title} is missing", "fill in this cell")
        return _CHECKS[declared.type, declared.format](declared, values, faulty)


Faulty = Callable[[int, str, str, str | None], None]


def _strings(declared: DatasetField, values: list[str], faulty: Faulty) -> Sequence[Value]:
    longest = declared.constraints.max_length
    shortest = declared.constraints.min_length
    for index, value in enumerate(values):
        if longest is not None and len(value) > longest:
            message = f"{declared.title} has {len(value)} characters, {longest} are allowed"
            faulty(index, "value_too_long", message, "shorten it")
        elif shortest is not None and 0 < len(value) < shortest:
            message = f"{declared.title} has {len(value)} characters, at least {shortest} are needed"
            faulty(index, "value_too_short", message, None)
    return [value or None for value in values]


def _integers(declared: DatasetField, values: list[str], faulty: Faulty) -> Sequence[Value]:
    least, most = declared.constraints.minimum, declared.constraints.maximum
    if most == "next-year":
        most = datetime.now(UTC).year + 1
    numbers: list[Value] = []
    for index, value in enumerate(values):
        number = int(value) if _INTEGER.fullmatch(value) else None
        numbers.append(number)
        if not value:
            continue
        if number is None:
            faulty(
                index,
                "not_an_integer",
                f"{declared.title} {_shown(value)} is not a whole number",
                "use digits only",
            )
        elif least is not None and number < least:
            faulty(index, "below_minimum", f"{declared.title} {number} is below {least}", None)
        elif most is not None and number > most:
            faulty(index, "above_maximum", f"{declared.title} {number} is above {most}", None)
    return numbers


def _isbns(declared: DatasetField, values: list[str], faulty: Faulty) -> Sequence[Value]:
    canonical = [isbn.canonical(value) for value in values]
    if not all(canonical):
        for index, value in enumerate(values):
            if value and canonical[index] is None:
                faulty(
                    index,
                    "isbn_invalid",
                    f"{_shown(value)} is no ISBN: {isbn.fault_of(value)}",
                    "compare it with the book; in a spreadsheet, format the column as text",
                )
    return canonical


def _first_filled(cells: Sequence[str]) -> str | None:
    return next((cell for cell in map(str.strip, cells) if cell), None)


def _shown(value: str, most: int = 60) -> str:
    return repr(value if len(value) <= most else value[: most - 1] + "…")


def _exact(value: Value) -> Value:
    return value


def _ignore_case(value: Value) -> Value:
    """Canonical caseless matching (Unicode Standard, D145)."""
    if not isinstance(value, str):
        return value
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", value).casefold())


_CHECKS = {
    ("string", "default"): _strings,
    ("string", "isbn"): _isbns,
    ("integer", "default"): _integers,
}
_KEYS: dict[str, Callable[[Value], Value]] = {"exact": _exact, "ignore-case": _ignore_case, "isbn": _exact}
