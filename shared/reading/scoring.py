"""How well a candidate explains a sample: records of one width, made of cells that look like whole values.

The idea (a pattern score times a type score) is that of van den Burg, Nazábal and Sutton, "Wrangling messy CSV files
by detecting row and type patterns", 2019; the measures are our own.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shared.reading.candidates import COMMON_DELIMITERS, Candidate, SplitRow, split
from shared.reading.cells import kind_of, wholeness
from shared.reading.preamble import header_rows_at

__all__ = ["Score", "best_escape", "score"]

_CELLS_LOOKED_AT = 1500  # of one sample: they settle it, and each costs
_ONE_COLUMN = 0.45  # a file of one column needs no delimiter, but nearly any file can be read as one
_ONE_CELL = 0.6  # of the weight of another width
_UNSURE, _SURE = 0.55, 0.9  # of a header: nothing speaks for one or against it; columns of values do
_BELOW_ONE_NAME, _WITHOUT_HEADER = 0.15, 0.5
_ONLY_BEGINS_LINES = 0.3  # a sign before each line is a comment's or a list's
_LONE_QUOTES = 3  # inside quoted cells, none of them doubled: fewer are slips of a writer who doubles them
_RARE, _LONG, _SPACE, _SINGLE_QUOTE = 0.85, 0.95, 0.7, 0.97


@dataclass(frozen=True, slots=True)
class Score:
    """How a candidate does.

    Attributes:
        value: 0 to 1, to compare candidates of one sample by.
        evenness: Share of records that are as wide as most.
        wholeness: How much the cells look like whole values, 0 to 1.
        width: Cells of most records.
    """

    candidate: Candidate
    rows: Sequence[SplitRow]
    value: float
    evenness: float
    wholeness: float
    width: int


def score(text: str, candidate: Candidate, *, complete: bool) -> Score:
    """Split the sample and judge. The last record of a sample that is not `complete` may be cut, and does not count."""
    rows = split(text, candidate, complete=complete)
    if not complete and len(rows) > 1:
        rows.pop()
    filled = [row for row in rows if any(row.cells)]
    if not filled:
        return Score(candidate, rows, 0.0, 0.0, 0.0, 0)
    width = _usual_width(filled)
    first = next(index for index, row in enumerate(filled) if len(row.cells) == width)
    even = [row for row in filled[first:] if len(row.cells) == width]
    evenness = len(even) / (len(filled) - first)
    whole = _wholeness(even)
    share = 0.5 + 0.5 * len(even) / len(filled)
    if first:
        share *= _worth_below(filled, first, width, candidate)
    else:
        share *= 1 - _hollow_columns(even) / width / 2
    if candidate.delimiter not in COMMON_DELIMITERS and not any(row.cells[0].strip() for row in even[1:]):
        share *= _ONLY_BEGINS_LINES
    value = evenness * share * whole**2 * _worth_of_width(width) * _prior(candidate)
    return Score(candidate, rows, value, evenness, whole, width)


def best_escape(text: str, scored: Score, *, complete: bool) -> Score:
    """The same delimiter and quote with the escape that the text shows."""
    candidate = scored.candidate
    if not candidate.quote or candidate.quote not in text:
        return scored
    best = scored
    for escape in _other_escapes(text, scored):
        other = score(text, Candidate(candidate.delimiter, candidate.quote, escape), complete=complete)
        if other.evenness < best.evenness:
            continue
        if _shows_escape(other) or (escape and other.evenness > best.evenness):
            best = other
    return best


def _other_escapes(text: str, scored: Score) -> list[str]:
    """What may make a quote plain beside a doubled one: a backslash, or nothing where quotes stand alone in cells."""
    quote, delimiter = scored.candidate.quote, scored.candidate.delimiter
    escapes = ["\\"] if "\\" + quote in text and "\\" not in delimiter else []
    if scored.evenness < 1 or _quotes_inside(scored).lone >= _LONE_QUOTES:
        escapes.append("")
    return escapes


def _shows_escape(scored: Score) -> bool:
    """Whether the quotes in quoted cells are those of this escape, which is not the doubled quote."""
    inside = _quotes_inside(scored)
    if scored.candidate.escape:
        return inside.escaped > max(inside.doubled, inside.lone)
    return inside.lone > max(inside.doubled, inside.escaped) and inside.lone >= _LONE_QUOTES


@dataclass(frozen=True, slots=True)
class _QuotesInside:
    """Quotes within quoted cells: doubled, behind a backslash, and neither."""

    doubled: int
    escaped: int
    lone: int


def _quotes_inside(scored: Score) -> _QuotesInside:
    quote = scored.candidate.quote
    cells = [
        row.cells[position] for row in scored.rows for position in row.quoted if quote in row.cells[position]
    ]
    sign = re.escape(quote)
    lone = re.compile(rf"(?<!{sign})(?<!\\){sign}(?!{sign})")
    return _QuotesInside(
        doubled=sum(cell.count(quote * 2) for cell in cells),
        escaped=sum(cell.count("\\" + quote) for cell in cells),
        lone=sum(len(lone.findall(cell)) for cell in cells),
    )


def _worth_below(rows: Sequence[SplitRow], first: int, width: int, candidate: Candidate) -> float:
    """What speaks against a table that begins below other rows: that it has no header there, or no sure one."""
    header = header_rows_at([row.cells for row in rows[first:]], width)
    sureness = header.sureness if header.header_rows else 0.0
    # One word above is more often the name of the only column than the title of a table, and so are several lines
    # than those of a table whose delimiter is as rare as a blank.
    below_name = first == 1 and len(rows[0].cells) == 1 and kind_of(rows[0].cells[0]) in ("WORD", "CODE")
    doubtful = below_name or candidate.delimiter not in COMMON_DELIMITERS
    if sureness > (_SURE if doubtful else _UNSURE):
        return 1.0
    return _BELOW_ONE_NAME if below_name and sureness <= _UNSURE else _WITHOUT_HEADER


def _usual_width(rows: Sequence[SplitRow]) -> int:
    widths = Counter(len(row.cells) for row in rows)
    first = len(rows[0].cells)
    # The first record decides between widths that are as frequent: most files begin with their header. Lines of one
    # cell are titles and footers rather than records.
    return max(
        widths, key=lambda width: (widths[width] + (width == first) / 2) * (_ONE_CELL if width == 1 else 1)
    )


def _wholeness(rows: Sequence[SplitRow]) -> float:
    looked_at = rows[: max(_CELLS_LOOKED_AT // len(rows[0].cells), 1)]
    cells = sum(len(row.cells) for row in looked_at)
    total = 0.0
    for row in looked_at:
        total += sum(map(wholeness, row.cells))
        total += sum(1 - wholeness(row.cells[position]) for position in row.quoted)
    return total / cells


def _hollow_columns(rows: Sequence[SplitRow]) -> int:
    """Columns that hold nothing, or the same sign in each row: half of a delimiter of several characters."""
    first, *others = rows[: max(_CELLS_LOOKED_AT // len(rows[0].cells), 2)]
    signs = [position for position, cell in enumerate(first.cells) if not any(map(str.isalnum, cell))]
    return sum(
        all(row.cells[position] == first.cells[position] for row in others) for position in signs if others
    )


def _worth_of_width(width: int) -> float:
    return _ONE_COLUMN if width == 1 else 1 - 0.5 / width


def _prior(candidate: Candidate) -> float:
    worth = 1.0 if candidate.delimiter.strip(" ") in COMMON_DELIMITERS else _RARE
    if len(candidate.delimiter) > 1:
        worth = max(worth, _LONG)
    if candidate.delimiter == " ":
        worth = _SPACE
    return worth * (_SINGLE_QUOTE if candidate.quote == "'" else 1.0)
