"""Files that are no text at all, told by name to those who send them."""

import codecs

from shared.reading.errors import EncodingUnsupported, FileNotText

__all__ = ["refuse_binary", "refuse_foreign"]

_MAGIC = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (.xlsx)",
    b"%PDF-": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"PAR1": "a Parquet file",
    b"SQLite format 3\x00": "an SQLite database",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Excel workbook (.xls)",
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
}
# What is in a ZIP archive's first entries when it is one of these.
_IN_ZIP = {
    b"application/vnd.oasis.opendocument.spreadsheet": "an OpenDocument spreadsheet (.ods)",
    b"word/": "a Word document (.docx)",
    b"xl/": "an Excel workbook (.xlsx)",
    b"[Content_Types].xml": "an Excel workbook or another Office document",
}
_UTF32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def refuse_foreign(head: bytes) -> None:
    """Raise where the first bytes are those of a known format that is not text.

    Raises:
        FileNotText: it is one of those.
        EncodingUnsupported: it is marked as UTF-32.
    """
    for magic, kind in _MAGIC.items():
        if head.startswith(magic) and not _may_be_text(magic, head[:512]):
            raise FileNotText(
                f"The file is {_in_zip(head) if magic.startswith(b'PK') else kind}, not CSV.",
                hint="Export the data as CSV (in Excel: “CSV UTF-8”) and send that file.",
            )
    if head.startswith(_UTF32_MARKS):
        raise EncodingUnsupported(
            "The file is written in UTF-32.", hint="Save it as UTF-8 and send it again."
        )


def _may_be_text(magic: bytes, head: bytes) -> bool:
    """Whether `magic` may just be how a word begins."""
    return len(magic) <= 4 and magic.isalnum() and head.isascii() and b"\0" not in head


def _in_zip(head: bytes) -> str:
    # The names of the first entries; further on, packed bytes may look like anything.
    return next((kind for sign, kind in _IN_ZIP.items() if sign in head[:2048]), _MAGIC[b"PK\x03\x04"])


def refuse_binary(body: bytes) -> None:
    """Raise where bytes that are not UTF-16 are full of NUL.

    One stray NUL byte is the fault of its record; in the first line or everywhere, it is no text at all.

    Raises:
        FileNotText: so it is.
    """
    if b"\0" not in body:
        return
    lines = body.splitlines()
    with_nul = sum(b"\0" in line for line in lines)
    if b"\0" in lines[0] or with_nul * 2 > len(lines):
        raise FileNotText(
            f"The file is not text: byte {body.index(0) + 1} is NUL.",
            hint="Export the data as CSV in UTF-8, and send that file.",
        )
