"""Bytes to records, in bounded memory, from any checkpoint, however the bytes are cut into blocks.

Lines are found in the bytes and fields by `csv` in the text of these lines, so that each record's place in the
file is known. UTF-8 and Windows-1252 keep every ASCII byte for its ASCII character, which makes that safe.

A quote is special only where a field starts; a doubled one inside stands for itself (RFC 4180, rule 7); text
behind a closing quote belongs to the field. That is `csv` with `strict=False`.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, compress, pairwise

from shared.contracts.dialect import Dialect
from shared.reading.batch import Checkpoint, Position, Record, RecordBatch
from shared.reading.errors import ReadFault

__all__ = ["MAX_RECORD_BYTES", "Checkpoint", "Position", "Record", "RecordBatch", "RecordReader"]

MAX_RECORD_BYTES = 1 << 20
PIECE_BYTES = 1 << 17  # a batch of some 1,000 records of 130 bytes; larger ones are no faster and cost memory

# The default, 131,072 characters, would end the file at a field that is well within MAX_RECORD_BYTES.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Complete rows, where they are in the file, and how many lines they and the blank ones among them take."""

    rows: list[list[str]]
    line_numbers: list[int]
    offsets: list[int]
    ends: list[int]
    lines: int
    end: int
    well_encoded: bool


@dataclass(frozen=True, slots=True)
class _Broken:
    """A record that does not end as it should: its first bytes, and where it starts."""

    raw: bytes
    offset: int
    line: int


class RecordReader:
    """Reads one file, or the rest of it from a checkpoint, pushed in blocks of any size.

    Exhaust each iterator before feeding on: records are read while it is consumed. One may stop early only to go
    on later with a new reader from `checkpoint`, which is always behind the last batch that was yielded (never
    inside a record, so it stands still during a record larger than a block).

    Args:
        dialect: How the file is written. A header is expected if it has one and the checkpoint is the start.
        checkpoint: Where the first byte that will be fed is in the file.
        max_record_bytes: Longest record, line end included. Memory stays near this, one block and its fields.
    """

    def __init__(
        self,
        dialect: Dialect,
        checkpoint: Checkpoint = Checkpoint(),  # noqa: B008 - it is frozen
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self.checkpoint = checkpoint
        self._dialect = dialect
        self._limit = max_record_bytes
        at_start = checkpoint.byte_offset == 0
        self._offset = checkpoint.byte_offset
        self._line = checkpoint.line_number + 1
        self._number = 0 if dialect.header and at_start else checkpoint.record_number + 1
        self._bom = dialect.bom if at_start else 0
        self._pending = bytearray()
        self._wanted = self._bom  # bytes pending before the next attempt
        self._window = PIECE_BYTES  # bytes parsed at a time; more only inside a record that is longer
        self._oversize: _Broken | None = None

    def feed(self, block: bytes) -> Iterator[RecordBatch]:
        """The records that are complete now that `block` follows what was fed before."""
        for start in range(0, len(block), PIECE_BYTES):
            self._pending += block[start : start + PIECE_BYTES]
            if len(self._pending) >= self._wanted:
                yield from self._read(final=False)

    def finish(self) -> Iterator[RecordBatch]:
        """The remaining records: the file ends after what was fed."""
        yield from self._read(final=True)

    def _read(self, *, final: bool) -> Iterator[RecordBatch]:
        self._pass_over(self._bom, lines=0)
        self._bom = 0
        while batch := self._next_batch(final=final):
            for part in _header_apart(batch):
                self.checkpoint = part.checkpoint
                yield part
        if self._number > 0 and not self._oversize:
            self.checkpoint = self._here()  # further than the last record if blank lines follow it
        # Twice as much, so that an unfinished record is not parsed anew with each block.
        self._wanted = min(2 * len(self._pending), self._limit + 1)

    def _next_batch(self, *, final: bool) -> RecordBatch | None:
        if self._oversize:
            return self._end_of_oversize(self._oversize, final=final)
        while True:
            start = self._offset
            if batch := self._complete_records(final=final):
                return batch
            if self._offset > start:
                continue  # only blank lines
            if self._window >= len(self._pending):
                return self._unfinished_record(final=final)
            self._window *= 2

    def _complete_records(self, *, final: bool) -> RecordBatch | None:
        data = bytes(self._pending[: self._window])
        if not final or len(data) < len(self._pending):
            data = data[: _end_of_last_line(data)]
        number, offset = self._number, self._offset
        parsed = self._parse(data)
        self._pass_over(parsed.end - offset, lines=parsed.lines, records=len(parsed.rows))
        if not parsed.rows:
            return None
        batch = RecordBatch(
            fields=parsed.rows,
            first_number=number,
            line_numbers=parsed.line_numbers,
            offsets=parsed.offsets,
            ends=parsed.ends,
            faults={},
            checkpoint=self._here(),
            data=data,
            data_offset=offset,
        )
        return batch if parsed.well_encoded and b"\0" not in data else _examined(batch, self._dialect)

    def _parse(self, data: bytes) -> _Rows:
        """The rows in `data`, which ends with a line, up to one that is not complete or is beyond the limit."""
        lines = data.splitlines(keepends=True)
        text, well_encoded = _decoded(lines, self._dialect.encoding)
        bounds = list(accumulate(map(len, lines), initial=self._offset))
        rows, ends = _split(text, self._dialect)
        if len(data) > self._limit:
            fitting = _count_fitting(bounds, ends, self._limit)
            del rows[fitting:], ends[fitting:]
        starts = [0, *ends]
        count = starts.pop()
        if not all(rows):  # a blank line is an empty row
            starts, ends = list(compress(starts, rows)), list(compress(ends, rows))
            rows = list(filter(None, rows))
        return _Rows(
            rows=rows,
            line_numbers=[self._line + index for index in starts],
            offsets=[bounds[index] for index in starts],
            ends=[bounds[index] for index in ends],
            lines=count,
            end=bounds[count],
            well_encoded=well_encoded,
        )

    def _unfinished_record(self, *, final: bool) -> RecordBatch | None:
        """What is pending, as a record with a fault, if it is beyond the limit or the file ends inside it."""
        beyond_limit = len(self._pending) > self._limit
        if not self._pending or not (beyond_limit or final):
            return None
        window = bytes(self._pending[: self._limit])
        end = _end_of_last_line(window) if beyond_limit else len(window)
        lines = window[:end].splitlines(keepends=True)
        if lines and not _leaves_quotes(window[end:], self._dialect):
            return self._unterminated(lines)
        self._oversize = _Broken(window, self._offset, self._line)
        self._pass_over(end, lines=len(lines))
        return self._end_of_oversize(self._oversize, final=final)

    def _unterminated(self, lines: Sequence[bytes]) -> RecordBatch:
        """The record up to the line where the quote opens that no later one of `lines` closes."""
        # Ending there, not at the record's first line, keeps hostile files linear: every quote behind is paired.
        closing = (
            index for index in range(len(lines) - 1, 0, -1) if _leaves_quotes(lines[index], self._dialect)
        )
        count = next(closing, 0) + 1
        broken = _Broken(b"".join(lines[:count]), self._offset, self._line)
        self._pass_over(len(broken.raw), lines=count, records=1)
        text, _ = _decoded(lines[:count], self._dialect.encoding)
        reader = csv.reader(text, delimiter=self._dialect.delimiter, quotechar=self._dialect.quote)
        fault = ReadFault(
            "quote_unterminated",
            f"A quoted field opens in line {broken.line + count - 1} and is never closed.",
            "Close the quote, or double it if it belongs to the text.",
        )
        return self._faulty(broken, next(reader), fault)

    def _end_of_oversize(self, broken: _Broken, *, final: bool) -> RecordBatch | None:
        end = _end_of_first_line(self._pending, final=final)
        if end is None:
            # A CR at the very end stays: the LF of the same line end may come.
            self._pass_over(len(self._pending) - self._pending.endswith(b"\r"), lines=0)
            return None
        self._pass_over(end, lines=1, records=1)
        self._oversize = None
        fault = ReadFault(
            "record_too_large",
            f"The record has {self._offset - broken.offset:,} bytes; at most {self._limit:,} are read.",
            "Split the record, or look for a line end or a closing quote that is missing.",
        )
        return self._faulty(broken, [], fault)

    def _faulty(self, broken: _Broken, fields: list[str], fault: ReadFault) -> RecordBatch:
        """The record that was just passed over."""
        return RecordBatch(
            fields=[fields],
            first_number=self._number - 1,
            line_numbers=[broken.line],
            offsets=[broken.offset],
            ends=[self._offset],
            faults={0: fault},
            checkpoint=self._here(),
            data=broken.raw,
            data_offset=broken.offset,
        )

    def _pass_over(self, length: int, *, lines: int, records: int = 0) -> None:
        if length:
            self._window = PIECE_BYTES
        del self._pending[:length]
        self._offset += length
        self._line += lines
        self._number += records

    def _here(self) -> Checkpoint:
        return Checkpoint(self._offset, self._number - 1, self._line - 1)


def _split(lines: Sequence[str], dialect: Dialect) -> tuple[list[list[str]], list[int]]:
    """The complete rows in `lines`, and how many lines were read after each."""
    # The line added is a row of its own, unless an open quote takes it in: either way the last row goes.
    reader = csv.reader(chain(lines, "\n"), delimiter=dialect.delimiter, quotechar=dialect.quote)
    rows, ends = [], []
    for row in reader:
        rows.append(row)
        ends.append(reader.line_num)
    del rows[-1], ends[-1]
    return rows, ends


def _decoded(lines: Sequence[bytes], encoding: str) -> tuple[list[str], bool]:
    try:
        return [str(line, encoding) for line in lines], True
    except UnicodeDecodeError:
        return [str(line, encoding, "replace") for line in lines], False


def _count_fitting(bounds: Sequence[int], ends: Sequence[int], limit: int) -> int:
    """How many of the first records have at most `limit` bytes each."""
    lengths = (bounds[end] - bounds[start] for start, end in pairwise([0, *ends]))
    return next((index for index, length in enumerate(lengths) if length > limit), len(ends))


def _header_apart(batch: RecordBatch) -> Sequence[RecordBatch]:
    if not batch.is_header or len(batch) == 1:
        return [batch]
    return [batch.part(0, 1), batch.part(1, len(batch))]


def _examined(batch: RecordBatch, dialect: Dialect) -> RecordBatch:
    faults = ((index, _text_fault(batch.raw(index), dialect.encoding)) for index in range(len(batch)))
    return replace(batch, faults={index: fault for index, fault in faults if fault})


def _text_fault(raw: bytes, encoding: str) -> ReadFault | None:
    try:
        str(raw, encoding)
    except UnicodeDecodeError as error:
        return ReadFault(
            "encoding_invalid",
            f"Byte {error.start + 1} of the record (0x{raw[error.start]:02X}) is not valid {encoding}.",
            "Save the whole file as UTF-8.",
        )
    if b"\0" in raw:
        return ReadFault(
            "nul_byte",
            f"Byte {raw.index(0) + 1} of the record is NUL, which text cannot hold.",
            "Remove the NUL bytes.",
        )
    return None


def _leaves_quotes(line: bytes, dialect: Dialect) -> bool:
    """Whether a quoted field that is open when `line` starts is closed in it."""
    quote = dialect.quote.encode()
    return quote in line.replace(quote * 2, b"")


def _end_of_last_line(data: bytes) -> int:
    """Bytes up to the last line end that is certain: a CR at the very end may be half a CRLF."""
    return max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1


def _end_of_first_line(data: bytearray, *, final: bool) -> int | None:
    """Bytes up to the first line end that is certain; None if it is yet to come."""
    lf = data.find(b"\n")
    cr = data.find(b"\r", 0, lf if lf >= 0 else len(data))
    if cr >= 0 and (final or cr + 1 < len(data)):
        return cr + 2 if cr + 1 == lf else cr + 1
    if lf >= 0:
        return lf + 1
    return len(data) if final else None
