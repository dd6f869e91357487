"""In which encoding a text is, by evidence over all of its bytes.

A byte order mark decides; then zeros at every other byte (UTF-16 without a mark); then whether what is beyond ASCII
is UTF-8. What is left is one byte for each character: Windows-1251 where words are wholly made of such bytes,
Windows-1252 where they stand among ASCII letters, Latin-1 where bytes occur that Windows-1252 does not define.
"""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.contracts.dialect import Encoding

__all__ = ["BYTE_ORDER_MARKS", "EncodingEvidence", "Mark", "mark_of", "utf16_without_mark"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A byte order mark at a file's start."""

    encoding: Encoding
    length: int  # bytes


BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, Mark("utf-8", 3)),
    (codecs.BOM_UTF16_LE, Mark("utf-16-le", 2)),
    (codecs.BOM_UTF16_BE, Mark("utf-16-be", 2)),
)

_ASCII = bytes(range(0x80))
_PRINTABLE = frozenset(range(0x20, 0x7F))
_STRAY = re.compile("[\udc80-\udcff]+")  # how `surrogateescape` decodes a byte that is not UTF-8
_SAMPLE_BYTES = 1 << 16  # of text that is not UTF-8: some thousand words settle which code page it is
_SETTLED_BYTES = (
    1 << 16
)  # that are not UTF-8, against hardly any that are: the rest of the file changes nothing
_UTF16_SAMPLE = 1 << 14  # bytes

# One word: letters of ASCII and bytes that are letters both in Windows-1251 and Windows-1252.
_WORD = re.compile(rb"[A-Za-z\xa8\xb8\xc0-\xff]+")
_HIGH_WORD = re.compile(rb"[\xa8\xb8\xc0-\xff]{2,}")
# 0x80 to 0x9F are control characters in Latin-1, which no one writes; Windows-1252 has € and typographic quotes there.
_C1 = bytes(range(0x80, 0xA0))
_UNDEFINED_IN_CP1252 = b"\x81\x8d\x8f\x90\x9d"


def mark_of(head: bytes) -> Mark | None:
    """The byte order mark that `head` begins with."""
    return next((mark for bytes_, mark in BYTE_ORDER_MARKS if head.startswith(bytes_)), None)


def utf16_without_mark(head: bytes) -> Encoding | None:
    """The byte order of UTF-16 text, told by its zeros: the high bytes of ASCII characters, line ends among them."""
    sample = head[: min(len(head), _UTF16_SAMPLE) & ~1]
    if b"\0" not in sample:
        return None
    even, odd = sample[::2], sample[1::2]
    encoding: Encoding = "utf-16-be" if even.count(0) > odd.count(0) else "utf-16-le"
    high, low = (even, odd) if encoding == "utf-16-be" else (odd, even)
    if low.count(0) * 100 > high.count(0) or not _are_high_bytes(high, low):
        return None
    try:
        codecs.getincrementaldecoder(encoding)().decode(sample, final=False)
    except UnicodeDecodeError:
        return None
    return encoding


def _are_high_bytes(high: bytes, low: bytes) -> bool:
    """Whether they are those of ASCII, or of ASCII and one other script: digits and delimiters stand in any text."""
    zeros = high.count(0)
    printable = sum(second in _PRINTABLE for first, second in zip(high, low, strict=True) if not first)
    if printable < 2 or printable * 20 < len(high):
        return False
    other = max(map(high.count, set(high) - {0}), default=0)
    return zeros * 2 >= len(high) or (zeros + other) * 20 >= len(high) * 19


class EncodingEvidence:
    """Fed with every byte behind the mark, in chunks of any size; tells UTF-8 from the code pages of one byte.

    Not for UTF-16, which the first bytes tell. ASCII and UTF-8 pass at the speed of the decoder.
    """

    def __init__(self) -> None:
        self._rest = b""  # of a character that a chunk cut
        self._right = 0  # UTF-8 characters beyond ASCII
        self._stray = 0  # bytes that belong to none
        self._sample = bytearray()
        self._c1 = 0
        self._undefined = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes into account."""
        if chunk.isascii() and not self._rest:
            return
        if self._stray > max(_SETTLED_BYTES, 8 * self._right):
            return
        chunk = self._rest + chunk
        try:
            text, used = codecs.utf_8_decode(chunk, "strict", False)
        except UnicodeDecodeError:
            self._examine(chunk)
            return
        self._right += used - len(text)
        self._rest = chunk[used:]

    def finish(self) -> None:
        """The file ends here: a character that began and did not end is none."""
        if self._rest:
            self._take_sample(self._rest)
            self._stray += len(self._rest)
            self._rest = b""

    @property
    def encoding(self) -> Encoding:
        """What the evidence so far speaks for. As many stray bytes as right characters are still their records' fault."""
        if self._stray <= self._right:
            return "utf-8"
        return _code_page(bytes(self._sample), c1=self._c1, undefined=self._undefined)

    @property
    def reason(self) -> str:
        """A sentence that says why."""
        if not self._stray and not self._right:
            return "All characters are ASCII."
        if not self._stray:
            return "All bytes beyond ASCII are valid UTF-8."
        if self.encoding == "utf-8":
            return f"UTF-8, except for {self._stray:,} stray bytes, which are their records' fault."
        return f"{self._stray:,} bytes are not UTF-8; as {self.encoding} they make sense."

    def _examine(self, chunk: bytes) -> None:
        text, used = codecs.utf_8_decode(chunk, "surrogateescape", False)
        stray = "".join(_STRAY.findall(text)).encode("ascii", "surrogateescape")
        self._stray += len(stray)
        self._right += used - len(text)
        self._c1 += len(stray) - len(stray.translate(None, _C1))
        self._undefined += len(stray) - len(stray.translate(None, _UNDEFINED_IN_CP1252))
        self._take_sample(chunk)
        self._rest = chunk[used:]

    def _take_sample(self, chunk: bytes) -> None:
        missing = _SAMPLE_BYTES - len(self._sample)
        if missing > 0:
            self._sample += (
                b" ".join(line for line in chunk.splitlines() if not line.isascii())[:missing] + b" "
            )


def _code_page(sample: bytes, *, c1: int, undefined: int) -> Encoding:
    words = [word for word in _WORD.findall(sample) if not word.isascii()]
    if _is_cyrillic(words):
        return "cp1251"
    return "latin-1" if undefined * 2 > c1 else "cp1252"


def _is_cyrillic(words: Sequence[bytes]) -> bool:
    """Whether letters beyond ASCII come in whole words of their own, as Western languages never write them."""
    whole = sum(len(word) for word in words if _HIGH_WORD.fullmatch(word))
    mixed = sum(len(word.translate(None, _ASCII)) for word in words if not _HIGH_WORD.fullmatch(word))
    return whole > 2 * mixed
