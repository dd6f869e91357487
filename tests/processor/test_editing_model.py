"""Any edits and imports, one after the other, leave what a model says; and a record's tag is another one when it is."""

from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.datasets import datasets
from shared.contracts.dialect import Dialect
from shared.contracts.events import (
    RecordCreate,
    RecordDelete,
    RecordPatch,
    RecordReplace,
    RecordsDeleteAll,
)
from shared.contracts.record_etag import etag_sql
from tests.processor.editing import asking
from tests.processor.given import on_real_servers, written

_SKUS = st.sampled_from(["a", "A", "b", "ß", "SS"])
_NAMES = st.sampled_from(["n", "m", ""])
_PRICES = st.sampled_from(["1.50", "1.5", "-1", None])
_PRODUCT = st.fixed_dictionaries(
    {"sku": _SKUS, "name": _NAMES}, optional={"price": _PRICES, "active": st.booleans()}
)
_CHANGE = st.fixed_dictionaries(
    {}, optional={"sku": _SKUS, "name": _NAMES, "price": _PRICES, "active": st.booleans()}
)
_SEEN = st.sampled_from([None, "now", "once", "*"])
_KEYS = st.sampled_from(["a", "b", "ss", "A"])
_ACTS = st.one_of(
    st.tuples(st.just(RecordCreate), st.none(), st.none(), _PRODUCT),
    st.tuples(st.just(RecordReplace), _KEYS, _SEEN, _PRODUCT),
    st.tuples(st.just(RecordPatch), _KEYS, _SEEN, _CHANGE),
    st.tuples(st.just(RecordDelete), _KEYS, _SEEN, st.none()),
    st.tuples(st.just(RecordsDeleteAll), st.none(), st.none(), st.none()),
    st.tuples(
        st.just("import"), st.none(), st.none(), st.lists(st.tuples(_SKUS, _NAMES, _PRICES), max_size=3)
    ),
)


class Model:
    """What a tenant's products must be."""

    def __init__(self):
        self.records = {}

    def edited(self, kind, key, seen, values):
        """What becomes of an edit: its outcome, or the code of the refusal; the records are as after it."""
        if kind is RecordsDeleteAll:
            self.records = {}
            return "all_deleted"
        if kind is RecordCreate:
            return self._created(values)
        if key not in self.records:
            return "record_not_found"
        if seen == "once":
            return "record_changed"
        if kind is RecordDelete:
            del self.records[key]
            return "deleted"
        return self._changed(key, (self.records[key] if kind is RecordPatch else {}) | values)

    def _created(self, values):
        made = whole(values)
        if made is None:
            return "record_invalid"
        taken = made["sku"].casefold() in self.records
        self.records.setdefault(made["sku"].casefold(), made)
        return "record_exists" if taken else "created"

    def _changed(self, key, values):
        made = whole(values)
        if made is None:
            return "record_invalid"
        if made["sku"].casefold() != key:
            return "record_key_differs"
        same = made == self.records[key]
        self.records[key] = made
        return "unchanged" if same else "updated"

    def imported(self, rows):
        for sku, name, price in rows:
            old = self.records.get(sku.casefold(), {})
            made = whole(old | {"sku": sku, "name": name, "price": price})
            if made is not None:
                self.records[sku.casefold()] = made


def whole(values):
    """A product of `values`; None if they make none."""
    made = {"price": None, "active": True} | values
    if not made["name"] or made["price"] == "-1":
        return None
    return made | {"price": made["price"] and Decimal(made["price"])}


@pytest.fixture
async def ask(mill):
    async with asking(mill) as asker:
        yield asker


@given(acts=st.lists(_ACTS, min_size=1, max_size=12))
@on_real_servers(25)
async def test_any_edits_and_imports_leave_what_a_model_says(mill, ask, acts):
    tenant, model, tags, last = uuid4().hex, Model(), {}, {}
    for kind, key, seen, values in acts:
        if kind == "import":
            content = written(("sku", "name", "price"), values)
            await mill.load(content, dataset="products", tenant=tenant, dialect=Dialect())
            model.imported(values)
        else:
            if_match = {"now": (tags.get(key, "none"),), "once": ("0" * 32,), "*": ("*",)}.get(seen)
            given = {} if kind in {RecordDelete, RecordsDeleteAll} else {"values": values}
            if key is not None:
                given |= {"key": key, "if_match": if_match}
            expected = model.edited(kind, key, seen, values)
            reply = await ask(kind, tenant, **given)
            assert (reply.code or reply.outcome) == expected
        rows = {row["key"]: row for row in await mill.records("products", tenant=tenant)}
        assert {
            key: {name: row[name] for name in ("sku", "name", "price", "active")} for key, row in rows.items()
        } == (model.records)
        # A tag is another one exactly when the row is.
        found = await etags(mill, tenant)
        for record, tag in found.items():
            assert (tags.get(record) == tag) == (last.get(record) == rows[record])
        tags, last = found, rows


async def etags(mill, tenant):
    query = (
        f"SELECT key, {etag_sql(datasets()['products'], 't')} AS etag FROM data.products t WHERE tenant = $1"
    )
    return {row["key"]: row["etag"] for row in await mill.database.fetch(query, tenant)}
