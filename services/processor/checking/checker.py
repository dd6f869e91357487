"""Checks batches of records against a dataset's declaration, column by column."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress
from operator import itemgetter
from types import MappingProxyType
from typing import cast

from services.processor.checking.columns import column_of
from services.processor.checking.faults import Fault, Faults, Result
from services.processor.checking.keys import keys_of
from shared.contracts.datasets import Dataset, DatasetField
from shared.contracts.options import DateOrder
from shared.reading.batch import RecordBatch
from shared.reading.errors import ReadFault

_NO_ORDERS: Mapping[str, DateOrder] = MappingProxyType({})
_MARK = "\ufeff"  # byte order mark
_HEADER_AGAIN = Fault(
    "header_repeated", "this is the header again", hint="remove it; where files are joined, keep one header"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a batch.

    Attributes:
        numbers: Record numbers of the records to load, in file order.
        keys: Their keys as they are compared; the parts of a key of several fields are joined by U+001F.
        columns: For each of `Checker.fields` their values, as PostgreSQL takes them as text; None is NULL.
        faults: What is wrong with the other records, by index in the batch.
        notes: Counted remarks about records to load. `date_ambiguous:<column>`: dates that could be read in two
            ways and were read in the column's date order. `time_ambiguous:<column>`: times that a clock change made
            twice, read as the first of the two.
    """

    numbers: Sequence[int]
    keys: Sequence[str]
    columns: Sequence[Sequence[str | None]]
    faults: Mapping[int, Faults]
    notes: Mapping[str, int]


class Checker:
    """Checks the records of one import.

    Args:
        columns: Position of each dataset column in a record, from 0.
        width: How many columns the header has.
        header: Its names; empty if the file has none.
        date_orders: How dates such as 03/04/2024 are read, by column; one that is not in it has no order.
        now: What `today` and `next-year` are seen from.

    Attributes:
        fields: The declared fields that the file brings, in declared order.
    """

    def __init__(
        self,
        dataset: Dataset,
        columns: Mapping[str, int],
        width: int,
        *,
        header: Sequence[str] = (),
        date_orders: Mapping[str, DateOrder] = _NO_ORDERS,
        now: datetime | None = None,
    ) -> None:
        self.fields: tuple[DatasetField, ...] = tuple(
            field for field in dataset.file_fields if field.name in columns
        )
        self._dataset = dataset
        self._width = width
        self._positions = [columns[field.name] for field in self.fields]
        self._shortest = max(self._positions) + 1
        self._names = [header[position].strip() for position in self._positions] if header else []
        composite = dataset.primary_key if len(dataset.primary_key) > 1 else ()
        moment = now or datetime.now(UTC)
        self._columns = [
            column_of(field, moment, date_orders.get(field.name), in_composite_key=field.name in composite)
            for field in self.fields
        ]
        places = {field.name: place for place, field in enumerate(self.fields)}
        self._keys = [places[name] for name in dataset.primary_key]
        self._alternatives = [
            ([places[name] for name in group if name in places], _missing_all(dataset, group))
            for group in dataset.required_any
        ]
        self._missing: dict[int, Faults] = {}

    def check(self, batch: RecordBatch) -> Checked:
        """Check all records of `batch`, which is no header."""
        shaped, indexes, faults = self._shaped(batch)
        results: list[Sequence[Result]] = []
        for column, cells in zip(self._columns, shaped, strict=True):
            found, faulty = column.read(cells)
            for place in faulty:
                index = indexes[place]
                faults[index] = faults.get(index, ()) + cast("Faults", found[place])
            results.append(found)
        self._check_alternatives(results, indexes, faults)
        for place in self._headers_again(shaped):
            faults[indexes[place]] = (_HEADER_AGAIN,)
        if faults:
            right = [index not in faults for index in indexes]
            indexes = list(compress(indexes, right))
            results = [list(compress(column, right)) for column in results]
            shaped = [list(compress(cells, right)) for cells in shaped]
        loaded = cast("list[Sequence[str | None]]", results)  # results with faults are gone
        keys = keys_of(self._dataset, *(loaded[place] for place in self._keys))
        return Checked(
            numbers=_numbers(batch.first_number, indexes),
            keys=cast("Sequence[str]", keys),  # a key is required, so none is None
            columns=loaded,
            faults=faults,
            notes=self._notes(shaped),
        )

    def _shaped(self, batch: RecordBatch) -> tuple[list[Sequence[str]], Sequence[int], dict[int, Faults]]:
        """The cells of each field, the index in the batch of each record they are of, and the faults of the others."""
        columns = batch.columns(self._width)
        if columns is not None:
            return [columns[position] for position in self._positions], range(len(batch)), {}
        rows = batch.fields
        faults: dict[int, Faults] = {index: (_read_fault(fault),) for index, fault in batch.faults.items()}
        lengths = list(map(len, rows))
        for index, cells in enumerate(lengths):
            if cells != self._width and index not in faults and (wrong := self._shape_fault(rows[index])):
                faults[index] = wrong
        indexes = [index for index in range(len(rows)) if index not in faults] if faults else range(len(rows))
        rows = [rows[index] for index in indexes] if faults else rows
        return [list(map(itemgetter(position), rows)) for position in self._positions], indexes, faults

    def _headers_again(self, shaped: Sequence[Sequence[str]]) -> list[int]:
        """Which records are the header once more, as where files were joined: maybe with the mark that one began with."""
        if not self._names:
            return []
        place = self._keys[0]
        again = (self._names[place], _MARK + self._names[place])
        if not any(name in shaped[place] for name in again):
            return []
        return [
            index
            for index, cell in enumerate(shaped[place])
            if cell in again and self._names == [_bare(cells[index]) for cells in shaped]
        ]

    def _shape_fault(self, row: Sequence[str]) -> Faults:
        cells = len(row)
        if cells < self._shortest:
            return self._missing.get(cells) or self._missing.setdefault(cells, (self._missing_cells(cells),))
        surplus = next(filter(None, map(str.strip, row[self._width :])), None)
        if surplus is None:
            return ()
        message = f"the record has {cells} cells, the header {self._width}"
        return (
            Fault(
                "extra_cell", message, value=surplus, hint="put values that hold the delimiter into quotes"
            ),
        )

    def _missing_cells(self, cells: int) -> Fault:
        there = sorted(zip(self._positions, self.fields, strict=True), key=itemgetter(0))
        missing = [field.name for position, field in there if position >= cells]
        verb = "is" if len(missing) == 1 else "are"
        message = (
            f"the record has {cells} cells, the header {self._width}: {', '.join(missing)} {verb} missing"
        )
        return Fault("missing_cell", message, hint="check for a delimiter or a line break that got lost")

    def _check_alternatives(
        self, results: Sequence[Sequence[Result]], indexes: Sequence[int], faults: dict[int, Faults]
    ) -> None:
        for places, fault in self._alternatives:
            blank = (None,) * len(places)
            if not places:
                without: Sequence[int] = range(len(indexes))
            elif blank in zip(*(results[place] for place in places), strict=True):
                values = zip(*(results[place] for place in places), strict=True)
                without = [place for place, value in enumerate(values) if value == blank]
            else:
                continue
            for place in without:
                faults[indexes[place]] = (*faults.get(indexes[place], ()), fault)

    def _notes(self, loaded: Sequence[Sequence[str]]) -> dict[str, int]:
        notes: Counter[str] = Counter()
        for field, column, cells in zip(self.fields, self._columns, loaded, strict=True):
            if column.guessed:
                codes = Counter(map(column.guessed.get, map(str.strip, cells)))
                notes.update({f"{code}:{field.name}": count for code, count in codes.items() if code})
        return dict(notes)


def _numbers(first: int, indexes: Sequence[int]) -> Sequence[int]:
    if isinstance(indexes, range):
        return range(first, first + len(indexes))
    return [first + index for index in indexes]


def _bare(cell: str) -> str:
    return cell.removeprefix(_MARK).strip()


def _read_fault(fault: ReadFault) -> Fault:
    return Fault(fault.code, fault.message, hint=fault.hint)


def _missing_all(dataset: Dataset, group: Sequence[str]) -> Fault:
    titles = " and ".join(dataset.field(name).title for name in group)
    message = f"{titles} are both missing" if len(group) == 2 else f"{titles} are all missing"
    return Fault("value_missing", message, group[0], None, "requiredAny", "fill in one of these cells")
