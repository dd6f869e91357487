"""Records whose quotes were not written by the rules, read as their writer meant them.

A stray quote opens a field that nothing closes, or closes one too early: cells run together, lines too. Where the
rest of the file tells how wide a record is, the reading that gives that width is the one that was meant.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from shared.contracts.dialect import Dialect
from shared.reading.candidates import Candidate, inside_quotes, split

__all__ = ["is_regular", "mended"]

_LONGEST_READ_ANEW = 1 << 16  # characters; a record that runs on for longer stays as it was read
_QUOTES_TRIED = 32  # in one line, each alone taken for data: more are wrong than one
_LINES_TRIED = 64  # of one record
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_PLACEHOLDER = "\ud800"  # no decoder makes it


def is_regular(text: str, dialect: Dialect) -> bool:
    """Whether each quote of a record either encloses a field, or is escaped in one that is enclosed."""
    return dialect.quote not in text or _regular_record(_candidate(dialect)).fullmatch(text) is not None


def mended(text: str, dialect: Dialect, width: int) -> list[list[str]] | None:
    """The records, all of `width` cells, that the text of one irregular record was meant to be; None if unclear.

    Args:
        text: The record as it is in the file, with its line end.
        dialect: How the file is written; it has a quote.
        width: Cells of the file's records.
    """
    if len(text) > _LONGEST_READ_ANEW:
        return None
    candidate = _candidate(dialect)
    # Lines that each have the width by themselves are records, whatever quote took them in; one column proves nothing.
    if width > 1 and (found := _rows_of_lines(text, candidate, width)):
        return found
    rows = _rows(text, candidate)
    return rows if _have(rows, width) else None


def _rows_of_lines(text: str, candidate: Candidate, width: int) -> list[list[str]] | None:
    lines = _LINE.findall(text)
    if len(lines) > _LINES_TRIED:
        return None
    found: list[list[str]] = []
    for line in lines:
        row = _row_of_line(line, candidate, width)
        if row is None:
            return None
        found.append(row)
    return found


def _candidate(dialect: Dialect) -> Candidate:
    return Candidate(dialect.delimiter, dialect.quote, dialect.escape)


def _row_of_line(line: str, candidate: Candidate, width: int) -> list[str] | None:
    for text in (line, *_with_one_quote_as_data(line, candidate)):
        rows = _rows(text, candidate)
        if len(rows) == 1 and _have(rows, width):
            return [cell.replace(_PLACEHOLDER, candidate.quote) for cell in rows[0]]
    return None


def _with_one_quote_as_data(line: str, candidate: Candidate) -> Iterator[str]:
    """The line with each quote that opens a field replaced, one at a time."""
    opening = re.finditer(f"(?:^|(?<={re.escape(candidate.delimiter)})){re.escape(candidate.quote)}", line)
    for _, quote in zip(range(_QUOTES_TRIED), opening, strict=False):
        yield line[: quote.start()] + _PLACEHOLDER + line[quote.end() :]


def _rows(text: str, candidate: Candidate) -> list[list[str]]:
    rows = split(text, candidate)
    for row in rows:
        for position in row.quoted:
            row.cells[position] = _unescaped(row.cells[position], candidate)
    return [row.cells for row in rows]


def _unescaped(cell: str, candidate: Candidate) -> str:
    quote, escape = candidate.quote, candidate.escape
    if not escape or escape not in cell:
        return cell
    return re.sub(f"{re.escape(escape)}([{re.escape(quote + escape)}])", r"\1", cell)


def _have(rows: Sequence[Sequence[str]], width: int) -> bool:
    return bool(rows) and all(len(row) == width for row in rows)


@lru_cache(maxsize=64)
def _regular_record(candidate: Candidate) -> re.Pattern[str]:
    delimiter, quote, escape = map(re.escape, (candidate.delimiter, candidate.quote, candidate.escape))
    inner = f"(?:{inside_quotes(quote, escape)})"
    plain = rf"(?:(?!{delimiter})[^{quote}\r\n])*+"
    field = f"(?:{quote}{inner}*+{quote}|{plain})"
    return re.compile(rf"{field}(?:{delimiter}{field})*+(?:\r\n|\r|\n|\Z)", re.DOTALL)
