"""Where the records of a batch are in the file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

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
        records, one_line_each = _records(structure.text(data), structure)
        bounds = list(accumulate(structure.lengths(records), initial=self.offset))
        if one_line_each:
            lines: Sequence[int] = range(self.line, self.line + len(records))
        else:
            lines = list(accumulate(map(line_ends, records[:-1]), initial=self.line))
        return Places(lines, bounds[:-1], bounds[1:])


def _records(text: str, structure: Structure) -> tuple[list[str], bool]:
    """The records of a regular `text`, each as long as it is there and with its line ends; if all have but one."""
    quote, escape = structure.quote, structure.escape
    marks = unused_in(text)
    mark = next(marks)
    if escape:
        filler = next(marks)
        for pair in (escape * 2, escape + quote):
            text = text.replace(pair, filler * len(pair))
    pieces = text.split(quote) if quote else [text]
    outside = _marked(quote.join(pieces[::2]), mark)
    pieces[::2] = outside.split(quote) if quote else [outside]
    records = quote.join(pieces).split(mark)
    records.pop()
    return records, not line_ends("".join(pieces[1::2]))


def _marked(text: str, mark: str) -> str:
    """`text` with a mark behind each line end."""
    if "\r" not in text or text.count("\r") == text.count("\r\n"):
        return text.replace("\n", "\n" + mark)
    return _LINE_END.sub(rf"\g<0>{mark}", text)
