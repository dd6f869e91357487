"""What the records of an import look like, column by column: a sample of each slice, counted, and the counts added up. Pure.

A sample is spread evenly over its slice, and which records are in it depends on their numbers alone. The gaps follow the
golden ratio (a Beatty sequence), so that what comes again every so many records, such as the sizes of a shirt, is neither
missed nor all there is.
"""

import math
import re
from collections.abc import Mapping, Sequence

from services.processor.checking.numbers import plain_number
from shared.contracts.datasets import Dataset, DatasetField
from shared.contracts.events import ColumnProfile
from shared.reading.batch import RecordBatch
from shared.reading.splitting import Cells

SAMPLE_RECORDS = 500  # of a slice at most: 3 ms, where reading and checking 8 MiB takes 200
LARGEST = (
    1e300  # what `typical` is the mean of is between 1 by it and it: no sum or mean of these leaves a float
)

_GOLDEN = (1 + math.sqrt(5)) / 2
_FORMATTED = re.compile(r"[\w./+-]{2,64}")

# By column of the dataset: the counts of `ColumnProfile`, and as `logs` the sum of the natural logarithms that `typical` is
# made of in the end.
Tallies = Mapping[str, Mapping[str, float]]


class Sampler:
    """Takes a sample of the records of one slice, whose batches come in order.

    Records that could not be read are left out: their cells are anybody's guess. A record that is rejected is not.

    Args:
        columns: Position of each dataset column in a record, from 0.
    """

    def __init__(self, dataset: Dataset, columns: Mapping[str, int]) -> None:
        self._places = {field: columns[field.name] for field in dataset.file_fields if field.name in columns}
        self._stride = 1.0
        self._records: dict[int, Sequence[str]] = {}

    def add(self, batch: RecordBatch) -> None:
        """Take in some of the records of `batch`, which is no header."""
        first, stop = batch.first_number, batch.first_number + len(batch)
        while len(self._records) + _picks(self._stride, first, stop) > SAMPLE_RECORDS:
            self._thin_out()
        places = [number - first for number in _picked(self._stride, first, stop)]
        if batch.faults:
            places = [place for place in places if place not in batch.faults]
        cells = _rows(batch.values, places)
        self._records.update(zip([first + place for place in places], cells, strict=True))

    def _thin_out(self) -> None:
        self._stride = 2 * self._stride if self._stride > 1 else _GOLDEN
        if self._records:
            kept = _picked(self._stride, min(self._records), max(self._records) + 1)
            self._records = {number: self._records[number] for number in kept if number in self._records}

    def tallies(self) -> Tallies:
        """What the sample has in each column."""
        records = self._records.values()
        return {
            field.name: _tally(field, [cells[place] if place < len(cells) else "" for cells in records])
            for field, place in self._places.items()
        }


def added(one: Tallies, other: Tallies) -> Tallies:
    """The tallies of two samples together."""
    return {column: _added(one.get(column, {}), other.get(column, {})) for column in {**one, **other}}


def profile_of(tallies: Tallies) -> dict[str, ColumnProfile]:
    """What is told of the samples."""
    return {column: _column_profile(tally) for column, tally in tallies.items()}


def _picks(stride: float, first: int, stop: int) -> int:
    """How many records from `first` up to, not including, `stop` are in a sample of that stride."""
    return math.ceil(stop / stride) - math.ceil(first / stride)


def _picked(stride: float, first: int, stop: int) -> list[int]:
    """Their numbers. Twice the stride picks every second of them."""
    return [int(turn * stride) for turn in range(math.ceil(first / stride), math.ceil(stop / stride))]


def _rows(values: Sequence[Sequence[str]] | Cells, places: Sequence[int]) -> list[Sequence[str]]:
    """The cells of the records at `places`, and of no other one."""
    if not isinstance(values, Cells):
        return [values[place] for place in places]
    flat, width, step = values.flat, values.width, values.width + 1
    return [flat[start : start + width] for start in (place * step for place in places)]


def _tally(field: DatasetField, cells: Sequence[str]) -> Mapping[str, float]:
    values = list(filter(None, map(str.strip, cells)))
    texts = filter(None, map(plain_number(field), values))
    numbers = [number for number in map(_number, texts) if number is not None]
    positives = [number for number in numbers if 1 / LARGEST <= number <= LARGEST]
    return {
        "values": len(values),
        "empty": len(cells) - len(values),
        "numbers": len(numbers),
        "negatives": sum(number < 0 for number in numbers),
        "formatted": sum(map(bool, map(_FORMATTED.fullmatch, values))),
        "positives": len(positives),
        "logs": math.fsum(map(math.log, positives)),
    }


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # a sign, a point or an exponent alone
        return None


def _added(one: Mapping[str, float], other: Mapping[str, float]) -> Mapping[str, float]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _column_profile(tally: Mapping[str, float]) -> ColumnProfile:
    counts = dict(tally)
    logs = counts.pop("logs")
    positives = counts["positives"]
    return ColumnProfile.model_validate(
        counts | {"typical": math.exp(logs / positives) if positives else None}
    )
