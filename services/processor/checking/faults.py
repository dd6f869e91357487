"""Why a record is not loaded, as its sender is told."""

from typing import Literal, NamedTuple

from shared.reading.errors import FaultCode

_VALUE_SHOWN = 60  # characters of a value in a message

CheckCode = Literal[
    "above_maximum",
    "below_minimum",
    "character_forbidden",
    "date_ambiguous",
    "date_order_mixed",
    "email_invalid",
    "extra_cell",
    "header_repeated",
    "isbn_invalid",
    "missing_cell",
    "not_a_boolean",
    "not_a_date",
    "not_a_datetime",
    "not_a_number",
    "not_a_year",
    "not_allowed",
    "not_an_integer",
    "number_too_large",
    "number_too_precise",
    "pattern_mismatch",
    "spreadsheet_number",
    "uri_invalid",
    "uuid_invalid",
    "value_missing",
    "value_too_long",
    "value_too_short",
    "zero_not_allowed",
]
LoadCode = Literal["duplicate_key"]
RowErrorCode = FaultCode | CheckCode | LoadCode  # found while reading, checking, loading


class Fault(NamedTuple):
    """One reason why a record is not loaded. Says nothing of the record, so records at fault alike share it.

    Attributes:
        code: Stable; the README lists them.
        message: What is wrong, for the sender.
        column: The dataset's column; None if it is about the whole record.
        value: The value as it came, without the blanks around it; None if it is missing.
        rule: The rule that was broken, as the declaration has it (`maxLength 500`).
        hint: What to do.
    """

    code: RowErrorCode
    message: str
    column: str | None = None
    value: str | None = None
    rule: str | None = None
    hint: str | None = None


Faults = tuple[Fault, ...]  # of one value, or of one record
Result = (
    str | None | Faults
)  # of one value: as PostgreSQL takes it as text, None for NULL, or what is wrong with it


def shown(value: str) -> str:
    """`value` in quotes, cut when long, with what cannot be seen made visible."""
    return repr(value if len(value) <= _VALUE_SHOWN else value[: _VALUE_SHOWN - 1] + "…")
