"""What a test of an endpoint sends: for each type a payload as real ones are. Pure, but for the time."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import UUID

from services.notifier.messages.event_types import TEST_TYPE
from services.notifier.messages.payloads import (
    UNTOLD,
    batch_body,
    deleted_item,
    edit_body,
    payload,
    record_item,
)
from shared.contracts import examples
from shared.contracts.datasets import Dataset, DatasetField, datasets
from shared.contracts.record_keys import SEPARATOR, folded, record_id, record_key

IMPORT_ID = "0199d2a6-5c1e-7c3a-9b1f-3a6f0e8d4c21"  # of the examples of `shared.contracts`
EDIT_ID = UUID("0199d2a6-5f00-7d44-8c1b-2b7d9e3f5a60")
ROW = 1
MADE_AT = "2026-03-14T09:26:53.589000Z"


def sample_of(event_type: str, endpoint_id: UUID) -> bytes:
    """A payload `{type, timestamp, data}` of a type that is in `filters.SENDABLE`, as UTF-8 JSON, of the present time."""
    now = datetime.now(UTC)
    if event_type == TEST_TYPE:
        data = {"webhook_id": str(endpoint_id), "message": "This is a test. Nothing has happened."}
        return payload(event_type, now, _json(data))
    noun, _, what = event_type.partition(".")
    if dataset := _by_noun().get(noun):
        return _of_records(event_type, now, dataset, deleted=what == "deleted")
    example = _example(event_type)["data"]
    return payload(event_type, now, _json({name: example[name] for name in example if name not in UNTOLD}))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@cache
def _example(event_type: str) -> Any:
    """The golden example of an event, of which its type and time are changed on the way to a receiver, and UNTOLD left out."""
    return json.loads((files(examples) / f"{event_type}.json").read_bytes())


@cache
def _by_noun() -> dict[str, Dataset]:
    return {dataset.noun: dataset for dataset in datasets().values()}


def _of_records(event_type: str, now: datetime, dataset: Dataset, *, deleted: bool) -> bytes:
    """A batch of an import with one record; of what is deleted, which no import does, an edit."""
    record = _record(dataset)
    if deleted:
        item = deleted_item(record["id"])
        return edit_body(event_type, now, dataset=dataset.name, edit_id=EDIT_ID, item=item)
    item = record_item(dataset, record_key(dataset, record["id"]), _json(record), ROW)
    return batch_body(
        event_type, now, dataset=dataset.name, import_id=UUID(IMPORT_ID), number=1, rows=[ROW], items=[item]
    )


def _record(dataset: Dataset) -> dict[str, Any]:
    """A record of a dataset, of the examples in its declaration, as `record_json_sql` shows it."""
    fields = {field.name: _value(field) for field in dataset.fields}
    parts = [str(fields[name]) for name in dataset.primary_key]
    key = SEPARATOR.join([IMPORT_ID, *parts] if dataset.key_scope == "import" else parts)
    return {
        "id": record_id(dataset, folded(key) if dataset.key_comparison == "ignore-case" else key),
        **fields,
        "import_id": IMPORT_ID,
        "row_number": ROW,
        "created_at": MADE_AT,
        "updated_at": MADE_AT,
    }


def _value(field: DatasetField) -> Any:
    """The example as it is stored and shown; of a field that is in no file something of its type."""
    if field.default is not None:
        return field.default
    match field.type:
        case "integer" | "year":
            return int(field.example or 1)
        case "number":
            return f"{Decimal(field.example or 0):.{field.scale}f}"
        case "boolean":
            return True
        case "datetime":
            return f"{field.example.replace(' ', 'T')}Z" if field.example else MADE_AT
        case _:
            return field.example.replace("-", "") if field.format == "isbn" else field.example
