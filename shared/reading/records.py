"""Bytes to records, in bounded memory, from any checkpoint, however the bytes are cut into blocks.

A window of pending bytes is read at a time, by the quick way where it is regular (`split_regular`), else by the
general one. The last record of a window waits for what follows, so that where the first table ends is decided on
the same records however the bytes were cut: see `tables`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, compress

from shared.contracts.dialect import Dialect
from shared.reading.batch import Checkpoint, Position, Record, RecordBatch
from shared.reading.errors import ReadFault
from shared.reading.faults import text_fault, too_large, unterminated
from shared.reading.places import Places, RegularPlaces
from shared.reading.skipping import RecordEnd
from shared.reading.splitting import Cells, split_cut_off, split_lines, split_regular
from shared.reading.structure import Structure, decoded, line_ends, lines_in
from shared.reading.tables import GAP_ROWS, TableEnd, first_table

__all__ = ["MAX_RECORD_BYTES", "Checkpoint", "Position", "Record", "RecordBatch", "RecordReader", "TableEnd"]

MAX_RECORD_BYTES = 1 << 20
PIECE_BYTES = 1 << 17  # some 1,000 records of 130 bytes: what is made of them fits the processor's cache

_ROWS_A_BATCH = PIECE_BYTES // 2  # as many as a usual window may hold; one made larger may hold far more
_REGULAR_SKIPPED = 7  # windows read the general way after one not regular, until the quick way is tried again
_BLANK_KEPT = (
    4 * GAP_ROWS
)  # characters of a run of blank lines: more lines than are looked at, also with CRLF
_BYTES_COMPARED = 1 << 16  # behind a quote that stays open, to tell a long value from records


@dataclass(slots=True)
class _Oversize:
    """A record beyond the limit, whose end is being sought: its first bytes, and where it starts."""

    raw: bytes
    offset: int
    line: int
    end: RecordEnd
    mid_line: bool = False


class RecordReader:
    """Reads one file, or the rest of it from a checkpoint, pushed in blocks of any size.

    Exhaust each iterator before feeding on: records are read while it is consumed. One may stop early only to go
    on later with a new reader from `checkpoint`, which is always behind the last batch that was yielded (never
    inside a record, so it stands still during a record larger than a block).

    Attributes:
        checkpoint: Where to go on after what was yielded.
        table_end: Where the rest of the file begins that is not read, as a further table starts there.

    Args:
        dialect: How the file is written. Its header is expected if the checkpoint is the start.
        checkpoint: Where the first byte that will be fed is in the file.
        width: Fields of the file's header, for telling its table from others; unset: those of the first record read.
        max_record_bytes: Longest record, line end included. Memory stays near this, one block and its fields.
    """

    def __init__(
        self,
        dialect: Dialect,
        checkpoint: Checkpoint = Checkpoint(),  # noqa: B008 - it is frozen
        *,
        width: int | None = None,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self.checkpoint = checkpoint
        self.table_end: TableEnd | None = None
        self._dialect = dialect
        self._structure = Structure(dialect)
        self._limit = max_record_bytes - max_record_bytes % self._structure.unit
        self._width = width
        at_start = checkpoint.byte_offset <= dialect.start_byte
        self._to_skip = dialect.start_byte - checkpoint.byte_offset if at_start else 0
        self._headers_left = dialect.header_rows if at_start else 0
        self._offset = checkpoint.byte_offset
        self._line = (dialect.start_line if at_start else checkpoint.line_number) + 1
        self._number = checkpoint.record_number + 1
        self._pending = bytearray()
        self._tried = 0  # bytes pending that are known to give no batch yet
        self._wanted = 0  # bytes pending before the next attempt
        # Bytes read at a time; a first window of all that is allowed would leave none to see more of the file with.
        self._usual_window = max(min(PIECE_BYTES, self._limit // 8) & ~1, self._structure.unit)
        self._window = self._usual_window  # more only inside a record that is longer
        self._regular_skipped = 0
        self._oversize: _Oversize | None = None

    def feed(self, block: bytes) -> Iterator[RecordBatch]:
        """The records that are complete now that `block` follows what was fed before."""
        start = min(self._to_skip, len(block))
        self._to_skip -= start
        self._offset += start
        while start < len(block) and self.table_end is None:
            room = self._window - len(self._pending)
            stop = start + (room if room > 0 else PIECE_BYTES)
            self._pending += block[start:stop]
            start = stop
            if len(self._pending) >= self._wanted:
                yield from self._read(final=False)

    def finish(self) -> Iterator[RecordBatch]:
        """The remaining records: the file ends after what was fed."""
        if self.table_end is None:
            yield from self._read(final=True)

    def _read(self, *, final: bool) -> Iterator[RecordBatch]:
        while batch := self._next_batch(final=final):
            self.checkpoint = batch.checkpoint
            yield batch
        if final and self.table_end is None:
            self.checkpoint = self._here()  # further than the last record if blank lines follow it
        # Twice as much, so that an unfinished record is not read anew with each block.
        self._wanted = min(2 * len(self._pending), self._limit + 1)

    def _next_batch(self, *, final: bool) -> RecordBatch | None:
        if self._oversize:
            return self._end_of_oversize(self._oversize, final=final)
        while len(self._pending) > (0 if final else self._tried):
            start = self._offset
            window = min(self._window, self._limit)
            whole = window >= len(self._pending)
            batch = self._batch(window, final=final and whole, last=not whole and window == self._limit)
            if batch:
                self._tried = len(self._pending) if whole and not batch.is_header else 0
                return batch
            if self.table_end is not None:
                return None
            if self._offset > start:
                continue  # only blank lines
            if final if whole else window == self._limit:
                return self._unfinished_record()
            if whole:
                self._tried = len(self._pending)
                return None
            self._window *= 2
        return None

    def _batch(self, window: int, *, final: bool, last: bool) -> RecordBatch | None:
        """The next records in the pending bytes up to `window`.

        Args:
            window: Bytes.
            final: Whether the file ends there.
            last: Whether no larger window will be had.
        """
        data = bytes(self._pending[:window])
        if not final:
            data = data[: self._structure.end_of_last_line(data)]
        if not data:
            return None
        if self._headers_left:
            return self._header(data)
        if window == self._usual_window and not final and (batch := self._regular_batch(data)):
            return batch
        return self._general_batch(data, final=final, last=last)

    def _regular_batch(self, data: bytes) -> RecordBatch | None:
        """The records in `data` but for the last one, if they are regular."""
        if self._regular_skipped:
            self._regular_skipped -= 1
            return None
        text = decoded(data, self._dialect.encoding)
        split = split_regular(text, self._dialect) if text and "\0" not in text else None
        if text is None or split is None:
            self._regular_skipped = _REGULAR_SKIPPED
            return None
        cells, length, line_count = split
        data = data[: len(data) - len(text[length:].encode(self._dialect.encoding))]
        places = RegularPlaces(self._dialect, self._offset, self._line)
        return self._taken(cells, data, line_count, places)

    def _general_batch(self, data: bytes, *, final: bool, last: bool) -> RecordBatch | None:
        """The records in `data`, which ends with a line, that are certain to belong to the first table."""
        text = decoded(data, self._dialect.encoding)
        if text is not None and len(text) > _BLANK_KEPT and not final and not text.strip("\r\n"):
            self._pass_over_blank(text)
            return None
        shown = str(data, self._dialect.encoding, "replace") if text is None else text
        rows, ends = split_lines(shown, lines_in(shown), self._dialect)
        if not rows:
            return None
        behind_record = self._number > 1
        width = self._width or next((len(row) for row in rows if row), None)
        count, rest = first_table(rows, width, behind_record=behind_record, settled=final)
        if last and not count and rest is None:
            count, rest = first_table(rows, width, behind_record=behind_record, settled=True)
        # A gap stays together with the record before it: what is left begins with a record.
        full = next((index for index in range(_ROWS_A_BATCH, count) if any(rows[index])), None)
        if full is not None:
            count, rest = full, None
        lines = self._structure.lines(data)
        if rest is not None:
            behind = sum(map(len, lines[: ends[rest - 1]]))
            self.table_end = TableEnd(self._line + ends[rest - 1], self._offset + behind)
        batch = self._taken_rows(rows[:count], ends[:count], lines)
        if self.table_end is not None:
            self._pending.clear()
        return batch if batch is None or (text is not None and "\0" not in text) else self._examined(batch)

    def _pass_over_blank(self, text: str) -> None:
        """Pass over blank lines but for the last ones, by which it is decided whether a table ends with them."""
        passed = text[:-_BLANK_KEPT].removesuffix("\r")  # the LF of the same line end may be behind it
        self._pass_over(self._structure.length(passed), lines=line_ends(passed))

    def _header(self, data: bytes) -> RecordBatch | None:
        """The first record in `data`, as a record of the header."""
        shown = str(data, self._dialect.encoding, "replace")
        rows, ends = split_lines(shown, lines_in(shown), self._dialect, only_first=True)
        batch = self._taken_rows(rows, ends, self._structure.lines(data))
        return batch and self._examined(batch)

    def _taken_rows(
        self, rows: list[list[str]], ends: list[int], lines: Sequence[bytes]
    ) -> RecordBatch | None:
        """The next records: `rows`, each of which ends behind the line that `ends` tells."""
        if not rows:
            return None
        count = ends[-1]
        starts = [0, *ends[:-1]]
        if not all(rows):  # a blank line is an empty row
            starts, ends = list(compress(starts, rows)), list(compress(ends, rows))
            rows = list(filter(None, rows))
        bounds = list(accumulate(map(len, lines[:count]), initial=self._offset))
        places = Places(
            line_numbers=[self._line + index for index in starts],
            offsets=[bounds[index] for index in starts],
            ends=[bounds[index] for index in ends],
        )
        return self._taken(rows, b"".join(lines[:count]), count, places)

    def _taken(
        self, values: list[list[str]] | Cells, data: bytes, lines: int, places: Places | RegularPlaces
    ) -> RecordBatch | None:
        """Pass over `data`, and the batch of its records, which are `values`."""
        number, offset = self._next_number, self._offset
        self._pass_over(len(data), lines=lines, records=len(values))
        if not values:
            return None
        if self._width is None and not self._headers_left:
            self._width = values.width if isinstance(values, Cells) else len(values[0])
        return RecordBatch(
            values=values,
            first_number=number,
            faults={},
            checkpoint=self._here(),
            places=places,
            data=data,
            data_offset=offset,
        )

    def _examined(self, batch: RecordBatch) -> RecordBatch:
        faults = (
            (index, text_fault(batch.raw(index), self._dialect.encoding)) for index in range(len(batch))
        )
        return replace(batch, faults={index: fault for index, fault in faults if fault})

    def _unfinished_record(self) -> RecordBatch | None:
        """What is pending as a record, though it does not end within the limit, or within the file."""
        if len(self._pending) <= self._limit:
            return self._cut_off(bytes(self._pending))
        window = bytes(self._pending[: self._limit])
        lines_end = self._structure.end_of_last_line(window)
        rest = self._structure.text(window[lines_end:])
        if self._dialect.quote and lines_end and not self._structure.leaves_quotes(rest):
            opening = self._opening(window[:lines_end])
            if self._are_records(window[opening:lines_end], window[:opening]):
                return self._unterminated(window[:opening])
        end_of_record = RecordEnd(self._dialect, self._structure)
        self._oversize = _Oversize(window, self._offset, self._line, end_of_record)
        return self._end_of_oversize(self._oversize, final=False)

    def _cut_off(self, data: bytes) -> RecordBatch | None:
        """The record that the end of the file cuts off: within quotes, else behind an escape."""
        if self._dialect.quote:
            return self._unterminated(data[: self._opening(data)])
        lines = self._structure.lines(data)
        batch = self._taken_rows([self._values(data)], [len(lines)], lines)
        return batch and self._examined(batch)

    def _opening(self, data: bytes) -> int:
        """How many of the first bytes of `data`, which leaves a quote open, end with the line where it opens."""
        text = self._structure.text(data)
        length = self._structure.opening_line_end(text)
        return self._structure.length(text[:length]) if length < len(text) else len(data)

    def _are_records(self, behind: bytes, before: bytes) -> bool:
        """Whether most lines `behind` an open quote are as wide as the file's records, so that it encloses none."""
        sample = behind[:_BYTES_COMPARED]
        text = str(sample[: self._structure.end_of_last_line(sample)], self._dialect.encoding, "replace")
        widths = [len(row) for row in split_lines(text, lines_in(text), self._dialect)[0] if row]
        width = self._width or len(self._values(before))
        return widths.count(width) * 2 > len(widths)

    def _values(self, data: bytes) -> list[str]:
        """The values of the record that `data` is the beginning of."""
        return split_cut_off(str(data, self._dialect.encoding, "replace"), self._dialect)

    def _unterminated(self, raw: bytes) -> RecordBatch:
        """The record that is `raw`, in the last line of which a quote opens for good."""
        position = Position(self._next_number, self._line, self._offset)
        lines = lines_in(self._structure.text(raw))
        self._pass_over(len(raw), lines=lines, records=1)
        return self._faulty(raw, position, self._values(raw), unterminated(position.line_number + lines - 1))

    def _end_of_oversize(self, record: _Oversize, *, final: bool) -> RecordBatch | None:
        while piece := self._next_piece(final=final):
            length = record.end.find(piece)
            passed = piece[:length]
            record.mid_line = not passed.endswith(("\n", "\r"))
            if length is not None:
                return self._too_large(record, passed)
            self._pass_over(self._structure.length(passed), lines=line_ends(passed))
        return self._too_large(record, "") if final else None

    def _next_piece(self, *, final: bool) -> str:
        length = PIECE_BYTES + PIECE_BYTES % self._structure.unit
        piece = self._structure.text(bytes(self._pending[:length]))
        # The LF of the same line end may come.
        return piece if final and length >= len(self._pending) else piece.removesuffix("\r")

    def _too_large(self, record: _Oversize, passed: str) -> RecordBatch:
        """The record that ends with the text `passed`, or where the file does, even within a character."""
        position = Position(self._next_number, record.line, record.offset)
        length = self._structure.length(passed) or len(self._pending)
        self._pass_over(length, lines=line_ends(passed) + record.mid_line, records=1)
        self._oversize = None
        return self._faulty(record.raw, position, [], too_large(self._offset - record.offset, self._limit))

    def _faulty(self, raw: bytes, position: Position, fields: list[str], fault: ReadFault) -> RecordBatch:
        """The record that was just passed over."""
        return RecordBatch(
            values=[fields],
            first_number=position.record_number,
            faults={0: fault},
            checkpoint=self._here(),
            places=Places([position.line_number], [position.byte_offset], [self._offset]),
            data=raw,
            data_offset=position.byte_offset,
        )

    @property
    def _next_number(self) -> int:
        return 0 if self._headers_left else self._number

    def _pass_over(self, length: int, *, lines: int, records: int = 0) -> None:
        if length:
            self._window = self._usual_window
            self._tried = 0
        del self._pending[:length]
        self._offset += length
        self._line += lines
        if self._headers_left:
            self._headers_left -= records
        else:
            self._number += records

    def _here(self) -> Checkpoint:
        if self._headers_left:
            return self.checkpoint
        return Checkpoint(self._offset, self._number - 1, self._line - 1)
