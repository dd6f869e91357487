"""The records of a file as they were meant: one header, one table, cells as they are. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from shared.contracts.dialect import Dialect
from shared.reading.batch import RecordBatch
from shared.reading.errors import ReadFault
from shared.reading.header import joined_names
from shared.reading.mending import is_regular, mended
from shared.reading.records import RecordReader
from shared.reading.splitting import Cells

__all__ = ["Cleaner", "begins_like"]

MAX_RECORD_BYTES = 1 << 24  # what is too long to import may still be cleaned


class Cleaner:
    """Turns a file, fed in blocks of any size, into its clean rows: the header first, if there is one.

    Args:
        dialect: How the file is written.
        width: Cells of most records, as detected.

    Attributes:
        left_out: Records that could not be kept: record number, physical line, and why.
        further_table: Physical line, from 1, where a further table begins, which is not read.
    """

    def __init__(self, dialect: Dialect, width: int) -> None:
        self.left_out: list[tuple[int, int, ReadFault]] = []
        self.further_table: int | None = None
        self._dialect = dialect
        self._reader = RecordReader(dialect, width=width, max_record_bytes=MAX_RECORD_BYTES)
        self._names: list[list[str]] = []
        self._header: list[str] = []
        self._width = width

    def feed(self, block: bytes) -> Iterator[list[str]]:
        """The rows that are complete now that `block` follows what was fed before."""
        yield from self._rows(self._reader.feed(block))

    def finish(self) -> Iterator[list[str]]:
        """The remaining rows: the file ends after what was fed."""
        yield from self._rows(self._reader.finish())
        yield from self._end_of_header()
        end = self._reader.table_end
        if self.further_table is None and end is not None:
            self.further_table = end.line_number

    def _rows(self, batches: Iterable[RecordBatch]) -> Iterator[list[str]]:
        for batch in batches:
            if self.further_table is not None:
                return
            if batch.is_header:
                self._names += (row for index in range(len(batch)) for row in self._as_meant(batch, index))
                continue
            yield from self._end_of_header()
            yield from self._records(batch)

    def _end_of_header(self) -> Iterator[list[str]]:
        if not self._names:
            return
        # A stray quote may have drawn the first records into the header.
        names, drawn_in = self._names[: self._dialect.header_rows], self._names[self._dialect.header_rows :]
        self._names = []
        self._header = joined_names(names)
        self._width = len(self._header)
        yield self._header
        yield from map(self._cut, drawn_in)

    def _records(self, batch: RecordBatch) -> Iterator[list[str]]:
        if self._is_clean(batch):
            yield from batch.fields
            return
        for index in range(len(batch)):
            for row in self._as_meant(batch, index):
                if self._header and begins_like(row, self._header):
                    self.further_table = batch.line_numbers[index]
                    return
                yield self._cut(row)

    def _is_clean(self, batch: RecordBatch) -> bool:
        """Whether nothing is to be done about any record, told without looking at each."""
        if not isinstance(batch.values, Cells) or batch.faults or batch.values.width != self._width:
            return False
        return not self._header or self._header[0] not in batch.values.columns()[0]

    def _cut(self, row: list[str]) -> list[str]:
        """The row without empty cells behind the header's last column."""
        if len(row) > self._width and not any(row[self._width :]):
            return row[: self._width]
        return row

    def _as_meant(self, batch: RecordBatch, index: int) -> Sequence[list[str]]:
        row, fault = batch.fields[index], batch.faults.get(index)
        if fault is not None and not row:
            position = batch.position(index)
            self.left_out.append((position.record_number, position.line_number, fault))
            return []
        return self._mended(batch, index, row) if self._dialect.quote else [row]

    def _mended(self, batch: RecordBatch, index: int, row: list[str]) -> Sequence[list[str]]:
        text = batch.raw(index).decode(self._dialect.encoding, "replace")
        if is_regular(text, self._dialect):
            return [row]
        return mended(text, self._dialect, self._width) or [row]


def begins_like(row: Sequence[str], header: Sequence[str]) -> bool:
    """Whether a record is a header again: of a further table, which may have fewer columns, or more."""
    shared = min(len(row), len(header))
    return (
        shared >= 2 and shared * 2 > len(header) and list(row[:shared]) == list(header[:shared]) and any(row)
    )
