r"""Text to fields. Regular text is split in a few passes over all of it; any other text by `csv`, record by record.

A quote is special only where a field starts; a doubled one inside stands for itself (RFC 4180, rule 7); text
behind a closing quote belongs to the field. That is `csv` with `strict=False`.

An escape other than the quote makes the quote and itself plain, inside quotes and outside: writers that escape
(MySQL, Python's `csv`) do so in both. Before anything else it is a character like any other (`C:\temp`). Where nothing
is quoted it is all that can make a delimiter or a line end plain, so there it does, and a quote too.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from shared.contracts.dialect import Dialect
from shared.reading.structure import line_ends, own_escape, quotes_stand_alone

if TYPE_CHECKING:
    import _csv

# The default, 131,072 characters, would end the file at a field that is well within MAX_RECORD_BYTES.
csv.field_size_limit(2**31 - 1)

# To mark places in a text with what it does not hold: control characters, else what no decoder makes.
_MARKS = tuple(map(chr, (*range(0x1F, 0x0D, -1), *range(0xD800, 0xD810))))


@dataclass(frozen=True, slots=True)
class Cells:
    """Records that all have `width` fields, in one flat list: the fields of a record, then a mark that is none."""

    flat: list[str]
    width: int

    def __len__(self) -> int:
        return len(self.flat) // (self.width + 1)

    def rows(self) -> list[list[str]]:
        step = self.width + 1
        return [self.flat[start : start + self.width] for start in range(0, len(self.flat), step)]

    def columns(self) -> list[list[str]]:
        return [self.flat[position :: self.width + 1] for position in range(self.width)]

    def part(self, start: int, stop: int) -> "Cells":
        step = self.width + 1
        return Cells(self.flat[start * step : stop * step], self.width)


def split_regular(text: str, dialect: Dialect) -> tuple[Cells, int, int] | None:
    """The records of `text`, which ends with a line end, but for the last one; their length in it; and their lines.

    None unless all of them have the same number of fields and each quoted field stands alone between delimiters
    or line ends, so that they are just what `split_lines` finds; and there is no blank line, nor are all fields of
    the last one or of the record behind it empty, so that no gap between tables begins there (see `tables`).
    """
    signs = _Signs.of(text, dialect)
    if signs.escape:
        return None
    quote, delimiter = dialect.quote, signs.delimiter
    short_text = signs.shortened(text)
    pieces = short_text.split(quote) if quote else [short_text]
    rest = _cut_last(pieces, delimiter, quote)
    bare = _bare(pieces, delimiter, dialect) if rest else None
    if rest is None or bare is None:
        return None
    field_mark, record_mark = islice(unused_in(short_text), 2)
    width = bare.count(delimiter, 0, bare.index("\n")) + 1
    marked = bare.replace(delimiter, field_mark).replace("\n", field_mark + record_mark + field_mark)
    records = (len(marked) - len(bare)) // 2
    # With the quote between them: a CR and an LF of two fields are two line ends.
    lines = records + (line_ends(quote.join(pieces[1::2])) if len(pieces) > 1 else 0)
    flat = _filled(marked, pieces, quote).split(field_mark)
    flat.pop()
    if not _is_even(flat, width, records, record_mark):
        return None
    return Cells(signs.values(flat), width), len(text) - len(signs.written(rest)), lines


def _cut_last(pieces: list[str], delimiter: str, quote: str) -> str | None:
    """Take the last record that ends in `pieces` off them, and all behind it; None if it is empty or the only one.

    Args:
        pieces: What is outside quotes at even indexes, what is inside at odd ones.
        delimiter: One character.
        quote: What stood between the pieces.
    """
    end = _last_line_end(pieces, (len(pieces) - 1) // 2 * 2, None)
    start = end and _last_line_end(pieces, end[0], end[1] - 1)
    if not end or not start:
        return None
    if pieces[end[0]].endswith("\r\n", 0, end[1]) and start == (end[0], end[1] - 1):
        start = _last_line_end(pieces, end[0], end[1] - 2)
        if not start:
            return None
    index, length = start
    rest = quote.join([pieces[index][length:], *pieces[index + 1 :]])
    behind = quote.join([pieces[end[0]][end[1] :], *pieces[end[0] + 1 :]])
    if not rest[: len(rest) - len(behind)].strip(delimiter + quote + "\r\n"):
        return None
    pieces[index] = pieces[index][:length]
    del pieces[index + 1 :]
    return rest


def _last_line_end(pieces: list[str], index: int, before: int | None) -> tuple[int, int] | None:
    """Where the last line end is outside quotes, up to that piece and length: a piece, and the length up to behind it."""
    for place in range(index, -1, -2):
        length = max(pieces[place].rfind("\n", 0, before), pieces[place].rfind("\r", 0, before)) + 1
        if length:
            return place, length
        before = None
    return None


def _bare(pieces: list[str], delimiter: str, dialect: Dialect) -> str | None:
    """What is outside quotes, each line end as LF, a quote in place of what is inside; None if not regular.

    Args:
        pieces: What is outside quotes at even indexes, what is inside at odd ones.
    """
    outside = pieces[::2]
    if len(pieces) == 1:
        return _with_lf(outside[0])
    if len(pieces) % 2 == 0 or (not dialect.escape and "" in outside[1:-1]):
        return None
    if not quotes_stand_alone(outside[:-1], outside[1:], frozenset((delimiter, "\n", "\r"))):
        return None
    return _with_lf(dialect.quote.join(outside))


def _with_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _filled(marked: str, pieces: list[str], quote: str) -> str:
    """`marked` with what is inside the quotes at its place."""
    if len(pieces) == 1:
        return marked
    outside = marked.split(quote)
    if "" in outside[1:-1]:
        outside[1:-1] = [piece or quote for piece in outside[1:-1]]
    pieces[::2] = outside
    return "".join(pieces)


def _is_even(flat: list[str], width: int, records: int, record_mark: str) -> bool:
    """Whether every record has `width` fields, none is a blank line, and the last one is not empty."""
    if len(flat) != records * (width + 1) or flat[width :: width + 1].count(record_mark) != records:
        return False
    return any(flat[-width - 1 : -1]) and (width > 1 or "" not in flat)


def split_lines(
    text: str, line_count: int, dialect: Dialect, *, only_first: bool = False
) -> tuple[list[list[str]], list[int]]:
    """The complete rows in `text` (a blank line is an empty row), and how many lines were read after each.

    Args:
        text: Any text.
        line_count: Its physical lines, the last one with or without a line end.
        dialect: How it is written.
        only_first: Stop after the first row that is no blank line.
    """
    signs = _Signs.of(text, dialect)
    rows: list[list[str]] = []
    ends: list[int] = []
    # The line added is a row of its own, unless an open quote takes it in: either way the last row goes.
    reader = signs.reader(chain(signs.lines(text), "\n"))
    for row in reader:
        if reader.line_num > line_count:
            break
        rows.append(row)
        ends.append(reader.line_num)
        if only_first and row:
            break
    if signs.stand_ins:
        rows = list(map(signs.values, rows))
    return rows, ends


def split_cut_off(text: str, dialect: Dialect) -> list[str]:
    """The fields of the record that `text` is the beginning of, though it does not end there."""
    signs = _Signs.of(text, dialect)
    return signs.values(next(signs.reader(signs.lines(text))))


@dataclass(frozen=True, slots=True)
class _Signs:
    """A dialect with signs of one character each, and what in a text they stand for.

    Attributes:
        delimiter: One character, which stands for one of several.
        escape: One that makes plain what follows it, where nothing is quoted.
        stand_ins: A character that the text does not have, what it stands for in the text, and in a value.
    """

    dialect: Dialect
    delimiter: str
    escape: str
    stand_ins: list[tuple[str, str, str]]

    @classmethod
    def of(cls, text: str, dialect: Dialect) -> "_Signs":
        marks = unused_in(text)
        stand_ins = []
        delimiter, escape = dialect.delimiter, own_escape(dialect)
        if escape not in text:
            escape = ""
        if escape and dialect.quote:
            # Pair by pair from the left, as they are read.
            stand_ins.append((next(marks), escape * 2, escape))
            stand_ins.append((next(marks), escape + dialect.quote, dialect.quote))
            escape = ""
        if len(delimiter) > 1:
            stand_ins.append((next(marks), delimiter, delimiter))
            delimiter = stand_ins[-1][0]
        return cls(dialect, delimiter, escape, stand_ins)

    def shortened(self, text: str) -> str:
        """`text` with the stand-ins."""
        for mark, written, _ in self.stand_ins:
            text = text.replace(written, mark)
        return text

    def written(self, text: str) -> str:
        """What `shortened` made `text` of."""
        for mark, written, _ in self.stand_ins:
            text = text.replace(mark, written)
        return text

    def values(self, fields: list[str]) -> list[str]:
        """`fields` without stand-ins."""
        for mark, _, value in self.stand_ins:
            fields = [field.replace(mark, value) for field in fields]
        return fields

    def lines(self, text: str) -> Iterable[str]:
        """The lines of `text`, for `reader`."""
        lines = io.StringIO(self.shortened(text), newline="")
        return map(self._escaped_for_csv(), lines) if self.escape else lines

    def reader(self, lines: Iterable[str]) -> "_csv.Reader":
        quote = self.dialect.quote
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            doublequote=bool(self.dialect.escape),
            escapechar=self.escape or None,
        )

    def _escaped_for_csv(self) -> Callable[[str], str]:
        """Makes of a line one that means the same to `csv`, for which an escape makes plain whatever follows."""
        plain = (self.delimiter, self.escape, "\r\n", "\r", "\n", '"', "'")
        escapes = re.compile(re.escape(self.escape) + f"({'|'.join(map(re.escape, plain))})?")

        def for_csv(found: re.Match[str]) -> str:
            return "".join(self.escape + character for character in found[1] or self.escape)

        return lambda line: escapes.sub(for_csv, line)


def unused_in(text: str) -> Iterator[str]:
    """Characters that are not in `text`."""
    return (mark for mark in _MARKS if mark not in text)
