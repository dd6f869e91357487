"""A corrected error file as it is read: its cells as they were, and which line each record corrects. Pure."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from shared.contracts.error_file import CODES, LINE, REMARKS, remark_columns, restored
from shared.reading.batch import RecordBatch
from shared.reading.splitting import Cells

LINE_UNREADABLE = "line_unreadable"  # a note: nothing names the line that a record corrects
_BIGINT_MAX = 2**63 - 1

_FEW_DIGITS = 19  # surely a bigint, and an integer that takes no time

# As a spreadsheet may show a whole number: grouped by thousands, or with a decimal part of nothing.
_WHOLE = re.compile(r"([0-9]{1,3}(?:[.,'’ \u00a0\u202f][0-9]{3})+|[0-9]+)(?:[.,]0{1,2})?")
_NO_DIGIT = re.compile(r"[^0-9]")
_SOME_CODES = re.compile(r"[a-z]+(?:_[a-z]+)+(?: [a-z]+(?:_[a-z]+)+)*")


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


class Remarks:
    """Where the remarks stand in the records of an error file that was sent again.

    Args:
        header: The file's column names.
    """

    def __init__(self, header: Sequence[str]) -> None:
        names = list(map(str.strip, header))
        self._width = len(names)
        while names and not names[-1]:
            names.pop()  # a spreadsheet fills all records up to the longest
        self._named = len(names)
        self._stand_last = tuple(names[-len(REMARKS) :]) == REMARKS
        columns = remark_columns(header)
        self._places = sorted(columns)
        self._newest = {name: place for place, name in sorted(columns.items())}

    def may_be_pushed(self, cells: int) -> bool:
        """Whether a record of so many cells may have some that push the remarks aside."""
        return self._stand_last and cells > self._named

    def put_back(self, cells: list[str]) -> list[str]:
        """`cells` with the remarks in their columns; what has pushed them aside comes behind the last column."""
        if not self.may_be_pushed(len(cells)):
            return cells
        end = next((place for place in range(len(cells), 0, -1) if cells[place - 1].strip()), 0)
        begin, first = end - len(REMARKS), self._named - len(REMARKS)
        line, codes = cells[begin : begin + 2] if begin > first else ("", "")
        if not (_is_line(line) and codes.strip() and _are_codes(codes)):
            return cells
        blank = [""] * (self._width - self._named)
        return [*cells[:first], *cells[begin:end], *blank, *cells[first:begin]]

    def places_in(self, cells: Sequence[str]) -> Collection[int]:
        """Where `cells`, put back, have remarks, in ascending order; nowhere if what should be some may be data."""
        return self._places if self._places and self._hold(cells) else ()

    def line_in(self, cells: Sequence[str]) -> int | None:
        """The line that a record corrects; None: it names none.

        Raises:
            ValueError: what it names is no line, or may be data.
        """
        place = self._newest.get(LINE)
        if place is None or place >= len(cells):
            return None
        if not self._hold(cells):
            raise ValueError("its remarks are not in their columns")
        return line_in(cells[place])

    def _hold(self, cells: Sequence[str]) -> bool:
        """Whether the remarks stand in their columns, and none has been pushed into the column of another."""
        line, codes, messages = (self._cell(cells, name) for name in REMARKS)
        has_codes = CODES in self._newest and _are_codes(codes)
        if any(map(str.strip, cells[self._named :])):
            return has_codes and _is_line(line)
        return has_codes or not (_is_line(codes) or _is_line(messages))

    def _cell(self, cells: Sequence[str], name: str) -> str:
        place = self._newest.get(name, len(cells))
        return cells[place] if place < len(cells) else ""


def restored_batch(batch: RecordBatch, remarks: Remarks) -> RecordBatch:
    """`batch` with the cells as they were before an error file neutralised them, and each remark in its column."""
    values = batch.values
    if isinstance(values, Cells) and not remarks.may_be_pushed(values.width):
        return replace(batch, values=Cells(_restored_all(values.flat), values.width))
    return replace(batch, values=[restored_cells(cells, remarks) for cells in batch.fields])


def restored_cells(cells: Sequence[str], remarks: Remarks) -> list[str]:
    """The same for one record."""
    return remarks.put_back(_restored_all(cells))


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


def _is_line(cell: str) -> bool:
    try:
        return line_in(cell) is not None
    except ValueError:
        return False


def _are_codes(cell: str) -> bool:
    """Whether a cell may be what the column `_codes` has, or had before somebody emptied it."""
    return not cell.strip() or _SOME_CODES.fullmatch(cell.strip()) is not None
