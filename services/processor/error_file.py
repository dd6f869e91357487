"""The error file of an import: each refused record as it came, with its line, the codes and the messages behind it.

RFC 4180 in UTF-8, with the file's own header and delimiter, so that it may be mended and sent again as it is. A record
that is too short is filled up with empty cells. What a spreadsheet would run is neutralised. Of an error file that was
sent again, the remarks are not repeated. Pure.
"""

import csv
import io
from collections.abc import Sequence

from services.processor.checking import Fault
from services.processor.corrected import Remarks, restored_cells
from shared.contracts.dialect import Dialect
from shared.contracts.error_file import (
    error_file_delimiter,
    needs_neutralising,
    neutralised,
)
from shared.reading.batch import RecordBatch
from shared.reading.splitting import split_cut_off

_PLAIN = '"'


class ErrorFileWriter:
    """Writes a part of the error file, behind its header.

    Args:
        dialect: The imported file's.
        width: Columns of the imported file.
        header: Its names; empty if it has none.
        restores: Whether the imported file is an error file, whose cells are restored as they are read.
    """

    def __init__(
        self, dialect: Dialect, width: int, header: Sequence[str] = (), *, restores: bool = False
    ) -> None:
        self._dialect = dialect
        self._delimiter = error_file_delimiter(dialect.delimiter)
        self._width = width
        self._remarks_sent = Remarks(header)
        self._restores = restores
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, delimiter=self._delimiter)
        self._verbatim = dialect.quote == dialect.escape == _PLAIN and dialect.delimiter == self._delimiter

    def add(self, batch: RecordBatch, index: int, faults: Sequence[Fault]) -> None:
        """Write record `index` of `batch`, whose cells are restored."""
        fields = batch.fields[index]
        if self._verbatim and index not in batch.faults and self._may_stay(fields):
            raw = str(batch.raw(index), self._dialect.encoding, "replace").rstrip("\r\n")
            self._add_verbatim(raw, batch.line_numbers[index], faults)
            return
        self.add_fields(fields, batch.line_numbers[index], faults)

    def add_raw(self, raw: str, line_number: int, faults: Sequence[Fault]) -> None:
        """Write a record from its text in the file."""
        is_plain = self._is_plain(raw)
        fields = raw.split(self._delimiter) if is_plain else fields_of(raw, self._dialect)
        if (is_plain or self._verbatim) and self._may_stay(fields):
            self._add_verbatim(raw, line_number, faults)
            return
        if self._restores:
            fields = restored_cells(fields, self._remarks_sent)
        self.add_fields(fields, line_number, faults)

    def add_fields(self, fields: Sequence[str], line_number: int, faults: Sequence[Fault]) -> None:
        left_out = sorted(self._remarks_sent.places_in(fields), reverse=True)
        if not any(map(str.strip, fields[self._width :])):
            fields = fields[: self._width]  # blank cells behind the last column would push the remarks aside
        cells = [neutralised(_printable(cell)) for cell in fields]
        cells += [""] * (self._width - len(fields))
        for place in left_out:
            del cells[place]
        codes, messages = _said(faults)
        self._writer.writerow([*cells, line_number, codes, messages])

    def _may_stay(self, fields: Sequence[str]) -> bool:
        """Whether a record of these cells may be written as it came."""
        return len(fields) == self._width and not (
            self._remarks_sent.places_in(fields) or self._restores or needs_neutralising(fields)
        )

    def _add_verbatim(self, raw: str, line_number: int, faults: Sequence[Fault]) -> None:
        self._text.write(f"{raw}{self._delimiter}{self._remarks(line_number, faults)}\r\n")

    def take(self) -> bytes:
        """What was written since the last call, as UTF-8."""
        written = self._text.getvalue().encode("utf-8", "replace")
        self._text.seek(0)
        self._text.truncate()
        return written

    def _is_plain(self, raw: str) -> bool:
        """Whether a record's text has a cell for each column and no sign that would have to be read first."""
        if self._dialect.delimiter != self._delimiter or raw.count(self._delimiter) != self._width - 1:
            return False
        return not any(sign in raw for sign in (_PLAIN, self._dialect.quote, self._dialect.escape) if sign)

    def _remarks(self, line_number: int, faults: Sequence[Fault]) -> str:
        codes, messages = _said(faults)
        escaped = messages.replace(_PLAIN, _PLAIN * 2)
        return f"{line_number}{self._delimiter}{codes}{self._delimiter}{_PLAIN}{escaped}{_PLAIN}"


def fields_of(raw: str, dialect: Dialect) -> Sequence[str]:
    """The cells of one record from its text in the file."""
    return split_cut_off(raw, dialect)


def _said(faults: Sequence[Fault]) -> tuple[str, str]:
    if len(faults) == 1:
        return faults[0].code, neutralised(faults[0].message)
    said = "; ".join(fault.message for fault in faults)
    return " ".join(fault.code for fault in faults), neutralised(said)


def _printable(cell: str) -> str:
    return cell.replace("\0", "\N{SYMBOL FOR NULL}")
