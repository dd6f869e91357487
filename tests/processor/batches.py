"""Batches of records for tests of checking, and declarations with one field to check."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from services.processor.checking import Checked, Checker
from shared.contracts.datasets import Dataset, DatasetField
from shared.reading.batch import Checkpoint, RecordBatch
from shared.reading.errors import ReadFault
from shared.reading.places import Places

NOW = datetime(2024, 6, 30, 22, 0, tzinfo=UTC)  # in Auckland it is the first of July


def batch_of(
    *rows: Sequence[str], first_number: int = 1, faults: dict[int, ReadFault] | None = None
) -> RecordBatch:
    """Records as a reader gives them, wherever they came from."""
    return RecordBatch(
        values=[list(row) for row in rows],
        first_number=first_number,
        faults=faults or {},
        checkpoint=Checkpoint(),
        places=Places([], [], []),
        data=b"",
        data_offset=0,
    )


def declared(kind: str = "string", *, required: bool = False, **members: Any) -> DatasetField:
    """The declaration of a field `value`; members as in a JSON file, constraints among them."""
    rules = {
        name: members.pop(name)
        for name in ("minimum", "maximum", "minLength", "maxLength", "pattern", "enum", "nonzero")
        if name in members
    }
    if kind == "number":
        members = {"precision": 18, "scale": 4} | members
    return DatasetField.model_validate(
        {"name": "value", "type": kind, "title": "Value", "constraints": {"required": required, **rules}}
        | members
    )


def dataset_of(*fields: DatasetField, **members: Any) -> Dataset:
    """A dataset with a key `id` before `fields`."""
    key = {"name": "id", "type": "string", "title": "Id", "constraints": {"required": True, "maxLength": 50}}
    return Dataset.model_validate(
        {
            "name": "things",
            "title": "Things",
            "noun": "thing",
            "fields": [key, *fields],
            "primaryKey": ["id"],
            "onDuplicate": "overwrite",
        }
        | members
    )


def check_values(field: DatasetField, *values: str, **options: Any) -> Checked:
    """Check records of a key and one value each."""
    checker = Checker(dataset_of(field), {"id": 0, field.name: 1}, 2, now=NOW, **options)
    return checker.check(batch_of(*([f"k{place}", value] for place, value in enumerate(values))))


def result_of(field: DatasetField, value: str, **options: Any) -> object:
    """What is stored for one value, or the codes of its faults in a list."""
    checked = check_values(field, value, **options)
    if checked.faults:
        return [fault.code for fault in checked.faults[0]]
    [[stored]] = checked.columns[1:]
    return stored
