"""How a file is written, found from its first bytes."""

import codecs
import csv
from collections.abc import Sequence
from itertools import islice
from typing import Literal

from shared.contracts.dialect import Dialect
from shared.reading.errors import EncodingUnsupported, FileEmpty, FileNotText, HeaderMissing

__all__ = ["DELIMITERS", "HEAD_BYTES", "Dialect", "detect"]

HEAD_BYTES = 1 << 16  # some hundred records: enough to tell delimiters apart, read in one go
DELIMITERS = (",", ";", "\t", "|")

_RECORDS_COMPARED = 200

_MAGIC = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (.xlsx)",
    b"%PDF-": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Excel workbook (.xls)",
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
}

# UTF-32 first: its little-endian mark begins with the one of UTF-16.
_FOREIGN_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def detect(head: bytes, *, complete: bool) -> Dialect:
    """The dialect of the file that begins with `head`, its first `HEAD_BYTES` bytes at most.

    Args:
        head: The first bytes; more of them make a better guess.
        complete: Whether `head` is the whole file, so that its last line counts too.

    Raises:
        FileEmpty: there is no byte, or all are blank.
        FileNotText: it is a known binary format, or full of NUL bytes.
        EncodingUnsupported: it is marked as UTF-16 or UTF-32.
        HeaderMissing: the first record does not end within `head`.
    """
    _refuse_foreign(head)
    bom = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    body = head[bom:]
    if not body.strip():
        raise FileEmpty(
            "The file has no records: it is empty or holds only blank lines.",
            hint="Check that the export finished, and send the file again.",
        )
    _refuse_binary(body)
    encoding: Literal["utf-8", "cp1252"] = "utf-8" if bom or _is_utf8(body, complete=complete) else "cp1252"
    lines = _whole_lines(body, complete=complete)
    text = [line.decode(encoding, "replace") for line in lines]
    return Dialect(encoding=encoding, bom=bom, delimiter=_delimiter(text, complete=complete))


def _refuse_foreign(head: bytes) -> None:
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            raise FileNotText(
                f"The file is {kind}, not CSV.",
                hint="Export the data as CSV (in Excel: “CSV UTF-8”) and send that file.",
            )
    for mark, encoding in _FOREIGN_MARKS.items():
        if head.startswith(mark):
            raise EncodingUnsupported(
                f"The file is written in {encoding}.", hint="Save it as UTF-8 and send it again."
            )


def _refuse_binary(body: bytes) -> None:
    """One stray NUL byte is the fault of its record; in the first line or everywhere, it is no text at all."""
    lines = body.splitlines()
    with_nul = sum(b"\0" in line for line in lines)
    if b"\0" in lines[0] or with_nul * 2 > len(lines):
        raise FileNotText(
            f"The file is not text: byte {body.index(0) + 1} is NUL.",
            hint="Export the data as CSV in UTF-8. If it is text, it may be UTF-16: save it as UTF-8.",
        )


def _is_utf8(body: bytes, *, complete: bool) -> bool:
    """Whether more of what is beyond ASCII is UTF-8 than is not: a stray byte is its record's fault, not the file's."""
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(body, final=complete)
    beyond_ascii = [letter for letter in text if letter > "\x7f"]
    stray = sum("\udc80" <= letter <= "\udcff" for letter in beyond_ascii)
    return stray * 2 <= len(beyond_ascii)


def _whole_lines(body: bytes, *, complete: bool) -> list[bytes]:
    lines = body.splitlines(keepends=True)
    if not complete and not lines[-1].endswith((b"\n", b"\r")):
        lines.pop()
    if not any(line.strip() for line in lines):
        raise HeaderMissing(
            f"The first line does not end within {len(body)} bytes, so it names no columns.",
            hint="Begin the file with one line that holds the column names.",
        )
    return lines


def _delimiter(lines: Sequence[str], *, complete: bool) -> str:
    """The candidate that splits the first record, most evenly the others and into most columns; else a comma."""
    evenness = {candidate: _evenness(lines, candidate, complete=complete) for candidate in DELIMITERS}
    best = max(evenness, key=evenness.__getitem__)
    return best if any(evenness[best]) else ","


def _evenness(lines: Sequence[str], delimiter: str, *, complete: bool) -> tuple[float, int]:
    """The share of records as wide as the first one, and that width; zeros if the first one is not split."""
    records = filter(None, csv.reader(lines, delimiter=delimiter))
    widths = [len(record) for record in islice(records, _RECORDS_COMPARED)]
    if not complete and len(widths) > 1:
        widths.pop()  # the head may end inside it
    if widths[0] == 1:
        return 0.0, 0
    return widths.count(widths[0]) / len(widths), widths[0]
