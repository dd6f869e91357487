"""Counting records and lines while bytes stream by, much faster than reading them."""

import codecs
import re
from collections.abc import Iterable

from shared.contracts.dialect import Dialect
from shared.reading.batch import RecordBatch
from shared.reading.records import MAX_RECORD_BYTES, RecordReader
from shared.reading.structure import Structure, line_ends, quotes_stand_alone


class RecordCounter:
    """Counts the records that a `RecordReader` would read, from the file's first byte on, in blocks of any size.

    Exact for well-formed files of one table. Behind a quote that stays open for longer than `max_record_bytes`,
    or to the end of the file, it counts the lines that are not blank.

    A dialect with a sign of several characters or an escape of its own is counted by reading.
    """

    def __init__(self, dialect: Dialect, *, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        signs = Structure(dialect)
        self._to_skip = dialect.start_byte
        self._text = codecs.getincrementaldecoder(signs.codec)("replace")
        self._lines = _Lines(dialect.start_line)
        self._records: _QuickCount | _CountByReading
        is_quick = dialect.escape == dialect.quote or not (dialect.quote or signs.escape)
        if is_quick and len(signs.delimiter) == 1 and len(signs.quote) < 2:
            self._records = _QuickCount(signs.delimiter, signs.quote, dialect.header_rows, max_record_bytes)
        else:
            self._records = _CountByReading(dialect, max_record_bytes)

    @property
    def lines(self) -> int:
        """Physical lines so far, the last one with or without a line end."""
        return self._lines.count

    def feed(self, block: bytes) -> None:
        """Count what starts in `block`."""
        if isinstance(self._records, _CountByReading):
            self._records.feed(block)
        if self._to_skip:
            skipped = min(self._to_skip, len(block))
            self._to_skip -= skipped
            block = block[skipped:]
        if text := self._text.decode(block):
            self._lines.feed(text)
            if isinstance(self._records, _QuickCount):
                self._records.feed(text)

    def finish(self) -> int:
        """The number of data records: the header and blank lines are none."""
        return self._records.finish()


class _Lines:
    """Counts physical lines in text that comes in pieces."""

    def __init__(self, before: int) -> None:
        self._ends = before
        self._last = "\n"

    @property
    def count(self) -> int:
        return self._ends + (self._last not in {"\n", "\r"})

    def feed(self, text: str) -> None:
        self._ends += line_ends(text) - (self._last == "\r" and text[0] == "\n")
        self._last = text[-1]


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

    def __init__(self, delimiter: str, quote: str, headers: int, limit: int) -> None:
        self._delimiter = delimiter
        self._quote = quote
        self._around = frozenset((delimiter, "\n"))
        self._headers = headers
        self._limit = limit
        self._count = 0
        # What precedes the next piece, as far as it matters: one character, or an opened or just closed quoted field.
        self._context = "\n"
        self._open_length = 0  # of a field that a quote has opened and none has closed yet
        self._open_lines = 0  # that start in it and are not blank
        self._open_end = ""
        signs = {"d": re.escape(delimiter), "q": re.escape(quote)}
        self._quoted_field = re.compile("([{d}\n]){q}(?:[^{q}]++|{q}{q})*+({q}?)".format(**signs))

    def feed(self, text: str) -> None:
        piece = _with_lf(text)
        text = self._context + piece
        opened = closed = False
        if self._quote and self._quote in text:
            text, opened, closed = self._unquoted(text)
        self._count += _lines_started(text)
        if not opened:
            self._open_length, self._open_lines, self._open_end = 0, 0, ""
        if closed:
            self._context = self._delimiter + self._quote * 2
        elif not opened:
            self._context = text[-1]
        else:
            self._stay_open(piece, whole=text == self._context)

    def finish(self) -> int:
        """The number of data records."""
        return max(self._count + self._open_lines - self._headers, 0)

    def _unquoted(self, text: str) -> tuple[str, bool, bool]:
        """`text` with each quoted field as a quote, and whether the last one is open, or may have just been closed."""
        pieces = text.split(self._quote)
        opened = len(pieces) % 2 == 0
        outside = pieces[::2]
        before, behind = outside if opened else outside[:-1], outside[1:]
        if not (outside[0] and quotes_stand_alone(before, behind, self._around)):
            return self._unquoted_slowly(text)
        last = "" if opened else outside.pop()
        bare = self._quote.join([*outside[:1], *filter(None, outside[1:]), last])
        return bare, opened, not opened and not last

    def _unquoted_slowly(self, text: str) -> tuple[str, bool, bool]:
        bare = self._quoted_field.sub(r"\1" + self._quote + r"\2", text)
        start = len(bare.rstrip(self._quote)) - 1
        quotes = len(bare) - 1 - start
        at_field = start >= 0 and bare[start] in {self._delimiter, "\n"}
        return bare, at_field and quotes == 1, at_field and quotes == 2

    def _stay_open(self, piece: str, *, whole: bool) -> None:
        """Go on in a field that is open at the end of `piece`, from before it if that is so of the `whole` piece."""
        if not whole:
            self._open_length, self._open_lines, self._open_end = 0, 0, ""
            piece = piece[piece.rfind(self._quote) + 1 :]
        self._open_length += len(piece)
        self._open_lines += _lines_started(self._open_end + piece)
        self._open_end = piece[-1:] or self._open_end
        self._context = self._delimiter + self._quote
        if self._open_length > self._limit:
            self._count += self._open_lines
            self._context = self._open_end
            self._open_length, self._open_lines, self._open_end = 0, 0, ""


def _lines_started(text: str) -> int:
    """How many line ends have a line behind them that is not blank."""
    if "\n\n" not in text:
        return text.count("\n") - text.endswith("\n")
    _, *lines = text.split("\n")
    return len(lines) - lines.count("")


def _with_lf(text: str) -> str:
    """Every line end as LF, or as two where line ends are mixed: blank lines are not counted anyway."""
    if "\r" not in text:
        return text
    if text.count("\r") == text.count("\r\n"):
        return text.replace("\r", "")
    return text.replace("\r", "\n")
