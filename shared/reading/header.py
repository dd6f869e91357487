"""Which column of a dataset is where in a file: header names against column names and aliases."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from shared.contracts.datasets import Dataset
from shared.reading.errors import HeaderColumnDuplicate, HeaderColumnMissing, HeaderMissing

_NAMES_SHOWN = 20  # of a header that may have thousands
_NAME_LENGTH_SHOWN = 40  # characters
_SURROUNDING = " \t\r\n\xa0\ufeff\"'"


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A column that files bring. `required`: a file without it is refused."""

    name: str
    required: bool
    aliases: tuple[str, ...] = ()


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
        ColumnSpec(field.name, field.constraints.required, field.aliases) for field in dataset.file_fields
    )


def match_header(names: Sequence[str], columns: Sequence[ColumnSpec]) -> HeaderMatch:
    """Find `columns` among the header's `names`, ignoring case, blanks, `_`, `-`, and by alias.

    Raises:
        HeaderMissing: no name is known, so this is not a header, or one of something else.
        HeaderColumnDuplicate: two names are the same column's.
        HeaderColumnMissing: required columns have no name; all of them in one error.
    """
    known = {_folded(name): column.name for column in columns for name in (*column.aliases, column.name)}
    found: dict[str, list[int]] = defaultdict(list)
    unknown: list[str] = []
    for position, name in enumerate(names):
        folded = _folded(name)
        if folded in known:
            found[known[folded]].append(position)
        elif folded:
            unknown.append(name)
    if not found:
        raise _header_missing(names, columns)
    _refuse_duplicates(names, found)
    _refuse_gaps(names, columns, found)
    placed = {column.name: found[column.name][0] for column in columns if column.name in found}
    return HeaderMatch(MappingProxyType(placed), tuple(unknown))


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.strip(_SURROUNDING)).casefold()


def _header_missing(names: Sequence[str], columns: Sequence[ColumnSpec]) -> HeaderMissing:
    return HeaderMissing(
        f"The first record names no known column. It holds: {_listed(names)}.",
        hint=f"Begin the file with a line of column names: {_listed(column.name for column in columns)}.",
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


def _refuse_gaps(names: Sequence[str], columns: Sequence[ColumnSpec], found: Mapping[str, object]) -> None:
    missing = [column for column in columns if column.required and column.name not in found]
    if missing:
        raise HeaderColumnMissing(
            f"The header lacks {_listed(column.name for column in missing)}. It holds: {_listed(names)}.",
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
