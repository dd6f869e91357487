"""What imports do to the table, the counts and the changes kept: as a model does that takes one record after the other.

Keys are few, so that they come again within a slice, across slices and across imports; people edit and delete records
meanwhile.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from tests.processor.conftest import Change
from tests.processor.given import COUNTS, SLICES, balance, on_real_servers, slice_by_slice, written

KEYS = st.sampled_from(["a", "A", "b", "c", "ä", "Ä"])
OVERWRITE = {
    "products": (
        ("sku", "name", "description"),
        st.tuples(KEYS, st.sampled_from(["x", "y"]), st.sampled_from([None, "z"])),
    ),
    "parts": (
        ("stock_code", "price", "stock_quantity"),
        st.tuples(KEYS, st.sampled_from([None, "1.5", "1.50", "2"]), st.sampled_from([None, "0", "7"])),
    ),
}
READ = {"price": Decimal, "stock_quantity": int}
EDITED = {"products": "edited", "parts": Decimal(2)}
ISBNS = ("9783522177504", "9780306406157", "9780804429573", "9791090636071")
BOOKS = st.tuples(st.sampled_from(ISBNS), st.sampled_from(["x", "y"]))
CODES = st.tuples(KEYS)


@dataclass(frozen=True)
class Import:
    records: list[tuple[Any, ...]]
    slice_bytes: int


@dataclass(frozen=True)
class Edit:
    """Somebody changes a record, or deletes it; behind slice `behind` of an import, or after it if it has fewer."""

    key: str
    deletes: bool
    behind: int


def histories(records, keys):
    """Imports, and the edits that people make while each is under way or after it."""
    imports = st.builds(Import, st.lists(records, max_size=9), st.sampled_from(SLICES))
    edits = st.builds(Edit, st.sampled_from(keys), st.booleans(), st.integers(1, 6))
    return st.lists(st.tuples(imports, st.lists(edits, max_size=2)), min_size=1, max_size=3)


@dataclass
class Row:
    values: tuple[Any, ...]
    import_id: UUID | None
    number: int | None


@dataclass
class Model:
    """A dataset's table in plain Python, by key; and what became of the records of the import under way."""

    dataset: str
    columns: tuple[str, ...]
    rows: dict[str, Row] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)

    def begin(self) -> None:
        self.counts, self.changes = Counter(), []

    def overwrite(self, import_id, records) -> None:
        """One slice: `records` by number. A row that it changes more than once has one change, its last record's."""
        written_here: dict[str, int] = {}
        held: dict[str, tuple[Any, ...]] = {}  # by rows of earlier slices that come again
        for number, cells in records:
            key, values = cells[0].lower(), self._values(cells)
            row = self.rows.get(key)
            ours = row is not None and row.import_id == import_id
            verdict = (
                "inserted" if row is None else "duplicate" if ours
                else "unchanged" if row.values == values else "updated"
            )  # fmt: skip
            self.counts[verdict] += 1
            if verdict == "unchanged":
                self._change("unchanged", number, key)
                continue
            if verdict != "duplicate":
                written_here[key] = len(self.changes)
                before = None if row is None else dict(zip(self.columns, row.values, strict=True))
                self._change("created" if row is None else "updated", number, key, before)
            elif key in written_here:
                place = written_here[key]
                self.changes[place] = self.changes[place]._replace(row=number)
            else:
                written_here[key], held[key] = len(self.changes), row.values
                self._change("repeated", number, key)
            self.rows[key] = Row(values, import_id, number)
        same = {written_here[key] for key, values in held.items() if self.rows[key].values == values}
        self.changes = [change for place, change in enumerate(self.changes) if place not in same]

    def reject(self, import_id, records) -> list[tuple[int, Row]]:
        """The same for books; tells which records were refused, and the row that has their key."""
        refused = []
        for number, cells in records:
            key = cells[0]
            if key in self.rows:
                refused.append((number, self.rows[key]))
                self.counts["duplicate"] += 1
            else:
                self.rows[key] = Row(cells, import_id, number)
                self.counts["inserted"] += 1
                self._change("created", number, key)
        return refused

    def edit(self, edit: Edit, value: Any) -> None:
        row = self.rows.get(edit.key)
        if edit.deletes:
            self.rows.pop(edit.key, None)
        elif row is not None:
            self.rows[edit.key] = Row((row.values[0], value, *row.values[2:]), None, row.number)

    def _values(self, cells):
        pairs = zip(self.columns, cells, strict=True)
        return tuple(None if cell is None else READ.get(name, str)(cell) for name, cell in pairs)

    def _change(self, kind, number, key, before=None) -> None:
        self.changes.append(Change(self.dataset, kind, number, key, before))

    def in_order(self) -> list[Change]:
        return sorted(self.changes, key=lambda change: change.row)


@dataclass
class Town:
    """One tenant's table, and the model of it."""

    mill: Any
    model: Model
    edited: tuple[str, Any]
    tenant: str = field(default_factory=lambda: str(uuid4()))

    async def take_on(self, one: Import) -> UUID:
        content = written(self.model.columns, one.records)
        if self.model.dataset == "books":
            records = [book(isbn, title) for isbn, title in one.records]
            content = written(("title", "author", "isbn", "publication_year"), records)
        return await self.mill.take_on(
            content, dataset=self.model.dataset, tenant=self.tenant, dialect=Dialect()
        )

    async def edit(self, edit: Edit) -> None:
        column, value = self.edited
        self.model.edit(edit, value)
        where = f"data.{self.model.dataset} {{}} WHERE tenant = $1 AND key = $2"
        if edit.deletes:
            await self.mill.database.execute("DELETE FROM " + where.format(""), self.tenant, edit.key)
        else:
            change = "UPDATE " + where.format(f"SET {column} = $3, import_id = NULL")
            await self.mill.database.execute(change, self.tenant, edit.key, value)

    async def check_rows(self) -> None:
        found = {
            row["key"]: Row(
                tuple(row[name] for name in self.model.columns), row["import_id"], row["row_number"]
            )
            for row in await self.mill.records(self.model.dataset, tenant=self.tenant)
        }
        assert found == self.model.rows

    async def check_counts(self, import_id: UUID) -> None:
        assert balance(await self.mill.work(import_id)) == {name: self.model.counts[name] for name in COUNTS}


async def slices_between_edits(town: Town, import_id: UUID, one: Import, edits: list[Edit]):
    """Yields the records of each slice, to be done by the model before the next edit."""
    pipeline = town.mill.pipeline(slice_bytes=one.slice_bytes)
    waiting, done = sorted(edits, key=lambda edit: edit.behind), 0
    async for numbers in slice_by_slice(town.mill, import_id, pipeline):
        done += 1
        yield [(number, one.records[number - 1]) for number in numbers]
        while waiting and waiting[0].behind <= done:
            await town.edit(waiting.pop(0))
    for edit in waiting:
        await town.edit(edit)


async def overwritten_as_by_the_model(mill, dataset, history):
    columns, _ = OVERWRITE[dataset]
    town = Town(mill, Model(dataset, columns), (columns[1], EDITED[dataset]))
    for one, edits in history:
        import_id = await town.take_on(one)
        town.model.begin()
        async for records in slices_between_edits(town, import_id, one, edits):
            town.model.overwrite(import_id, records)
            await town.check_rows()
        await town.check_rows()
        await town.check_counts(import_id)
        changes = await mill.changes(import_id)
        assert changes == town.model.in_order()
        if not edits:
            kept = Counter(change.key for change in changes if change.kind in {"created", "updated"})
            assert set(kept.values()) <= {1}


@on_real_servers(40)
@given(histories(OVERWRITE["products"][1], ["a", "b", "ä"]))
@example([
    (Import([("a", "x", None)], 1 << 20), []),
    (Import([("A", "x", None), ("a", "y", None), ("a", "x", None)], 1), []),
])  # fmt: skip
@example([(Import([("a", "x", None), ("a", "x", None)], 1), [Edit("a", False, 2)])])
async def test_products_are_as_if_records_came_one_by_one(mill, history):
    await overwritten_as_by_the_model(mill, "products", history)


@on_real_servers(20)
@given(histories(OVERWRITE["parts"][1], ["a", "b", "ä"]))
async def test_parts_are_as_if_records_came_one_by_one(mill, history):
    await overwritten_as_by_the_model(mill, "parts", history)


def holder_of(row, import_id):
    if row.import_id is None:
        return "it is in the table"
    if row.import_id == import_id:
        return f"record {row.number} of this file has it"
    return f"record {row.number} of import {row.import_id} brought it"


def book(isbn, title):
    return title, "Author", isbn, "2000"


@on_real_servers(30)
@given(histories(BOOKS, ISBNS))
async def test_books_are_as_if_records_came_one_by_one(mill, history):
    town = Town(mill, Model("books", ("isbn", "title")), ("title", "edited"))
    for one, edits in history:
        import_id = await town.take_on(one)
        town.model.begin()
        expected = []
        async for records in slices_between_edits(town, import_id, one, edits):
            expected += [
                (number, f"ISBN {row.values[0]} is already there: {holder_of(row, import_id)}")
                for number, row in town.model.reject(import_id, records)
            ]
            await town.check_rows()
        await town.check_counts(import_id)
        assert await mill.changes(import_id) == town.model.in_order()
        errors = await mill.errors(import_id)
        assert [(error["row_number"], error["message"]) for error in errors] == expected
        assert {error["code"] for error in errors} <= {"duplicate_key"}
        counted = {("duplicate_key", "isbn"): len(expected)} if expected else {}
        assert await mill.error_counts(import_id) == counted
        assert await mill.database.fetchval("SELECT count(*) FROM processor.duplicates") == 0


@on_real_servers(20)
@given(
    st.lists(st.builds(Import, st.lists(CODES, max_size=9), st.sampled_from(SLICES)), min_size=1, max_size=3)
)
async def test_stock_codes_are_a_distinct_list_of_each_import(mill, imports):
    tenant, expected = str(uuid4()), {}
    for one in imports:
        content = written(["stock_code"], one.records)
        import_id = await mill.take_on(content, dataset="stock-codes", tenant=tenant, dialect=Dialect())
        work = await mill.finish(import_id, mill.pipeline(slice_bytes=one.slice_bytes))
        first = {}
        for number, (code,) in enumerate(one.records, 1):
            first.setdefault(code.lower(), (code, number))
        expected |= {f"{import_id}\x1f{key}": (*found, import_id) for key, found in first.items()}
        found = {
            row["key"]: (row["stock_code"], row["row_number"], row["import_id"])
            for row in await mill.records("stock_codes", tenant=tenant)
        }
        assert found == expected
        duplicates = len(one.records) - len(first)
        assert balance(work) == dict.fromkeys(COUNTS, 0) | {"inserted": len(first), "duplicate": duplicates}
        assert await mill.changes(import_id) == [
            Change("stock-codes", "created", number, f"{import_id}\x1f{key}", None)
            for key, (_, number) in sorted(first.items(), key=lambda item: item[1][1])
        ]


@pytest.mark.parametrize("dataset", ["products", "books"])
async def test_tenants_do_not_meet(mill, dataset):
    content = {
        "products": b"sku,name\na,x\n",
        "books": written(("title", "author", "isbn", "publication_year"), [book(ISBNS[0], "x")]),
    }[dataset]
    for tenant in ("one", "two"):
        work = await mill.load(content, dataset=dataset, tenant=tenant)
        assert work["rows_inserted"] == 1
    assert await mill.database.fetchval(f"SELECT count(*) FROM data.{dataset}") == 2


async def test_a_column_that_files_never_bring_is_left_as_it_is(mill):
    await mill.load("sku,name\na,x\n", dataset="products")
    await mill.database.execute("UPDATE data.products SET active = false")
    await mill.load("sku,name\na,y\n", dataset="products")
    assert await mill.database.fetchrow("SELECT name, active FROM data.products") == ("y", False)


async def test_an_unchanged_record_is_not_written(mill):
    await mill.load("sku,name\na,x\nb,y\n", dataset="products")
    unchanged = "SELECT ctid, xmin, * FROM data.products WHERE key = 'a'"
    before = await mill.database.fetchrow(unchanged)
    work = await mill.load("sku,name\na,x\nb,z\na,x\n", dataset="products")
    assert (work["rows_unchanged"], work["rows_updated"]) == (2, 1)
    assert await mill.database.fetchrow(unchanged) == before


async def test_many_changes_are_kept_in_rows_of_a_few_thousand(mill):
    rows = 12_000
    old = await mill.load(
        written(("sku", "name"), ((f"s{number}", "x") for number in range(rows))),
        mill.pipeline(slice_bytes=1 << 20),
        dataset="products",
    )
    new = await mill.load(
        written(("sku", "name"), ((f"s{number}", number % 3) for number in range(rows))),
        mill.pipeline(slice_bytes=1 << 20),
        dataset="products",
    )
    for work, kind in ((old, "created"), (new, "updated")):
        lengths = await mill.database.fetch(
            "SELECT cardinality(keys) FROM processor.changes WHERE import_id = $1", work["import_id"]
        )
        assert sum(length for (length,) in lengths) == rows
        assert {length for (length,) in lengths} == {5000, 2000}
        changes = await mill.changes(work["import_id"])
        assert [(change.kind, change.row, change.key) for change in changes] == [
            (kind, number + 1, f"s{number}") for number in range(rows)
        ]
    assert {change.before["name"] for change in changes} == {"x"}
