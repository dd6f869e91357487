"""The values of an edit, checked as those of a file's record are: by the same checker, on the text that they are. Pure."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from services.processor.checking import Checker, Fault
from services.processor.checking.columns import column_of
from services.processor.checking.faults import Faults, Result
from shared.contracts.datasets import Dataset, DatasetField
from shared.contracts.events import FieldValue
from shared.contracts.problems import Unprocessable
from shared.reading.batch import Checkpoint, RecordBatch
from shared.reading.places import Places

Values = Mapping[str, FieldValue]


class Written(NamedTuple):
    """A record to be stored: its compared key, and each column as text that PostgreSQL takes; None is NULL."""

    key: str
    columns: Mapping[str, str | None]


def checked(dataset: Dataset, values: Values, now: datetime | None = None) -> Written:
    """The record that `values` make; a field that they lack, or leave empty, has its default, or no value.

    Args:
        values: By name of the dataset's `edited_fields`.
        now: What `today` and `next-year` are seen from.

    Raises:
        Unprocessable: `record_invalid`: the document's `errors` are all that is wrong, with the codes of row errors.
    """
    moment = now or datetime.now(UTC)
    fields = dataset.file_fields
    checker = Checker(
        dataset, {field.name: place for place, field in enumerate(fields)}, len(fields), now=moment
    )
    found = checker.check(_batch_of([text_of(field, values.get(field.name)) for field in fields]))
    faults = found.faults.get(0, ())
    others: dict[str, str | None] = {}
    for field in dataset.edited_fields:
        if not field.in_file:
            value = values.get(field.name)
            result = _read(field, text_of(field, field.default if value is None else value), moment)
            if isinstance(result, tuple):
                faults += result
            else:
                others[field.name] = result
    if faults:
        raise _invalid(dataset, faults)
    columns = {field.name: column[0] for field, column in zip(fields, found.columns, strict=True)}
    return Written(found.keys[0], columns | others)


def text_of(field: DatasetField, value: FieldValue) -> str:
    """`value` as a file would have it; an empty cell for None."""
    match value:
        case None:
            return ""
        case bool():
            return (field.true_values if value else field.false_values)[0]
        case str() if field.type != "number":
            return value
        case _:
            return str(value).replace(".", field.decimal_char)


def values_in(dataset: Dataset, row: str) -> dict[str, FieldValue]:
    """What an edit may set, as it is in a stored row, given as the JSON that PostgreSQL makes of it."""
    stored: dict[str, Any] = json.loads(row, parse_float=Decimal)
    return {
        field.name: str(value) if isinstance(value := stored[field.name], Decimal) else value
        for field in dataset.edited_fields
    }


def _batch_of(cells: list[str]) -> RecordBatch:
    """A batch of one record that stood in no file."""
    return RecordBatch(
        values=[cells],
        first_number=1,
        faults={},
        checkpoint=Checkpoint(),
        places=Places([], [], []),
        data=b"",
        data_offset=0,
    )


def _read(field: DatasetField, text: str, now: datetime) -> Result:
    """The value of a field that files do not bring."""
    [result], _ = column_of(field, now, None, in_composite_key=False).read([text])
    return result


def _invalid(dataset: Dataset, faults: Faults) -> Unprocessable:
    return Unprocessable(
        "record_invalid",
        f"this is no {dataset.noun}: {'; '.join(fault.message for fault in faults)}",
        hint="correct the fields that `errors` names",
        errors=[_error_of(fault) for fault in faults],
    )


def _error_of(fault: Fault) -> dict[str, str | None]:
    return {"field": fault.column, "code": fault.code, "message": fault.message, "hint": fault.hint}
