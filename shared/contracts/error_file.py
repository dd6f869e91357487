"""The error file of an import: the processor writes it, results shows it, an upload takes it back.

A spreadsheet runs a cell as a formula if it begins with one of a few characters (OWASP, CSV Injection). Such a cell gets an
apostrophe before it, which an upload of the file takes off again.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence

LINE = "_line"  # of the record in the imported file
CODES = "_codes"  # of its row errors
REMARKS = (LINE, CODES, "_messages")  # no file's columns: an upload passes over them

_RUN = "=+\\-@\t\r\n＝＋－＠"
_SUSPICIOUS = frozenset("=+-@\t\r\n＝＋－＠'")  # with what is to change begins, and some that is not
_DANGEROUS = re.compile(f"'*[{_RUN}]")
_HARMLESS = re.compile(f"'+[{_RUN}]")
# A spreadsheet shows it as it is.
_PLAIN_NUMBER = re.compile(r"[+-](?:[0-9]+(?:[.,][0-9]+)*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?%?")


def neutralised(cell: str) -> str:
    """`cell` as a spreadsheet does not run it; `restored` gives back what it was."""
    if cell[:1] not in _SUSPICIOUS or not _DANGEROUS.match(cell) or _PLAIN_NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}"


def restored(cell: str) -> str:
    """What `neutralised` made `cell` of."""
    return cell[1:] if _HARMLESS.match(cell) else cell


def needs_neutralising(cells: Sequence[str]) -> bool:
    """Whether `neutralised` would change one of them."""
    if _SUSPICIOUS.isdisjoint([cell[:1] for cell in cells]):
        return False
    return any(cell != neutralised(cell) for cell in cells)


def remark_columns(header: Sequence[str]) -> Mapping[int, str]:
    """The columns that an error file has added to a file: their names, by position from 0."""
    names = map(str.strip, header)
    return {position: name for position, name in enumerate(names) if name in REMARKS}


def line_column(header: Sequence[str]) -> int | None:
    """Where an error file says which line each record corrects; None: nowhere, so it can correct nothing."""
    positions = [position for position, name in remark_columns(header).items() if name == LINE]
    return max(positions, default=None)  # the newest, should an error file of an error file have two


def is_error_file(header: Sequence[str], *, corrects: bool) -> bool:
    """Whether a file is an error file, mended or not: then its cells, those of the header too, are to be `restored`.

    Args:
        header: Its column names.
        corrects: Whether it was sent to correct an import; then some of the remarks may be gone.
    """
    return corrects or set(remark_columns(header).values()) == set(REMARKS)


def error_file_delimiter(delimiter: str) -> str:
    """What stands between the values where the imported file has `delimiter`: one of several characters is replaced."""
    return delimiter if len(delimiter) == 1 else ","


def error_file_header(header: Sequence[str], columns: Mapping[str, int], width: int, delimiter: str) -> bytes:
    """The first line of an error file.

    Args:
        header: The imported file's own; where it has none, columns are called as the dataset calls them, or by their
            position. The remarks of an error file that was sent again are left out.
        columns: Position of each dataset column, from 0.
        width: Columns of the file.
        delimiter: The imported file's.
    """
    names = {place: name for name, place in columns.items()}
    named = [*header] or [names.get(place, f"column_{place + 1}") for place in range(width)]
    remarks = remark_columns(named)
    kept = [neutralised(name) for place, name in enumerate(named) if place not in remarks]
    text = io.StringIO()
    csv.writer(text, delimiter=error_file_delimiter(delimiter)).writerow([*kept, *REMARKS])
    return text.getvalue().encode()
