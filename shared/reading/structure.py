"""Where lines, delimiters and quotes are in the bytes of a file, in every encoding.

`Structure.text` maps bytes to text one to one: whatever is cut from that text has an exact place and length in the
file, also where the bytes are no valid text. It is for finding places only; values are decoded from the bytes.
"""

import io
from collections.abc import Iterable, Sequence
from operator import itemgetter

from shared.contracts.dialect import Dialect, Encoding

_first, _last = itemgetter(0), itemgetter(-1)

_NOWHERE = "\ud800"  # a character that the text of no eight-bit encoding holds


def own_escape(dialect: Dialect) -> str:
    """The escape that is not the quote itself; empty if there is none.

    Where nothing is quoted, the one that is `"` is only the usual value of that member.
    """
    return "" if dialect.escape in {"", dialect.quote or '"'} else dialect.escape


class Structure:
    """The signs of `dialect` as they stand in the text that `text` makes of the file's bytes.

    Attributes:
        codec: Makes that text of bytes.
        unit: Bytes that belong together: 2 in UTF-16, else 1.
        delimiter: One or more characters of that text.
        quote: The same; empty if nothing is quoted.
        escape: The same, of `own_escape`.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._encoding = dialect.encoding
        self._wide = dialect.encoding.startswith("utf-16")
        self.codec: str = dialect.encoding if self._wide else "latin-1"
        self.unit = 2 if self._wide else 1
        self.delimiter = self._sign(dialect.delimiter)
        self.quote = self._sign(dialect.quote)
        self.escape = self._sign(own_escape(dialect))

    def _sign(self, sign: str) -> str:
        try:
            return self.text(sign.encode(self._encoding))
        except UnicodeEncodeError:
            return _NOWHERE

    def text(self, data: bytes) -> str:
        """The text of `data`; the odd byte at the end of broken UTF-16 is left out."""
        return (data[: len(data) & ~1] if self._wide else data).decode(self.codec, "surrogatepass")

    def length(self, text: str) -> int:
        """Bytes that `text`, from `self.text`, has in the file."""
        return len(text.encode(self._encoding, "surrogatepass")) if self._wide else len(text)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Bytes of each of `texts`, pieces of what `self.text` made."""
        if not self._wide:
            return list(map(len, texts))
        return list(map(self.length, texts))

    def lines(self, data: bytes) -> list[bytes]:
        """The physical lines of `data`, each with its line end."""
        if not self._wide:
            return data.splitlines(keepends=True)
        text_lines = io.StringIO(self.text(data), newline="")
        lines = [line.encode(self._encoding, "surrogatepass") for line in text_lines]
        odd = data[len(data) & ~1 :]
        if odd and lines and not self.text(lines[-1]).endswith(("\n", "\r")):
            lines[-1] += odd
        elif odd:
            lines.append(odd)
        return lines

    def end_of_last_line(self, data: bytes) -> int:
        """Bytes up to the last line end that is certain: a CR at the very end may be half a CRLF."""
        if not self._wide:
            return max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
        text = self.text(data)
        return self.length(text[: max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1])

    def leaves_quotes(self, line: str) -> bool:
        """Whether a quoted field that is open when `line` starts is closed in it."""
        if self.escape:
            line = line.replace(self.escape * 2, "").replace(self.escape + self.quote, "")
        return self.quote in line.replace(self.quote * 2, "")

    def opening_line_end(self, text: str) -> int:
        """The length of `text`, which leaves a quote open, up to the end of the line where that opens."""
        # Ending there, not at the record's first line, keeps hostile files linear: every quote behind is paired.
        line_ends = text.replace("\r", "\n")
        start = len(text)
        while start > 0:
            quote = text.rfind(self.quote, 0, start)
            start = line_ends.rfind("\n", 0, max(quote, 0)) + 1
            end = line_ends.find("\n", max(quote, 0)) + 1 or len(text)
            end += text.startswith("\r\n", end - 1)
            if self.leaves_quotes(text[start:end]):
                return end
        return end


def quotes_stand_alone(
    before: Iterable[Sequence[object]], behind: Iterable[Sequence[object]], around: frozenset[object]
) -> bool:
    """Whether quoted fields begin and end only at one of the characters `around`.

    Args:
        before: The pieces of a text, outside quotes, that an opening quote follows.
        behind: Those that follow a closing one. An empty piece stands in a doubled quote, inside a field.
        around: Delimiter and line ends, if these are one character each.
    """
    return around.issuperset(map(_last, filter(None, before))) and around.issuperset(
        map(_first, filter(None, behind))
    )


def line_ends(text: str) -> int:
    """How many line ends are in `text`: LF, CRLF, and a lone CR."""
    if "\r" not in text:
        return text.count("\n")
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def lines_in(text: str) -> int:
    """How many physical lines are in `text`, the last one with or without a line end."""
    return line_ends(text) + (text != "" and not text.endswith(("\n", "\r")))


def decoded(data: bytes, encoding: Encoding) -> str | None:
    """The text of `data`; None if some of its bytes are none."""
    try:
        return str(data, encoding)
    except UnicodeDecodeError:
        return None
