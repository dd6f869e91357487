"""Where the first table of a file ends: only it is read. Pure decisions about records and gaps between them.

A gap is a run of blank lines or of records whose fields are all empty. What follows one is a further table only
if it looks like one and not like the first: a footer, a page break or a few ragged records end nothing.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, count

RECORDS_COMPARED = 8  # of one width behind a gap are a table, whatever follows
GAP_ROWS = 16  # of a long gap its end is looked at
_FEWEST = 2  # a header and one record


@dataclass(frozen=True, slots=True)
class TableEnd:
    """Where the part of the file begins that is not read.

    Attributes:
        line_number: Physical line of its first record, from 1.
        byte_offset: Bytes of the file before that line.
    """

    line_number: int
    byte_offset: int


def first_table(
    rows: Sequence[Sequence[str]], width: int | None, *, behind_record: bool, settled: bool
) -> tuple[int, int | None]:
    """How many of `rows` are the first table's for certain, and the index of the row where another one begins.

    Args:
        rows: Successive records; a blank line is an empty row.
        width: Fields of the table's header or first record, if known.
        behind_record: Whether a record is before `rows`; a gap with none before it ends nothing.
        settled: Whether to decide now, as no more rows can be had. Else neither an open question is certain, nor
            what is behind it, nor the last row, as a gap may follow; and a gap goes together with the record before.
    """
    if not settled and (not rows or {width, 0}.issuperset(map(len, rows))):
        return _before_open_end(rows), None
    first_record = -1 if behind_record and width else next(compress(count(), rows), len(rows))
    for begin, stop in () if all(map(any, rows)) else _gaps(rows):
        start = max(begin, stop - GAP_ROWS)
        if start <= first_record:
            continue
        known = {width, *map(len, rows[max(start - 1, 0) : stop])}
        verdict = _is_further_table(rows, stop, known, settled=settled)
        if verdict is None:
            return max(start - 1, 0), None
        if verdict:
            return start, stop
    return (len(rows) if settled else _before_open_end(rows)), None


def _before_open_end(rows: Sequence[Sequence[str]]) -> int:
    """The index of the last record, or near the end of a long gap behind it."""
    nearest = max(len(rows) - GAP_ROWS, 0)
    return next(
        (index for index in range(len(rows) - 1, nearest, -1) if any(rows[index])), max(nearest - 1, 0)
    )


def _gaps(rows: Sequence[Sequence[str]]) -> Iterator[tuple[int, int]]:
    """The first index of each gap, and the one just behind it."""
    start = None
    for index, row in enumerate(rows):
        if any(row):
            if start is not None:
                yield start, index
            start = None
        elif start is None:
            start = index
    if start is not None:
        yield start, len(rows)


def _is_further_table(
    rows: Sequence[Sequence[str]], index: int, known: Collection[int | None], *, settled: bool
) -> bool | None:
    """Whether the rows from `index`, just behind a gap, are a further table; None if more of them must be seen."""
    if index < len(rows) and len(rows[index]) in known:
        return False
    if index < len(rows) and len(rows[index]) == 1:  # a title, or a line of a footer
        index = next((later for later in range(index + 1, len(rows)) if any(rows[later])), len(rows))
    group = rows[index : index + RECORDS_COMPARED]
    end = next((place for place, row in enumerate(group) if not any(row)), len(group))
    widths = set(map(len, group[:end]))
    if len(widths) > 1 or widths & {1, *known}:
        return False
    if end == RECORDS_COMPARED or end < len(group) or settled:
        return end >= _FEWEST
    return None
