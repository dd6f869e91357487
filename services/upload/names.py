"""What a file is called: shown, logged, and looked at for its extension; never opened. Pure."""

from shared.contracts.problems import UnsupportedMedia

MAX_NAME = 255  # characters of a file name or a source
EXTENSIONS = ("csv", "tsv", "tab", "psv", "txt", "text", "dat", "asc")
PACKED = ("gz", "gzip")
KINDS = {
    "xlsx": "an Excel workbook",
    "xlsm": "an Excel workbook",
    "xlsb": "an Excel workbook",
    "xls": "an old Excel workbook",
    "ods": "an OpenDocument spreadsheet",
    "zip": "a ZIP archive",
    "pdf": "a PDF document",
    "json": "JSON",
    "xml": "XML",
    "parquet": "a Parquet file",
}


def base_name(path: str) -> str:
    """The last part of a path, however a client's system writes it."""
    return path.replace("\\", "/").rpartition("/")[2]


def printable(name: str) -> str:
    """`name` without control characters and surplus length."""
    return "".join(letter for letter in name if letter.isprintable()).strip()[:MAX_NAME]


def check_extension(file_name: str) -> None:
    """Refuse a file that its own name says is something else. No extension, and one of digits (a date), say nothing.

    Raises:
        UnsupportedMedia: `extension_unsupported`.
    """
    name = printable(base_name(file_name)).lower()
    stem, dot, extension = name.rpartition(".")
    if dot and extension in PACKED:
        stem, dot, extension = stem.rpartition(".")
    if not dot or not stem or not extension or extension.isdecimal() or extension in EXTENSIONS:
        return
    raise UnsupportedMedia(
        "extension_unsupported",
        f"the file's name ends in {'.' + extension!r}: that is {KINDS.get(extension, 'no extension of a CSV file')}",
        hint=f"send a file ending in {', '.join('.' + each for each in EXTENSIONS)}, or one of these with .gz;"
        " rename it if it is CSV, or export it as CSV",
        extension=extension,
    )
