"""Where the table begins in a file, and which of its records name the columns.

Titles, comments and blank lines may stand before the header; the header may take several rows, or be missing.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from shared.reading.cells import NOTHING, TYPED, WORDS, Kind, is_usual_name, kind_of, shape_of
from shared.reading.header import joined_names

__all__ = ["TableStart", "find_table", "header_rows_at"]

Row = Sequence[str]
T = TypeVar("T")

_MAX_HEADER_ROWS = 3  # more are not guessed, they can be given
_ROWS_LOOKED_AT = 200
_BODY_ROWS = 50  # whose kinds are compared with the header's
_MOST_KINDS, _MOST_SHAPES = 0.6, 0.8  # share of a column's values that are alike
_SHAPED = 5  # values of one shape; fewer are chance
_LONG_NAME = 60  # characters; a longer cell is prose or data
_FEWEST_VALUES = 3  # below names, to be sure of what a column holds
_TITLES = 5  # lines above records that have no header
_WORDS_FOR_VALUES = 3  # where records have values: no data has as many
_YEARS = 3
_YEAR = re.compile("(?:18|19|20)[0-9]{2}")
_GROUP_NAMES = 3  # cells; fewer in a row are a title
_SENTENCE_WORDS = 4  # for each cell, on average; names of columns are shorter
_NAMES_KNOWN_WITHIN = 200  # records in which a header that is known by its names is looked for


@dataclass(frozen=True, slots=True)
class TableStart:
    """The first record of the table.

    Attributes:
        row: Its index among the rows.
        header_rows: How many rows from there name the columns.
        sureness: 0 to 1, of `header_rows`.
        reason: Why it is so.
    """

    row: int
    header_rows: int
    sureness: float
    reason: str


def find_table(
    rows: Sequence[Row],
    width: int,
    *,
    names_known: Callable[[Row], int] | None = None,
    skip: bool = True,
) -> TableStart:
    """Find the table in `rows`, whose records mostly have `width` cells.

    Args:
        names_known: Tells how many of a dataset's columns a row names, 0 if too few: there is no better evidence.
        skip: Whether rows may be passed over before the table; blank ones always are.
    """
    first = _first_filled(rows)
    if names_known:
        for index in range(first, min(len(rows), _NAMES_KNOWN_WITHIN) if skip else first + 1):
            if names_known(rows[index]):
                named = _rows_that_name(rows[index : index + _MAX_HEADER_ROWS], names_known)
                return TableStart(index, named, 1.0, "A record holds the names of the dataset's columns.")
    start = _first_full_row(rows, width) if skip else first
    header = header_rows_at(rows[start:], width)
    if skip and header.header_rows == 0:
        return _without_header_at(rows, start, width)
    if skip and header.header_rows > 1 and _is_sentence(rows[start]) and not _is_sentence(rows[start + 1]):
        start, header = start + 1, replace(header, header_rows=header.header_rows - 1)
    elif skip:
        above = _group_names_above(rows, start, width)
        start, header = start - above, replace(header, header_rows=header.header_rows + above)
    return replace(header, row=start)


def _rows_that_name(rows: Sequence[Row], names_known: Callable[[Row], int]) -> int:
    """Over how many of `rows` the names go: a further row is one of them if it makes more columns known."""
    known = [names_known(joined_names(rows[: count + 1])) for count in range(len(rows))]
    return known.index(max(known)) + 1


def _kind(cell: str) -> Kind:
    """Its kind, whatever stray quote stands before or behind it."""
    return kind_of(cell.strip("\"' "))


def _filled(row: Row) -> int:
    return sum(map(bool, map(str.strip, row)))


def _first_filled(rows: Sequence[Row]) -> int:
    return next((index for index, row in enumerate(rows) if any(map(str.strip, row))), 0)


def _first_full_row(rows: Sequence[Row], width: int) -> int:
    """The first row that is filled like the table's rows are, and not only a title in the first of its cells."""
    body = sorted(filter(None, (_filled(row) for row in rows[:_ROWS_LOOKED_AT] if len(row) == width)))
    usual = body[len(body) * 3 // 4] if body else 0
    wanted = max(2, (usual + 1) // 2) if usual > 1 or width > 2 else 1
    return next(
        (
            index
            for index, row in enumerate(rows)
            if _filled(row) >= wanted and (len(row) * 2 > width or width == 1)
        ),
        _first_filled(rows),
    )


def _without_header_at(rows: Sequence[Row], start: int, width: int) -> TableStart:
    """Where the table begins if the first full row is a record: at names above that fill few cells, or at a record.

    Nothing is dropped above records that have no header, but for a few titles.
    """
    while start and width > 1 and len(rows[start - 1]) == width and _filled(rows[start - 1]):
        start -= 1
        header = header_rows_at(rows[start:], width)
        if header.header_rows:
            return replace(header, row=start)
    titles = [row for row in rows[:start] if _filled(row)]
    if len(titles) > _TITLES or width <= 2 or any(_filled(row) > 1 for row in titles):
        start = _first_filled(rows)
    return replace(header_rows_at(rows[start:], width), row=start)


def _group_names_above(rows: Sequence[Row], start: int, width: int) -> int:
    """Rows right above the names that are as wide and hold names of groups of columns, not a title in one cell."""
    count = 0
    while start > count and count + 1 < _MAX_HEADER_ROWS:
        row = rows[start - count - 1]
        if len(row) != width or _filled(row) < _GROUP_NAMES or any(_kind(cell) in TYPED for cell in row):
            break
        count += 1
    return count


def _is_sentence(row: Row) -> bool:
    words = [len(cell.split()) for cell in row if cell.strip()]
    return sum(words) >= _SENTENCE_WORDS * len(words)


def header_rows_at(rows: Sequence[Row], width: int) -> TableStart:
    """How many of the first rows name the columns, judged by how they differ from the rows below."""
    if not rows:
        return TableStart(0, 0, 0.0, "There are no records.")
    # A first record that comes again is a header over several rows, or of a further table: no value of the body.
    body = [row for row in rows[1:_ROWS_LOOKED_AT] if any(row) and row != rows[0]]
    even = [row for row in body if len(row) == width]
    body = (even if len(even) >= _SHAPED else body)[:_BODY_ROWS]
    if not body:
        return _header_alone(rows)
    columns = [
        _Column.of([row[position] for row in body if position < len(row)]) for position in range(width)
    ]
    sureness = _header_sureness(rows[0], body, columns)
    if rows[1] == rows[0] and not any(column.is_typed for column in columns):
        sureness = -0.25  # among words alone, two records that are the same are data
    if sureness < 0:
        return TableStart(0, 0, min(1.0, 0.5 - sureness), "The first record looks like the ones below it.")
    reason = (
        "The first record holds words where the ones below hold values."
        if any(column.is_typed for column in columns)
        else "The first record differs from the ones below it."
    )
    return TableStart(0, 1 + _further_header_rows(rows, width), min(1.0, 0.5 + sureness), reason)


def _header_sureness(first: Row, body: Sequence[Row], columns: Sequence["_Column"]) -> float:
    """Above 0: the first row names the columns; below: it is one more record. Columns of values tell best."""
    beside = list(zip(first, columns, strict=False))
    typed = [column.vote(cell) for cell, column in beside if column.is_typed]
    words, values = typed.count(1.0), typed.count(-1.0)
    if words and (words >= _WORDS_FOR_VALUES or words * 4 >= words + values):
        return 0.5 if len(body) >= _FEWEST_VALUES else 0.3
    if values:
        return 0.5 if _are_years(first, body) else -0.5
    votes = sum(column.vote(cell) for cell, column in beside if not column.is_typed)
    return (votes + _names_vote(first)) / 4


def _are_years(first: Row, body: Sequence[Row]) -> bool:
    """Whether the row names columns by years, one after the other, as the records below do not."""
    years = [cell.strip() for cell in first if _kind(cell) == "NUMBER"]
    if len(years) < _YEARS or not all(map(_YEAR.fullmatch, years)):
        return False
    below = [cell.strip() for row in body for cell in row if _kind(cell) == "NUMBER"]
    rising = sorted(set(years)) in (years, years[::-1])
    return rising and sum(map(bool, map(_YEAR.fullmatch, below))) * 2 < len(below)


def _header_alone(rows: Sequence[Row]) -> TableStart:
    if any(_kind(cell) in TYPED for cell in rows[0]):
        return TableStart(0, 0, 0.5, "The only record holds values.")
    if sum(row == rows[0] for row in rows) > _MAX_HEADER_ROWS - 1:
        return TableStart(0, 0, 0.5, "All records are the same.")
    return TableStart(0, 1, 0.5, "The only record holds words.")


def _names_vote(row: Row) -> float:
    """What the row tells by itself: names are short, and each stands once."""
    cells = [cell.strip() for cell in row]
    filled = [cell for cell in cells if cell]
    if not filled or max(map(len, filled)) > _LONG_NAME:
        return -0.5
    distinct = len(set(filled)) == len(filled)
    values = sum(_kind(cell) in TYPED for cell in filled)
    if values * 2 > len(filled):
        return -0.5
    return 0.5 if distinct and not values else 0.0


@dataclass(frozen=True, slots=True)
class _Column:
    """What the cells of one column are like, below the header."""

    kind: Kind | None  # of most cells
    shape: str | None  # of most cells, if there are enough of them
    values: frozenset[str]

    @classmethod
    def of(cls, cells: Sequence[str]) -> "_Column":
        kinds = [
            (kind, cell) for kind, cell in zip(map(_kind, cells), cells, strict=True) if kind not in NOTHING
        ]
        if not kinds:
            return cls(None, None, frozenset())
        filled = [cell for _, cell in kinds]
        kind = _of_most((kind for kind, _ in kinds), len(kinds) * _MOST_KINDS)
        shape = (
            _of_most(map(shape_of, filled), len(filled) * _MOST_SHAPES) if len(filled) >= _SHAPED else None
        )
        values = frozenset(map(str.strip, filled))
        return cls(kind, shape, values)

    @property
    def is_typed(self) -> bool:
        return self.kind in TYPED

    def vote(self, cell: str) -> float:
        """Positive if `cell` is a name for this column, negative if it is one more of its values."""
        kind = _kind(cell)
        if kind in NOTHING or not self.values:
            return 0.0
        if is_usual_name(cell):
            return 1.0
        if self.is_typed:
            begins_with_digit = cell.strip()[0].isdigit()
            return -1.0 if kind == self.kind else 0.0 if kind in TYPED or begins_with_digit else 1.0
        if cell.strip() in self.values or (self.shape and shape_of(cell) == self.shape):
            return -1.0
        return 0.5 if self.shape or (self.kind and kind != self.kind) else 0.0


def _of_most(things: Iterable[T], fewest: float) -> T | None:
    thing, times = Counter(things).most_common(1)[0]
    return thing if times >= fewest else None


def _further_header_rows(rows: Sequence[Row], width: int) -> int:
    """Rows below the first that name columns too: the same names again, or words where all records below have values."""
    further = 0
    while further + 1 < min(_MAX_HEADER_ROWS, len(rows) - 1):
        row, below = rows[further + 1], rows[further + 2 : further + 2 + _BODY_ROWS]
        if len(row) != width:
            break
        repeats = [cell.strip() for cell in row] == [cell.strip() for cell in rows[0]]
        if not repeats and not _names_values(row, rows[0], [other for other in below if len(other) == width]):
            break
        further += 1
    return further


def _names_values(row: Row, names: Row, below: Sequence[Row]) -> bool:
    """Whether a row below the names is of the header too: units, or parts of groups.

    A single odd value is data that someone must mend. So there must be words in all columns that hold nothing but
    values below, or none in a first column of values and some below groups that span columns.
    """
    words = {position for position, cell in enumerate(row) if _kind(cell) in WORDS}
    values = {position for position in range(len(row)) if _holds_values([other[position] for other in below])}
    if len(words) < 2 or any(_kind(cell) in TYPED for cell in row):
        return False
    over_values = len(values) >= 2 and len(words & values) * 2 >= len(values)
    below_groups = 0 in values - words and names[0].strip() and any(not names[at].strip() for at in words)
    return over_values or bool(below_groups)


def _holds_values(cells: Sequence[str]) -> bool:
    kinds = [kind for kind in map(_kind, cells) if kind not in NOTHING]
    return len(kinds) >= _FEWEST_VALUES and kinds.count(kinds[0]) == len(kinds) and kinds[0] in TYPED
