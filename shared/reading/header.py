"""Which column of a dataset is where in a file: header names against column names and aliases."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from types import MappingProxyType
from typing import Literal

from shared.contracts.datasets import Dataset, DatasetField
from shared.contracts.error_file import REMARKS
from shared.reading.cells import NOTHING, kind_of
from shared.reading.errors import HeaderColumnDuplicate, HeaderColumnMissing, HeaderMissing

ValueLook = Literal["any", "number", "date", "isbn", "email"]

_NAMES_SHOWN = 20  # of a header that may have thousands
_NAME_LENGTH_SHOWN = 40  # characters
_FITTING = 0.9  # share of a column's first values that must look like its own
_SURROUNDING = " \t\r\n\xa0\ufeff\"'"


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A column that files bring.

    Attributes:
        required: A file without it is refused.
        aliases: Other names.
        values: What its values look like, as far as that tells them from other text.
        either: The columns, this one among them, of which a file must bring at least one.
    """

    name: str
    required: bool
    aliases: tuple[str, ...] = ()
    values: ValueLook = "any"
    either: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """Where the known columns are.

    Attributes:
        columns: Position in a record, from 0, by column name, in declared order.
        unknown: Header names that are no column's, as they came; these columns are ignored.
    """

    columns: Mapping[str, int]
    unknown: tuple[str, ...]


def columns_of(dataset: Dataset) -> tuple[ColumnSpec, ...]:
    """The columns that a file of `dataset` may bring."""
    return tuple(
        ColumnSpec(
            field.name,
            field.constraints.required,
            field.aliases,
            _look_of(field),
            next((group for group in dataset.required_any if field.name in group), ()),
        )
        for field in dataset.file_fields
    )


def match_header(names: Sequence[str], columns: Sequence[ColumnSpec]) -> HeaderMatch:
    """Find `columns` among the header's `names`, ignoring case, blanks, `_`, `-`, and by alias.

    A column's own name goes before its aliases. What Penstock's error files add is passed over.

    Raises:
        HeaderMissing: no name is known, so this is not a header, or one of something else.
        HeaderColumnDuplicate: two names are the same column's.
        HeaderColumnMissing: required columns have no name; all of them in one error.
    """
    known = _known(tuple(columns))
    found: dict[str, list[int]] = defaultdict(list)
    unknown: list[str] = []
    for position, name in enumerate(names):
        folded = _folded(name)
        if folded in known and name.strip() not in REMARKS:
            found[known[folded]].append(position)
        elif folded:
            unknown.append(name)
    if not found:
        raise _header_missing(names, columns)
    for column, positions in found.items():
        by_name = [position for position in positions if _folded(names[position]) == _folded(column)]
        if len(by_name) == 1:
            unknown += [names[position] for position in positions if position not in by_name]
            found[column] = by_name
    _refuse_duplicates(names, found)
    _refuse_gaps(names, columns, found)
    placed = {column.name: found[column.name][0] for column in columns if column.name in found}
    return HeaderMatch(MappingProxyType(placed), tuple(unknown))


def columns_by_position(rows: Sequence[Sequence[str]], columns: Sequence[ColumnSpec]) -> HeaderMatch:
    """Where the columns are in a file without a header: in declared order, if its first records bear that out.

    They do if each has as many cells as there are columns (or required columns, where these come first), required
    ones filled, and if what should be a number, a date, an ISBN or an address looks like one. Nothing is guessed.

    Raises:
        HeaderMissing: they do not.
    """
    width = len(rows[0]) if rows else 0
    placed = columns[:width]
    left_out = columns[width:]
    if any(column.required for column in left_out) or len(placed) < width or not rows:
        raise _positions_unclear(columns, f"its records have {_cells(width)}, not {len(columns)}")
    for position, column in enumerate(placed):
        cells = [row[position] for row in rows if len(row) == width]
        if not _fit(cells, column):
            raise _positions_unclear(
                columns,
                f"what is in place {position + 1} is no {column.name}, for example {_shown(cells[0])!r}",
            )
    return HeaderMatch(MappingProxyType({column.name: at for at, column in enumerate(placed)}), ())


def _fit(cells: Sequence[str], column: ColumnSpec) -> bool:
    filled = [cell.strip() for cell in cells if kind_of(cell) not in NOTHING]
    if column.required and len(filled) < len(cells) * _FITTING:
        return False
    return sum(_looks_like(cell, column.values) for cell in filled) >= len(filled) * _FITTING


def _looks_like(cell: str, look: ValueLook) -> bool:
    match look:
        case "number":
            return kind_of(cell) == "NUMBER"
        case "date":
            return kind_of(cell) == "DATE"
        case "isbn":
            return len(re.sub(r"[\s-]", "", cell)) in {10, 13} and kind_of(cell) in {"NUMBER", "CODE"}
        case "email":
            return "@" in cell
        case "any":
            return True


def _look_of(field: DatasetField) -> ValueLook:
    if field.format in {"isbn", "email"}:
        return "isbn" if field.format == "isbn" else "email"
    if field.type in {"integer", "number", "year"}:
        return "number"
    return "date" if field.type in {"date", "datetime"} else "any"


def _positions_unclear(columns: Sequence[ColumnSpec], reason: str) -> HeaderMissing:
    names = ", ".join(column.name for column in columns)
    return HeaderMissing(
        f"The file has no line of column names, and its columns cannot be told by their places: {reason}.",
        hint=f"Begin the file with a line of column names, or bring the columns in this order: {names}. "
        "If its first line does name them, say so: header_rows=1.",
    )


def _cells(count: int) -> str:
    return "one cell" if count == 1 else f"{count} cells"


def joined_names(names: Sequence[Sequence[str]]) -> list[str]:
    """One header of several rows: the names of each column, joined by spaces, empty ones left out."""
    if len(names) == 1:
        return list(names[0])
    return [" ".join(filter(str.strip, column)) for column in zip_longest(*names, fillvalue="")]


def known_names(names: Sequence[str], columns: Sequence[ColumnSpec]) -> int:
    """How many of `columns` are named here; 0 unless that is at least half of those required."""
    known = _known(tuple(columns))
    found = {known[folded] for folded in map(_folded, names) if folded in known}
    required = {column.name for column in columns if column.required}
    return len(found) if len(found & required) * 2 >= len(required) else 0


@lru_cache(maxsize=64)
def _known(columns: tuple[ColumnSpec, ...]) -> Mapping[str, str]:
    return {_folded(name): column.name for column in columns for name in (*column.aliases, column.name)}


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.strip(_SURROUNDING)).casefold()


def _header_missing(names: Sequence[str], columns: Sequence[ColumnSpec]) -> HeaderMissing:
    return HeaderMissing(
        f"The first record names no known column. It holds: {_listed(names)}.",
        hint=f"Begin the file with a line of column names: {_listed(column.name for column in columns)}. If it has "
        "none and brings the columns in this order, say so: header_rows=0.",
    )


def _refuse_duplicates(names: Sequence[str], found: Mapping[str, Sequence[int]]) -> None:
    doubled = [
        f"{column} is named by "
        + " and ".join(f"column {position + 1} ({_shown(names[position])})" for position in positions)
        for column, positions in found.items()
        if len(positions) > 1
    ]
    if doubled:
        raise HeaderColumnDuplicate(
            f"The header names a column more than once: {'; '.join(doubled)}.",
            hint="Keep one of them, and remove or rename the others.",
        )


def _refuse_gaps(
    names: Sequence[str], columns: Sequence[ColumnSpec], found: Mapping[str, Sequence[int]]
) -> None:
    missing = [
        column
        for column in columns
        if column.name not in found
        and (column.required or (column.either and not found.keys() & column.either))
    ]
    if missing:
        lacking = dict.fromkeys(" or ".join(column.either) or column.name for column in missing)
        raise HeaderColumnMissing(
            f"The header lacks {_listed(lacking)}. It holds: {_listed(names)}.",
            hint="Add the missing columns. Accepted names: "
            + "; ".join(" or ".join((column.name, *column.aliases)) for column in missing)
            + ".",
        )


def _listed(names: Iterable[str]) -> str:
    shown = [_shown(name) for name in names]
    rest = len(shown) - _NAMES_SHOWN
    return ", ".join(shown[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _shown(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH_SHOWN else name[: _NAME_LENGTH_SHOWN - 1] + "…"
