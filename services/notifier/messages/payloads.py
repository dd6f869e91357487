"""What webhooks say: payloads `{type, timestamp, data}` of Standard Webhooks 1.0, as UTF-8 JSON. Pure.

Of records, `data` is

    dataset         what the records are
    import_id       the import that changed them; or edit_id: the edit that did
    batch           the number of this batch within its import, from 1, over all types
    count           how many records: of `items`, but when a whole dataset was deleted
    first_row       of an import: the first of its records whose effect is told here
    last_row        and the last one
    whole_dataset   true: an edit deleted all records of the dataset, and `items` is empty
    items           the records, ascending by `changed_by_row` within a type over the whole import
    links.records   where what is left of a dataset is listed, with `whole_dataset`

and an item is the record as `GET /api/v1/records/{dataset}/{id}` shows it when the message is made, and beside that

    changed_by_row  of an import: the number of its record that changed this one. (`import_id` and `row_number` of the item
                    tell who wrote the record last, which may be a later import.)
    links.record    where the record is
    thin            true: the record is too large to be told; only `id` and `links` are, and `changed_by_row`
    deleted         true: the record is gone already; only `id` is told, and `changed_by_row`

Of a record that an edit deleted, an item is its `id`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.contracts.datasets import Dataset
from shared.contracts.events import AnyEvent
from shared.contracts.record_edits import record_path
from shared.contracts.record_keys import record_id

MAX_BODY_BYTES = 256 * 1024  # a body is smaller than that
ENVELOPE_BYTES = 512  # of these, for all but the items
ITEMS_BYTES = MAX_BODY_BYTES - ENVELOPE_BYTES  # for items, with a comma behind each
UNTOLD = frozenset({"profile"})  # of an event's data: for services, and no receiver is told it


def body_of(event: AnyEvent) -> bytes:
    """The payload that tells an event as it is."""
    return payload(event.type, event.time, _json(event.data.model_dump(mode="json", exclude=set(UNTOLD))))


def batch_body(
    event_type: str,
    moment: datetime,
    *,
    dataset: str,
    import_id: UUID,
    number: int,
    rows: Sequence[int],
    items: Sequence[bytes],
) -> bytes:
    """The payload of a batch of an import's records.

    Args:
        number: Of the batch.
        rows: The numbers of the import's records that changed the items, one each, ascending.
    """
    data = {
        "dataset": dataset,
        "import_id": str(import_id),
        "batch": number,
        "count": len(items),
        "first_row": rows[0],
        "last_row": rows[-1],
    }
    return payload(event_type, moment, _with_items(data, items))


def edit_body(event_type: str, moment: datetime, *, dataset: str, edit_id: UUID, item: bytes) -> bytes:
    """The payload of an edit of one record."""
    data = {"dataset": dataset, "edit_id": str(edit_id), "count": 1}
    return payload(event_type, moment, _with_items(data, [item]))


def all_deleted_body(event_type: str, moment: datetime, *, dataset: str, edit_id: UUID, count: int) -> bytes:
    """The payload of an edit that deleted all records of a dataset, `count` of them."""
    data = {
        "dataset": dataset,
        "edit_id": str(edit_id),
        "count": count,
        "whole_dataset": True,
        "links": {"records": f"/api/v1/records/{dataset}"},
    }
    return payload(event_type, moment, _with_items(data, ()))


def record_item(dataset: Dataset, key: str, shown: bytes | None, row: int | None = None) -> bytes:
    """The item of a record; thin if it would not fit into a body by itself.

    Args:
        shown: The record as JSON (`record_json_sql`); None: it is gone.
        row: The number of the import's record that changed it.
    """
    by_row = b"" if row is None else b',"changed_by_row":%d' % row
    if shown is None:
        return b'{"id":%b%b,"deleted":true}' % (_json(record_id(dataset, key)), by_row)
    links = b',"links":{"record":"%b"}}' % record_path(dataset, key).encode()
    whole = shown[:-1] + by_row + links
    if len(whole) <= ITEMS_BYTES:
        return whole
    return b'{"id":%b%b,"thin":true%b' % (_json(record_id(dataset, key)), by_row, links)


def deleted_item(record: str) -> bytes:
    """The item of a record that was deleted, by its id."""
    return _json({"id": record})


def payload(event_type: str, moment: datetime, data: bytes) -> bytes:
    """The payload around `data`, which is JSON."""
    timestamp = moment.isoformat().replace("+00:00", "Z")
    return b'{"type":"%b","timestamp":"%b","data":%b}' % (event_type.encode(), timestamp.encode(), data)


def _with_items(data: Mapping[str, Any], items: Sequence[bytes]) -> bytes:
    return b'%b,"items":[%b]}' % (_json(data)[:-1], b",".join(items))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
