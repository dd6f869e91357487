"""Dialects that a text might be written in, and the text split by one of them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = [
    "COMMON_DELIMITERS",
    "Candidate",
    "SplitRow",
    "common_delimiters_in",
    "inside_quotes",
    "longer_delimiters_in",
    "may_be_single_quoted",
    "rare_delimiters_in",
    "split",
]

COMMON_DELIMITERS = (",", ";", "\t", "|")
_RARE_DELIMITERS = frozenset(" :^~#&!*§¦\x01\x02\x03\x1c\x1d\x1e\x1f")
_MOST = 0.6  # of the lines: those before the table and of a further one may lack its delimiter
_RUN = re.compile(r"[,;|:^~#&!*@<>§¦\t]{2,4}")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_QUOTED = re.compile(r'"[^"]*"')
_BLANK_AT_END = re.compile(r" +$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """How a text might be written; the members are those of `Dialect`."""

    delimiter: str
    quote: str = '"'
    escape: str = '"'


@dataclass(slots=True)
class SplitRow:
    """One record of a sample.

    Attributes:
        cells: The values; a quoted one without its quotes, as it was otherwise.
        quoted: Positions of those that were quoted.
        start: Where it begins in the sample, in characters.
        end: Where its line end ends.
    """

    cells: list[str]
    quoted: Sequence[int]
    start: int
    end: int


def common_delimiters_in(lines: Sequence[str]) -> list[str]:
    """The common delimiters that occur in these lines at all."""
    text = "\n".join(lines)
    return [delimiter for delimiter in COMMON_DELIMITERS if delimiter in text]


def rare_delimiters_in(lines: Sequence[str]) -> list[str]:
    """Other characters that are in most of these lines."""
    present = Counter(char for line in lines for char in _RARE_DELIMITERS.intersection(line))
    return sorted(char for char, lines_with in present.items() if lines_with >= len(lines) * _MOST)


def longer_delimiters_in(lines: Sequence[str], parts: Iterable[str]) -> list[str]:
    """Delimiters of several characters: one of `parts` that always has blanks beside it, a run that is in most lines."""
    bare = _BLANK_AT_END.sub("", _QUOTED.sub("", "\n".join(lines)))
    found: list[str] = []
    for part in parts:
        inside = bare.count(part) - bare.count(part + "\n") - bare.endswith(part)
        if part == " " or not inside or bare.count(part + " ") != inside:
            continue
        found.append(part + " ")
        if bare.count(" " + part + " ") == inside:
            found.append(" " + part + " ")
    runs = Counter(run for line in lines for run in set(_RUN.findall(line)))
    return found + [run for run, lines_with in runs.most_common(3) if lines_with >= len(lines) * _MOST]


def may_be_single_quoted(lines: Sequence[str], delimiter: str) -> bool:
    """Whether apostrophes enclose a cell of these lines."""
    text = "\n".join(lines)
    end = re.escape(delimiter)
    return "'" in text and bool(re.search(rf"(?:^|{end})'[^'\n]+'(?:$|{end})", text, re.MULTILINE))


def split(text: str, candidate: Candidate, *, complete: bool = True) -> list[SplitRow]:
    """The records of a sample; a blank line is one of one empty cell.

    A quote closes its field only where a delimiter or a line end follows: of a text whose dialect is yet to be found,
    that tells more than the strict rule. Linear: after one quote that nothing closes, none is looked for any more.
    """
    if candidate.quote and candidate.quote in text:
        return _quoted_rows(text, candidate, complete=complete)
    return _plain_rows(text, candidate.delimiter)


def _plain_rows(text: str, delimiter: str, start: int = 0) -> list[SplitRow]:
    rows = []
    for line in _LINE.findall(text, start):
        end = start + len(line)
        rows.append(SplitRow(line.rstrip("\r\n").split(delimiter), (), start, end))
        start = end
    return rows


def _quoted_rows(text: str, candidate: Candidate, *, complete: bool) -> list[SplitRow]:
    rows: list[SplitRow] = []
    cells: list[str] = []
    quoted: list[int] = []
    start = 0
    for field in _field_pattern(candidate).finditer(text):
        enclosed, plain, behind = field.groups("")
        if enclosed:
            quoted.append(len(cells))
            cells.append(enclosed[1:-1])
        elif plain.startswith(candidate.quote):
            if complete:
                return rows + _plain_rows(text, candidate.delimiter, start)
            return [*rows, SplitRow([*cells, text[field.start() :]], quoted, start, len(text))]
        else:
            cells.append(plain)
        if not behind or behind in "\r\n":
            end = field.end()
            if end > start:
                rows.append(SplitRow(cells, quoted, start, end))
            cells, quoted, start = [], [], end
    return rows


def inside_quotes(quote: str, escape: str) -> str:
    """The alternatives of a pattern for a part of a quoted field; the signs come escaped for it, `escape` may be empty."""
    if not escape:
        return rf"[^{quote}]++"
    if escape == quote:
        return rf"[^{quote}]++|{quote}{quote}"
    return rf"[^{quote}{escape}]++|{escape}."


@lru_cache(maxsize=256)
def _field_pattern(candidate: Candidate) -> "re.Pattern[str]":
    """Three groups: a quoted field with its quotes, else a plain one; then what ends it."""
    delimiter, quote, escape = map(re.escape, (candidate.delimiter, candidate.quote, candidate.escape))
    plain = rf"[^{delimiter}\r\n]*+" if len(candidate.delimiter) == 1 else rf"(?:(?!{delimiter})[^\r\n])*+"
    inner = inside_quotes(quote, escape)
    ends = rf"{delimiter}|\r\n|\r|\n|\Z"
    enclosed = rf"{quote}(?:{inner}|{quote}(?!{ends}))*+{quote}(?={ends})"
    return re.compile(rf"(?:({enclosed})|({plain}))({ends})", re.DOTALL)
