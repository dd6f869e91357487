"""What the merge does to the table and to the counts, against a model that takes one record after the other."""

from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.processor import repository
from services.processor.merging import merge_of
from shared.contracts.datasets import datasets

KEYS = st.sampled_from(["a", "b", "c", "ä"])
PRODUCTS = st.tuples(KEYS, st.sampled_from(["x", "y"]), st.sampled_from([None, "z"]))
BOOKS = st.tuples(KEYS, st.sampled_from(["x", "y"]))

real_database = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def imports_of(records):
    """Some imports, one after the other: the records of each, and the places where it is cut into slices."""
    one = st.lists(records, max_size=8)
    return st.lists(st.tuples(one, st.sets(st.integers(0, 8), max_size=4)), min_size=1, max_size=4)


@dataclass
class Model:
    """A table in plain Python: key → (values, import, row number)."""

    rows: dict[str, tuple[tuple, UUID, int]] = field(default_factory=dict)

    def overwrite(self, import_id, records):
        counts = dict.fromkeys(("inserted", "updated", "unchanged", "duplicate"), 0)
        for number, (key, *values) in enumerate(records, 1):
            row = self.rows.get(key)
            counts[verdict := _verdict(row, tuple(values), import_id)] += 1
            if verdict != "unchanged":
                self.rows[key] = (tuple(values), import_id, number)
        return counts

    def reject(self, import_id, records):
        taken = []
        for number, (key, *values) in enumerate(records, 1):
            if key in self.rows:
                taken.append((number, key, *self.rows[key][1:]))
            else:
                self.rows[key] = (tuple(values), import_id, number)
        return taken


def _verdict(row, values, import_id):
    if row is None:
        return "inserted"
    if row[1] == import_id:
        return "duplicate"
    return "unchanged" if row[0] == values else "updated"


def slices(records, cuts):
    bounds = [0, *sorted(cut for cut in cuts if cut < len(records)), len(records)]
    numbered = list(enumerate(records, 1))
    return [numbered[start:stop] for start, stop in pairwise(bounds)]


def statements_for(dataset):
    declared = datasets()[dataset]
    return merge_of(declared, {field.name for field in declared.file_fields})


async def merge(engine, dataset, work, staged):
    """Merge one slice; its counts, and the records that were not loaded."""
    statements = statements_for(dataset)
    async with engine.begin() as connection:
        counts = await repository.merge(connection, statements, work, staged)
        taken = await repository.duplicates(connection, statements, work, limit=100)
    return counts._asdict(), [tuple(row) for row in taken]


async def merge_all(engine, dataset, work, pieces):
    staged_of = {"products": product, "books": book}[dataset]
    total, taken = dict.fromkeys(("inserted", "updated", "unchanged", "duplicate"), 0), []
    for piece in pieces:
        counts, missed = await merge(engine, dataset, work, [staged_of(number, row) for number, row in piece])
        total = {name: total[name] + counts[name] for name in total}
        taken += missed
    return total, taken


def product(number, record):
    key, name, description = record
    return (number, key, key.upper(), name, description)


def book(number, record):
    key, title = record
    return (number, key, title, "author", key, 2000)


async def products_of(database, tenant):
    rows = await database.fetch(
        "SELECT key, name, description, import_id, row_number FROM data.products WHERE tenant = $1", tenant
    )
    return {
        row["key"]: ((row["name"], row["description"]), row["import_id"], row["row_number"]) for row in rows
    }


async def books_of(database, tenant):
    rows = await database.fetch(
        "SELECT key, title, import_id, row_number FROM data.books WHERE tenant = $1", tenant
    )
    return {row["key"]: ((row["title"],), row["import_id"], row["row_number"]) for row in rows}


def new_work(tenant):
    return SimpleNamespace(tenant=tenant, import_id=uuid4())


@real_database
@given(imports_of(PRODUCTS))
@example([([("a", "x", None)], set()), ([("a", "x", None), ("a", "y", None), ("a", "x", None)], {2})])
@example([([("a", "x", None), ("a", "x", None)], {1})])
async def test_overwrite_is_as_if_records_came_one_by_one(engine, database, imports):
    tenant, model = str(uuid4()), Model()
    for records, cuts in imports:
        work = new_work(tenant)
        expected = model.overwrite(work.import_id, records)
        counts, _ = await merge_all(engine, "products", work, slices(records, cuts))
        assert counts == expected
        assert await products_of(database, tenant) == model.rows


@real_database
@given(imports_of(BOOKS))
async def test_reject_is_as_if_records_came_one_by_one(engine, database, imports):
    tenant, model = str(uuid4()), Model()
    for records, cuts in imports:
        work = new_work(tenant)
        expected = model.reject(work.import_id, records)
        counts, taken = await merge_all(engine, "books", work, slices(records, cuts))
        assert taken == expected
        assert counts == {
            "inserted": len(records) - len(expected), "updated": 0, "unchanged": 0, "duplicate": len(expected),
        }  # fmt: skip
        assert await books_of(database, tenant) == model.rows


@pytest.mark.parametrize(("dataset", "staged"), [("products", product(1, ("a", "x", None))), ("books", book(1, ("a", "x")))])  # fmt: skip
async def test_tenants_do_not_meet(engine, database, dataset, staged):
    for tenant in ("one", "two"):
        counts, taken = await merge(engine, dataset, new_work(tenant), [staged])
        assert (counts["inserted"], taken) == (1, [])
    assert await database.fetchval(f"SELECT count(*) FROM data.{dataset}") == 2


async def test_only_the_first_duplicates_are_listed_when_few_are_wanted(engine):
    work = new_work("acme")
    statements = statements_for("books")
    staged = [book(number, ("a", "x")) for number in range(1, 6)]
    async with engine.begin() as connection:
        await repository.merge(connection, statements, work, staged)
        taken = await repository.duplicates(connection, statements, work, limit=2)
    assert [row.row_number for row in taken] == [2, 3]


async def test_a_column_that_files_never_bring_is_left_as_it_is(engine, database):
    await merge(engine, "products", new_work("acme"), [product(1, ("a", "x", None))])
    await database.execute("UPDATE data.products SET active = false")
    await merge(engine, "products", new_work("acme"), [product(1, ("a", "y", None))])
    assert await database.fetchrow("SELECT name, active FROM data.products") == ("y", False)


async def test_a_column_that_this_file_does_not_bring_is_left_as_it_is(engine, database):
    await merge(engine, "products", new_work("acme"), [product(1, ("a", "x", "kept"))])
    statements = merge_of(datasets()["products"], {"sku": 0, "name": 1})
    async with engine.begin() as connection:
        counts = await repository.merge(
            connection, statements, new_work("acme"), [(1, "a", "A", "y"), (2, "b", "B", "new")]
        )
    assert (counts.updated, counts.inserted) == (1, 1)
    rows = await database.fetch("SELECT name, description FROM data.products ORDER BY key")
    assert [tuple(row) for row in rows] == [("y", "kept"), ("new", None)]


async def test_an_unchanged_record_is_not_written(engine, database):
    await merge(engine, "products", new_work("acme"), [product(1, ("a", "x", None))])
    before = await database.fetchrow("SELECT ctid, xmin, * FROM data.products")
    counts, _ = await merge(engine, "products", new_work("acme"), [product(1, ("a", "x", None))])
    assert counts["unchanged"] == 1
    assert await database.fetchrow("SELECT ctid, xmin, * FROM data.products") == before


async def test_a_record_made_by_hand_holds_its_key_too(engine, database):
    await database.execute(
        "INSERT INTO data.books (tenant, key, title, author, isbn, publication_year)"
        " VALUES ('acme', 'a', 'x', 'y', 'a', 2000)"
    )
    counts, taken = await merge(engine, "books", new_work("acme"), [book(1, ("a", "x"))])
    assert counts["duplicate"] == 1
    assert taken == [(1, "a", None, None)]
