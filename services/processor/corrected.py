"""A corrected error file as it is read: its cells as they were, and which line each record corrects. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shared.contracts.error_file import restored
from shared.reading.batch import RecordBatch
from shared.reading.splitting import Cells

LINE_UNREADABLE = "line_unreadable"  # a note: the cell that should name a line does not
_BIGINT_MAX = 2**63 - 1

_FEW_DIGITS = 19  # surely a bigint, and an integer that takes no time

# As a spreadsheet may show a whole number: grouped by thousands, or with a decimal part of nothing.
_WHOLE = re.compile(r"([0-9]{1,3}(?:[.,'’ \u00a0\u202f][0-9]{3})+|[0-9]+)(?:[.,]0{1,2})?")
_NO_DIGIT = re.compile(r"[^0-9]")


@dataclass
class Sent:
    """Records to load that correct an earlier import: their numbers, and the line that each corrects."""

    row_numbers: list[int] = field(default_factory=list)
    of_lines: list[int] = field(default_factory=list)


@dataclass
class Refused:
    """Records with row errors: their lines, and beside them the line that each was to correct, if any."""

    line_numbers: list[int] = field(default_factory=list)
    of_lines: list[int | None] = field(default_factory=list)


def restored_batch(batch: RecordBatch) -> RecordBatch:
    """`batch` with the cells as they were before an error file neutralised them."""
    if isinstance(batch.values, Cells):
        return replace(batch, values=Cells(_restored_all(batch.values.flat), batch.values.width))
    return replace(batch, values=list(map(_restored_all, batch.values)))


def _restored_all(cells: Sequence[str]) -> list[str]:
    return [restored(cell) if cell[:1] == "'" else cell for cell in cells]


def line_in(cell: str) -> int | None:
    """The line that a cell of the column `_line` names; None: it is empty.

    Raises:
        ValueError: it names none.
    """
    text = cell.strip()
    if not text:
        return None
    if len(text) < _FEW_DIGITS and text.isdecimal() and text.isascii() and (line := int(text)):
        return line
    found = _WHOLE.fullmatch(text)
    line = int(_NO_DIGIT.sub("", found[1])) if found and len(text) < 40 else 0
    if not 0 < line <= _BIGINT_MAX:
        raise ValueError(f"{cell!r} is no line number")
    return line
