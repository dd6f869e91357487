"""Counting records while bytes stream by, much faster than reading them."""

import re

from shared.contracts.dialect import Dialect


class RecordCounter:
    """Counts the records that a `RecordReader` would read, from the file's first byte on, in blocks of any size.

    Exact, except after a quote that is never closed: the counter takes the rest of the file for its field.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._header = dialect.header
        self._to_skip = dialect.bom
        self._delimiter = dialect.delimiter.encode()
        self._quote = dialect.quote.encode()
        self._count = 0
        # What precedes the next block, as far as it matters: one byte, or an opened or just closed quoted field.
        self._context = b"\n"
        delimiter, quote = re.escape(self._delimiter), re.escape(self._quote)
        self._quoted = re.compile(rb"([%b\n])%b(?:[^%b]++|%b%b)*+(%b?)" % (delimiter, *[quote] * 5))

    def feed(self, block: bytes) -> None:
        """Count the records that start in `block`."""
        if self._to_skip:
            skipped = min(self._to_skip, len(block))
            self._to_skip -= skipped
            block = block[skipped:]
        if not block:
            return
        text = _with_lf(self._context + block)
        if self._quote in text:
            text, open_quotes = self._unquoted(text)
        else:
            open_quotes = b""
        _, *lines = text.split(b"\n")
        self._count += len(lines) - lines.count(b"")
        self._context = self._delimiter + open_quotes if open_quotes else text[-1:]

    def finish(self) -> int:
        """The number of data records: the header and blank lines are none."""
        return max(self._count - self._header, 0)

    def _unquoted(self, text: bytes) -> tuple[bytes, bytes]:
        """`text` with each quoted field as a quote sign, and the quotes of a field that may go on behind it."""
        pieces = text.split(self._quote)
        opened = len(pieces) % 2 == 0
        outside = pieces[::2]
        last = b"" if opened else outside.pop()
        # An empty piece is a doubled quote inside a field.
        bare = self._quote.join([*outside[:1], *filter(None, outside[1:]), last])
        if not self._is_regular(bare):
            return self._unquoted_slowly(text)
        closed = text.endswith(self._quote)
        return bare, self._quote if opened else self._quote * 2 if closed else b""

    def _is_regular(self, bare: bytes) -> bool:
        """Whether every quoted field stands alone between delimiters or line ends, so that parity told the truth."""
        quote, delimiter = self._quote, self._delimiter
        quotes = bare.count(quote)
        before = bare.count(delimiter + quote) + bare.count(b"\n" + quote)
        behind = bare.count(quote + delimiter) + bare.count(quote + b"\n")
        return before == quotes and behind == quotes - bare.endswith(quote)

    def _unquoted_slowly(self, text: bytes) -> tuple[bytes, bytes]:
        bare = self._quoted.sub(rb"\1%b\2" % self._quote, text)
        for quotes in (self._quote * 2, self._quote):
            if bare.endswith((self._delimiter + quotes, b"\n" + quotes)):
                return bare, quotes
        return bare, b""


def _with_lf(text: bytes) -> bytes:
    """Every line end as LF, or as two where line ends are mixed: blank lines are not counted anyway."""
    returns = text.count(b"\r")
    if returns == 0:
        return text
    if returns == text.count(b"\r\n"):
        return text.replace(b"\r", b"")
    return text.replace(b"\r", b"\n")
