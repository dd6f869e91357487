"""How the changes of an import are cut into batches, and what an item is."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.messages.batches import Cutter
from services.notifier.messages.payloads import (
    ITEMS_BYTES,
    MAX_BODY_BYTES,
    batch_body,
    deleted_item,
    record_item,
)
from shared.contracts.datasets import datasets
from tests.notifier.given import DONE_AT

MOST, ROOM = 4, 60
PRODUCTS = datasets()["products"]
IMPORT = "0199d2a6-5c1e-7c3a-9b1f-3a6f0e8d4c21"


@st.composite
def told(draw):
    """Records in order of their rows: a type and an item each, none too large for a batch."""
    count = draw(st.integers(0, 40))
    kinds = st.sampled_from(["product.created", "product.updated", "sale.created"])
    sizes = st.integers(2, ROOM - 1)
    return [(draw(kinds), row, b"x" * draw(sizes)) for row in range(1, count + 1)]


@given(told())
def test_batches_have_every_item_once_in_order_and_are_full(records):
    cutter = Cutter(most=MOST, room=ROOM)
    batches = [batch for record in records for batch in cutter.add(*record)]
    batches += cutter.rest()
    assert list(cutter.rest()) == []

    for kind in {kind for kind, _, _ in records}:
        mine = [batch for batch in batches if batch.event_type == kind]
        came = [pair for batch in mine for pair in zip(batch.rows, batch.items, strict=True)]
        assert came == [(row, item) for name, row, item in records if name == kind]
    for batch in batches:
        assert 0 < len(batch.items) <= MOST
        assert sum(len(item) + 1 for item in batch.items) == batch.size <= ROOM
    first_rows = [batch.rows[0] for batch in batches]
    assert first_rows == sorted(first_rows)
    assert len({batch.event_type for batch in batches}) > 1 or all(
        len(batch.items) == MOST or batch.size + len(following.items[0]) + 1 > ROOM
        for batch, following in pairwise(batches)
    )


def shown(description: str) -> bytes:
    return json.dumps({"id": "a~1", "description": description}).encode()


def body_with(item: bytes) -> bytes:
    return batch_body(
        "stock-code.created", DONE_AT, dataset="stock-codes", import_id=IMPORT, number=10**9, rows=[10**12], items=[item]
    )  # fmt: skip


def test_a_record_that_fills_a_body_is_told_whole_and_a_larger_one_is_thin():
    bare = len(record_item(PRODUCTS, "a~1", shown(""), 7))
    fits = record_item(PRODUCTS, "a~1", shown("d" * (ITEMS_BYTES - bare)), 7)
    thin = record_item(PRODUCTS, "a~1", shown("d" * (ITEMS_BYTES - bare + 1)), 7)
    links = {"record": "/api/v1/records/products/a~1"}
    whole = json.loads(body_with(fits))
    assert whole["data"]["items"][0].keys() == {"id", "description", "changed_by_row", "links"}
    assert MAX_BODY_BYTES - 512 < len(body_with(fits)) < MAX_BODY_BYTES
    assert json.loads(thin) == {"id": "a~1", "changed_by_row": 7, "thin": True, "links": links}
    # It is alone in its batch, and that is as large as a batch may be.
    cutter = Cutter()
    assert [*cutter.add("t", 1, fits), *cutter.add("t", 2, thin)][0].items == [fits]


def test_what_is_gone_has_but_its_id():
    sale = datasets()["stock-codes"]
    gone = record_item(sale, f'{IMPORT}\x1fÄ/"1', None, 3)
    assert json.loads(gone) == {"id": f'{IMPORT}~Ä/"1', "changed_by_row": 3, "deleted": True}
    assert json.loads(deleted_item("ä\\b")) == {"id": "ä\\b"}
    there = json.loads(record_item(sale, f"{IMPORT}\x1fÄ/1", b'{"id":"x"}'))
    assert there == {"id": "x", "links": {"record": f"/api/v1/records/stock-codes/{IMPORT}~%C3%84%2F1"}}
