"""Where the records of a batch are in the file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import methodcaller

from shared.contracts.dialect import Dialect
from shared.reading.splitting import unused_in
from shared.reading.structure import Structure, line_ends

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Places:
    """Places of successive records.

    Attributes:
        line_numbers: Physical line where each starts, from 1.
        offsets: Byte offset in the file where each starts.
        ends: Byte offset just behind each, line end included.
    """

    line_numbers: Sequence[int]
    offsets: Sequence[int]
    ends: Sequence[int]

    def part(self, start: int, stop: int) -> "Places":
        return Places(self.line_numbers[start:stop], self.offsets[start:stop], self.ends[start:stop])


@dataclass(frozen=True, slots=True)
class RegularPlaces:
    """Places not yet sought, of the records that `split_regular` found in the bytes from `offset`, line `line`."""

    dialect: Dialect
    offset: int
    line: int

    def found(self, data: bytes) -> Places:
        """The places of the records in `data`, which holds them and nothing else."""
        structure = Structure(self.dialect)
        text = structure.text(data)
        records = _records(text, structure)
        bounds = list(accumulate(structure.lengths(records), initial=self.offset))
        return Places(self._lines(text, records), bounds[:-1], bounds[1:])

    def _lines(self, text: str, records: Sequence[str]) -> Sequence[int]:
        if line_ends(text) == len(records):
            return range(self.line, self.line + len(records))
        count = line_ends if "\r" in text else methodcaller("count", "\n")
        return list(accumulate(map(count, records), initial=self.line))[:-1]


def _records(text: str, structure: Structure) -> list[str]:
    """The records of a regular `text`, each as long as it is there, and with its line ends."""
    quote, escape = structure.quote, structure.escape
    marks = unused_in(text)
    mark = next(marks)
    if escape:
        filler = next(marks)
        for pair in (escape * 2, escape + quote):
            text = text.replace(pair, filler * len(pair))
    pieces = text.split(quote) if quote else [text]
    outside = quote.join(pieces[::2])
    if outside.count("\r") == outside.count("\r\n"):
        outside = outside.replace("\n", "\n" + mark)
    else:
        outside = _LINE_END.sub(rf"\g<0>{mark}", outside)
    pieces[::2] = outside.split(quote) if quote else [outside]
    records = quote.join(pieces).split(mark)
    records.pop()
    return records
