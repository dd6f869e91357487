"""Suppliers as a CSV file lists them: read by the reader of all imports, checked row by row. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from services.notifier.suppliers.resources import ListingError, NewSupplier
from shared.reading.batch import Record
from shared.reading.dialect import HEAD_BYTES, Dialect, detect
from shared.reading.encoding import EncodingEvidence
from shared.reading.header import ColumnSpec, columns_by_position, joined_names, match_header
from shared.reading.records import RecordReader

COLUMNS = (
    ColumnSpec("id", required=True, aliases=("supplier_id", "supid", "supplier")),
    ColumnSpec("name", required=True, aliases=("supplier_name",)),
    ColumnSpec("partner", required=False, aliases=("partner_name",)),
    ColumnSpec("enabled", required=False, aliases=("active",)),
)
_FIRST_RECORDS = 50  # by which columns without a header are told
_YES_AND_NO = dict.fromkeys(("true", "t", "yes", "y", "1"), True) | dict.fromkeys(
    ("false", "f", "no", "n", "0"), False
)
_CODES = {
    "string_too_long": "value_too_long",
    "string_too_short": "value_missing",
    "missing": "value_missing",
}


@dataclass
class Listing:
    """What a file lists.

    Attributes:
        suppliers: Those that are right, by id; what a row does not say is not set (`model_fields_set`).
        errors: What is wrong with the others, in the order of the file.
        rejected: How many rows these are.
    """

    suppliers: dict[str, NewSupplier] = field(default_factory=dict)
    errors: list[ListingError] = field(default_factory=list)
    rejected: int = 0


def read_listing(file: bytes) -> Listing:
    """The suppliers in `file`. Of an id that is there more than once the first row counts.

    Raises:
        UnreadableFile: it is no CSV, or which column is which cannot be told.
    """
    dialect, width = _dialect_of(file)
    reader = RecordReader(dialect, width=width)
    names: list[list[str]] = []
    records: list[Record] = []
    for batch in chain(reader.feed(file), reader.finish()):
        if batch.is_header:
            names += batch.fields
        else:
            records += batch
    header = joined_names(names) if names else []
    listing = _checked(records, _columns_of(header, records), len(header) or width)
    if reader.table_end is not None:
        line = reader.table_end.line_number
        message = "a further table begins here, which was not read; send it by itself"
        listing.errors.append(ListingError(line=line, column=None, code="further_table", message=message))
    return listing


def _dialect_of(file: bytes) -> tuple[Dialect, int]:
    found = detect(file[:HEAD_BYTES], complete=len(file) <= HEAD_BYTES, expected=COLUMNS)
    evidence = EncodingEvidence()
    evidence.feed(file)
    evidence.finish()
    found = found.with_encoding_of(evidence)
    return found.dialect, found.width


def _columns_of(header: Sequence[str], records: Sequence[Record]) -> Mapping[str, int]:
    if header:
        return match_header(header, COLUMNS).columns
    return columns_by_position([record.fields for record in records[:_FIRST_RECORDS]], COLUMNS).columns


def _checked(records: Sequence[Record], columns: Mapping[str, int], width: int) -> Listing:
    listing = Listing()
    lines: dict[str, int] = {}
    for record in records:
        line = record.position.line_number
        found = _supplier_in(record, columns, width)
        if isinstance(found, NewSupplier) and found.id in lines:
            found = [("id", "duplicate_key", f"{found.id!r} is in line {lines[found.id]} already")]
        if isinstance(found, NewSupplier):
            lines[found.id] = line
            listing.suppliers[found.id] = found
            continue
        listing.rejected += 1
        listing.errors += [
            ListingError(line=line, column=column, code=code, message=message)
            for column, code, message in found
        ]
    return listing


Wrong = list[tuple[str | None, str, str]]  # column, code, message


def _supplier_in(record: Record, columns: Mapping[str, int], width: int) -> NewSupplier | Wrong:
    if record.fault is not None:
        return [(None, record.fault.code, record.fault.message)]
    cells = record.fields
    if len(cells) > width and any(cell.strip() for cell in cells[width:]):
        return [
            (
                None,
                "extra_cell",
                f"the row has {len(cells)} cells, the header {width}; quote values that hold the delimiter",
            )
        ]
    if len(cells) <= max(columns.values()):
        return [
            (
                None,
                "missing_cell",
                f"the row has {len(cells)} cells, the header {width}; look for a lost delimiter",
            )
        ]
    said = {name: cells[position].strip() for name, position in columns.items()}
    wrong: Wrong = list(_wrong_yes_or_no(said))
    try:
        supplier = NewSupplier.model_validate(_values(said))
    except ValidationError as error:
        return [_wrong_value(detail) for detail in error.errors()] + wrong
    return wrong or supplier


def _values(said: Mapping[str, str]) -> dict[str, Any]:
    """What a row sets. A blank cell takes a partner away, and says nothing of whether the supplier is enabled."""
    values: dict[str, Any] = {name: cell for name, cell in said.items() if name != "enabled"}
    if "partner" in values:
        values["partner"] = values["partner"] or None
    enabled = _YES_AND_NO.get(said.get("enabled", "").casefold())
    return values if enabled is None else values | {"enabled": enabled}


def _wrong_yes_or_no(said: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    cell = said.get("enabled")
    if cell and cell.casefold() not in _YES_AND_NO:
        yield "enabled", "not_a_boolean", f"{cell[:40]!r} is neither true nor false; write one of these"


def _wrong_value(detail: ErrorDetails) -> tuple[str, str, str]:
    column = str(detail["loc"][0])
    code = _CODES.get(detail["type"], "value_invalid")
    if code == "value_missing":
        return column, code, f"{column} is blank; fill in the cell"
    return column, code, f"{column}: {detail['msg'].removeprefix('Value error, ')}"
