"""Checked columns as the text that PostgreSQL's COPY takes. Pure, and safe in a thread.

COPY text format: cells between tabs, records between line ends, backslash and N for null, backslash before what is special
(PostgreSQL manual, COPY, File Formats).
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import cast

ROWS_A_PIECE = 2_000  # some 300 kB, made in a millisecond while the server works on the piece before

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}  # the backslash first
_SEPARATOR = "\x1f"  # between cells while they are looked through together
_NULL = "\\N"


class Staged:
    """The records of a slice that are to be loaded.

    Attributes:
        numbers: Record numbers, in file order.
        keys: Compared keys, in file order.
        rows: The COPY text of each record: key, number, then its cells; in order of the keys once `sort` was called.
        origins: The COPY text of where each stood and how it came, beside `rows`, where that is kept.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.keys: list[str] = []
        self.rows: list[str] = []
        self.origins: list[str] = []

    def __len__(self) -> int:
        return len(self.numbers)

    def add(
        self,
        numbers: Sequence[int],
        keys: Sequence[str],
        columns: Sequence[Sequence[str | None]],
        origins: Sequence[Sequence[str]] = (),
    ) -> None:
        """Take in further records, given by columns."""
        self.numbers += numbers
        self.keys += keys
        cells = [escaped(keys), map(str, numbers), *map(escaped, columns)]
        self.rows += map("\t".join, zip(*cells, strict=True))
        if origins:
            self.origins += map("\t".join, zip(*map(escaped, origins), strict=True))

    def sort(self) -> None:
        """Bring the rows into the order of their keys: neighbours in the index are then written together."""
        if self.origins:
            pairs = sorted(zip(self.rows, self.origins, strict=True))
            self.rows, self.origins = [row for row, _ in pairs], [origin for _, origin in pairs]
        else:
            self.rows.sort()

    @cached_property
    def has_distinct_keys(self) -> bool:
        """Whether no two records have the same key. Asked for once all records are there."""
        return len(set(self.keys)) == len(self.keys)

    def for_stage(self) -> Iterator[bytes]:
        """All rows for COPY into a stage, with their origins if these are kept."""
        for start in range(0, len(self.rows), ROWS_A_PIECE):
            rows = self.rows[start : start + ROWS_A_PIECE]
            if self.origins:
                rows = list(
                    map("\t".join, zip(rows, self.origins[start : start + ROWS_A_PIECE], strict=True))
                )
            yield ("\n".join(rows) + "\n").encode()

    def for_table(self, tenant: str, import_id: str) -> Iterator[bytes]:
        """All rows for COPY into a dataset's table: between the tenant and the import."""
        before, behind = f"{_replaced(tenant)}\t", f"\t{import_id}\n"
        between = behind + before
        for start in range(0, len(self.rows), ROWS_A_PIECE):
            yield (before + between.join(self.rows[start : start + ROWS_A_PIECE]) + behind).encode()


def escaped(column: Sequence[str | None]) -> Sequence[str]:
    """The cells of a column as COPY text."""
    has_null = None in column
    present = [cell or "" for cell in column] if has_null else cast("Sequence[str]", column)
    together = _SEPARATOR.join(present)
    if any(special in together for special in _ESCAPES):
        present = _escaped(present, together)
    if has_null:
        return [_NULL if cell is None else text for cell, text in zip(column, present, strict=True)]
    return present


def _escaped(cells: Sequence[str], together: str) -> list[str]:
    if together.count(_SEPARATOR) >= len(cells):  # it is in a cell too
        return [_replaced(cell) for cell in cells]
    return _replaced(together).split(_SEPARATOR)  # much faster than one by one


def _replaced(text: str) -> str:
    for special, escape in _ESCAPES.items():
        text = text.replace(special, escape)
    return text
