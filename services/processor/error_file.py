"""The error file of an import: each refused record as it came, with its line, the codes and the messages behind it.

RFC 4180 in UTF-8, with the file's own header and delimiter, so that it may be mended and sent again as it is. A record
that is too short is filled up with empty cells. Pure.
"""

import csv
import io
from collections.abc import Sequence

from services.processor.checking import Fault
from shared.contracts.dialect import Dialect
from shared.contracts.error_file import error_file_delimiter
from shared.reading.batch import RecordBatch
from shared.reading.splitting import split_cut_off

_PLAIN = '"'


class ErrorFileWriter:
    """Writes a part of the error file, behind its header, of a file with `width` columns."""

    def __init__(self, dialect: Dialect, width: int) -> None:
        self._dialect = dialect
        self._delimiter = error_file_delimiter(dialect.delimiter)
        self._width = width
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, delimiter=self._delimiter)
        self._verbatim = dialect.quote == dialect.escape == _PLAIN and dialect.delimiter == self._delimiter

    def add(self, batch: RecordBatch, index: int, faults: Sequence[Fault]) -> None:
        """Write record `index` of `batch`."""
        fields = batch.fields[index]
        remarks = self._remarks(batch.line_numbers[index], faults)
        if self._verbatim and index not in batch.faults and len(fields) == self._width:
            raw = str(batch.raw(index), self._dialect.encoding, "replace").rstrip("\r\n")
            self._text.write(f"{raw}{self._delimiter}{remarks}\r\n")
            return
        self.add_fields(fields, batch.line_numbers[index], faults)

    def add_raw(self, raw: str, line_number: int, faults: Sequence[Fault]) -> None:
        """Write a record from its text in the file."""
        fields = None if self._is_plain(raw) else fields_of(raw, self._dialect)
        if fields is None or (self._verbatim and len(fields) == self._width):
            self._text.write(f"{raw}{self._delimiter}{self._remarks(line_number, faults)}\r\n")
            return
        self.add_fields(fields, line_number, faults)

    def add_fields(self, fields: Sequence[str], line_number: int, faults: Sequence[Fault]) -> None:
        if not any(map(str.strip, fields[self._width :])):
            fields = fields[: self._width]  # blank cells behind the last column would push the remarks aside
        filling = [""] * (self._width - len(fields))
        codes, messages = _said(faults)
        self._writer.writerow(
            [*(_printable(cell) for cell in fields), *filling, line_number, codes, messages]
        )

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
        return faults[0].code, faults[0].message
    return " ".join(fault.code for fault in faults), "; ".join(fault.message for fault in faults)


def _printable(cell: str) -> str:
    return cell.replace("\0", "\N{SYMBOL FOR NULL}")
