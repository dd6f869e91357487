"""Counting records and lines while bytes stream by, much faster than reading them."""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.contracts.dialect import Dialect
from shared.reading.batch import RecordBatch
from shared.reading.records import MAX_RECORD_BYTES, RecordReader
from shared.reading.structure import own_escape

PIECE_BYTES = 1 << 20  # more than an upload's blocks have, which then need hardly be cut

_LF, _CR = b"\n\r"


class RecordCounter:
    """Counts the records that a `RecordReader` would read, from the file's first byte on, in blocks of any size.

    Exact for well-formed files of one table. Behind a quote that stays open for longer than `max_record_bytes`,
    or to the end of the file, it counts the lines that are not blank.

    A dialect with a sign of several bytes or an escape of its own is counted by reading.
    """

    def __init__(self, dialect: Dialect, *, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._to_skip = dialect.start_byte
        self._decoder = (
            codecs.getincrementaldecoder(dialect.encoding)("replace")
            if dialect.encoding.startswith("utf-16")
            else None
        )
        self._lines = _Lines(dialect.start_line)
        encoding = "utf-8" if self._decoder else dialect.encoding
        self._records = _QuickCount.of(dialect, encoding, max_record_bytes)
        self._reading = None if self._records else _CountByReading(dialect, max_record_bytes)

    @property
    def lines(self) -> int:
        """Physical lines so far, the last one with or without a line end."""
        return self._lines.count

    def feed(self, block: bytes) -> None:
        """Count what starts in `block`."""
        if self._reading:
            self._reading.feed(block)
        if self._to_skip:
            skipped = min(self._to_skip, len(block))
            self._to_skip -= skipped
            block = block[skipped:]
        if self._decoder:
            block = self._decoder.decode(block).encode()
        start = 0
        while start < len(block):
            piece = block[start : start + (self._records.room if self._records else PIECE_BYTES)]
            start += len(piece)
            self._lines.feed(piece)
            if self._records:
                self._records.feed(piece)

    def finish(self) -> int:
        """The number of data records: the header and blank lines are none."""
        counted = self._records or self._reading
        assert counted is not None
        return counted.finish()


class _Lines:
    """Counts physical lines in bytes that come in pieces, none of them empty."""

    def __init__(self, before: int) -> None:
        self._ends = before
        self._last = b"\n"

    @property
    def count(self) -> int:
        return self._ends + (self._last not in {b"\n", b"\r"})

    def feed(self, piece: bytes) -> None:
        signs = _bytes_of(piece)
        self._ends += int(np.count_nonzero(signs == _LF))
        if b"\r" in piece:
            self._ends += int(np.count_nonzero(_lone_returns(signs)))
        self._ends -= self._last == b"\r" and piece.startswith(b"\n")
        self._last = piece[-1:]


class _CountByReading:
    def __init__(self, dialect: Dialect, max_record_bytes: int) -> None:
        self._reader = RecordReader(dialect, max_record_bytes=max_record_bytes)
        self._count = 0

    def feed(self, block: bytes) -> None:
        self._add(self._reader.feed(block))

    def finish(self) -> int:
        self._add(self._reader.finish())
        return self._count

    def _add(self, batches: Iterable[RecordBatch]) -> None:
        self._count += sum(len(batch) for batch in batches if not batch.is_header)


class _QuickCount:
    """Counts the lines outside quotes that are not blank, where quotes are doubled inside a field."""

    def __init__(self, delimiter: bytes, quote: bytes, headers: int, limit: int) -> None:
        self._delimiter = delimiter
        self._quote = quote
        # A quote stands beside another one where it is doubled, inside a field.
        self._may_precede = _one_of(delimiter + b"\n" + quote)
        self._may_follow = _one_of(delimiter + b"\n\r" + quote)
        self._headers = headers
        self._limit = limit
        self._count = 0
        # What precedes the next piece, as far as it matters: one byte, or an opened or just closed quoted field.
        self._context = b"\n"
        self._open_bytes = 0  # of a field that a quote has opened and none has closed yet
        self._open_lines = 0  # that start in it and are not blank
        self._open_end = b""
        sign = quote or b'"'  # without a quote nothing is looked for
        signs = tuple(map(re.escape, (delimiter, sign, sign, sign, sign, sign)))
        self._quoted_field = re.compile(rb"([%b\n])%b(?:[^%b]++|%b%b)*+(%b?)" % signs)

    @classmethod
    def of(cls, dialect: Dialect, encoding: str, limit: int) -> "_QuickCount | None":
        """A counter for `dialect` as it is in bytes of `encoding`; None if it needs more than that."""
        delimiter, quote = (
            sign.encode(encoding, "xmlcharrefreplace") for sign in (dialect.delimiter, dialect.quote)
        )
        is_doubled = not own_escape(dialect) and (not quote or dialect.escape != "")
        if not is_doubled or len(delimiter) > 1 or len(quote) > 1:
            return None
        return cls(delimiter, quote, dialect.header_rows, limit)

    @property
    def room(self) -> int:
        """Bytes that the next piece may have: a quote that stays open is given up where the limit is, not behind it."""
        return min(self._limit + 1 - self._open_bytes, PIECE_BYTES)

    def feed(self, piece: bytes) -> None:
        piece = _with_clear_ends(piece)
        text = self._context + piece
        if not (self._quote and self._quote in text):
            seen = _Seen(_lines_started(text))
        else:
            seen = self._past_quotes(text) or self._past_any_quotes(text)
        self._count += seen.lines
        if seen.opened:
            self._stay_open(piece, whole=seen.is_one_field)
            return
        self._open_bytes, self._open_lines, self._open_end = 0, 0, b""
        self._context = self._delimiter + self._quote * 2 if seen.closed else text[-1:]

    def finish(self) -> int:
        """The number of data records."""
        return max(self._count + self._open_lines - self._headers, 0)

    def _past_quotes(self, text: bytes) -> "_Seen | None":
        """What is outside of quoted fields; None if a quote stands where none opens or closes a field."""
        signs = _bytes_of(text)
        ends = signs == _LF
        places = np.flatnonzero(ends | (signs == self._quote[0]))
        are_quotes = ~ends[places]
        quotes = places[are_quotes]
        opening, closing = quotes[::2], quotes[1::2]
        opened, closed = quotes.size % 2 == 1, bool(quotes.size % 2 == 0 and quotes[-1] == len(text) - 1)
        inner = closing[:-1] if closed else closing
        if not (
            opening[0]
            and self._may_precede[signs[opening - 1]].all()
            and self._may_follow[signs[inner + 1]].all()
        ):
            return None
        outside = places[~(np.logical_xor.accumulate(are_quotes) | are_quotes)]
        is_one_field = self._is_open and bool((opening[1:] == closing[: opening.size - 1] + 1).all())
        return _Seen(_lines_started_at(outside, signs), opened, closed, is_one_field)

    @property
    def _is_open(self) -> bool:
        return self._context == self._delimiter + self._quote

    def _past_any_quotes(self, text: bytes) -> "_Seen":
        bare = self._quoted_field.sub(rb"\1%b\2" % self._quote.replace(b"\\", rb"\\"), text)
        before = bare.rstrip(self._quote)
        quotes = len(bare) - len(before)
        at_field = before.endswith((self._delimiter, b"\n"))
        return _Seen(
            _lines_started(bare), at_field and quotes == 1, at_field and quotes == 2, bare == self._context
        )

    def _stay_open(self, piece: bytes, *, whole: bool) -> None:
        """Go on in a field that is open at the end of `piece`, from before it if that is so of the `whole` piece."""
        if not whole:
            self._open_bytes, self._open_lines, self._open_end = 0, 0, b""
            piece = piece[piece.rfind(self._quote) + 1 :]
        self._open_bytes += len(piece)
        self._open_lines += _lines_started(self._open_end + piece)
        self._open_end = piece[-1:] or self._open_end
        self._context = self._delimiter + self._quote
        if self._open_bytes > self._limit:
            self._count += self._open_lines
            self._context = self._open_end
            self._open_bytes, self._open_lines, self._open_end = 0, 0, b""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a piece holds.

    Attributes:
        lines: That start outside of quoted fields, and are not blank.
        opened: Whether it ends inside a quoted field.
        closed: Whether it ends with a quoted field that may have just been closed.
        is_one_field: Whether all of it is inside a field that was open before.
    """

    lines: int
    opened: bool = False
    closed: bool = False
    is_one_field: bool = False


def _bytes_of(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, np.uint8)


def _lone_returns(signs: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """For each byte whether it is a CR with no LF behind it, as far as can be seen."""
    lone: NDArray[np.bool_] = signs == _CR
    lone[:-1] &= signs[1:] != _LF
    return lone


def _one_of(signs: bytes) -> NDArray[np.bool_]:
    """For each byte whether it is one of `signs`."""
    table = np.zeros(256, np.bool_)
    table[list(signs)] = True
    return table


def _lines_started(text: bytes) -> int:
    """How many line ends have a line behind them that is not blank."""
    signs = _bytes_of(text)
    return _lines_started_at(np.flatnonzero(signs == _LF), signs)


def _lines_started_at(ends: NDArray[np.intp], signs: NDArray[np.uint8]) -> int:
    if ends.size and ends[-1] == signs.size - 1:
        ends = ends[:-1]
    return int(np.count_nonzero(_BEGINS_LINE[signs[ends + 1]]))


def _with_clear_ends(text: bytes) -> bytes:
    """`text` where a CR is half a CRLF: if line ends are mixed, or one may be cut, each CR as an LF.

    A CRLF is two line ends then, but blank lines are not counted anyway.
    """
    if b"\r" not in text:
        return text
    if not _lone_returns(_bytes_of(text)).any():
        return text
    return text.replace(b"\r", b"\n")


_BEGINS_LINE = ~_one_of(b"\n\r")
