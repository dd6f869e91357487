"""How one value of a field is read: what is stored for it, or all that is wrong with it."""

from collections.abc import Callable
from datetime import datetime

from services.processor.checking import isbn
from services.processor.checking.faults import Fault, Result, shown
from services.processor.checking.numbers import Numbers, integers, years
from services.processor.checking.texts import not_allowed
from shared.contracts.datasets import DatasetField

Read = Callable[[str], Result]

_NUMBERS: dict[str, Callable[[DatasetField, datetime], Read]] = {
    "integer": integers,
    "number": lambda field, now: Numbers(field, now).read,
    "year": years,
}


def missing(field: DatasetField) -> Result:
    """What a blank value is: NULL, or a fault."""
    if not field.constraints.required:
        return None
    message = f"{field.title} is missing"
    return (Fault("value_missing", message, field.name, None, "required", "fill in this cell"),)


def whole(field: DatasetField, read: Read) -> Read:
    """Reads a cell as it came: `read` gets what is left of the blanks around it, if anything is."""
    blank = missing(field)
    trim = field.trim

    def read_cell(cell: str) -> Result:
        value = cell.strip() if trim else cell
        return read(value) if value else blank

    return read_cell


def scalar(field: DatasetField, now: datetime) -> Read:
    """Reads an integer, number, year or boolean."""
    read = _boolean(field) if field.type == "boolean" else _NUMBERS[field.type](field, now)
    return read if field.constraints.enum is None else _among(field, read, frozenset(field.constraints.enum))


def isbn_fault(field: DatasetField, value: str) -> Fault:
    """Why `value` of an ISBN column is none."""
    message = f"{shown(value)} is no ISBN: {isbn.fault_of(value)}"
    hint = "compare it with the book; in a spreadsheet, format the column as text"
    return Fault("isbn_invalid", message, field.name, value, "format isbn", hint)


def _boolean(field: DatasetField) -> Read:
    stored = dict.fromkeys(field.true_values, "t") | dict.fromkeys(field.false_values, "f")
    words = f"{', '.join(field.true_values)} or {', '.join(field.false_values)}"

    def read(value: str) -> Result:
        if value in stored:
            return stored[value]
        message = f"{field.title} {shown(value)} is neither true nor false"
        return (Fault("not_a_boolean", message, field.name, value, "type boolean", f"write {words}"),)

    return read


def _among(field: DatasetField, read: Read, allowed: frozenset[str]) -> Read:
    def read_allowed(value: str) -> Result:
        result = read(value)
        return (not_allowed(field, value),) if isinstance(result, str) and result not in allowed else result

    return read_allowed
