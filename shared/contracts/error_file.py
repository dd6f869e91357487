"""The error file of an import: the processor writes it, results shows it, an upload takes it back."""

import csv
import io
from collections.abc import Mapping, Sequence

REMARKS = ("_line", "_codes", "_messages")  # no file's columns: an upload passes over them


def error_file_delimiter(delimiter: str) -> str:
    """What stands between the values where the imported file has `delimiter`: one of several characters is replaced."""
    return delimiter if len(delimiter) == 1 else ","


def error_file_header(header: Sequence[str], columns: Mapping[str, int], width: int, delimiter: str) -> bytes:
    """The first line of an error file.

    Args:
        header: The imported file's own; where it has none, columns are called as the dataset calls them, or by their
            position.
        columns: Position of each dataset column, from 0.
        width: Columns of the file.
        delimiter: The imported file's.
    """
    names = {place: name for name, place in columns.items()}
    named = [*header] or [names.get(place, f"column_{place + 1}") for place in range(width)]
    text = io.StringIO()
    csv.writer(text, delimiter=error_file_delimiter(delimiter)).writerow([*named, *REMARKS])
    return text.getvalue().encode()
