"""The fast ways of loading do what the general one does; and what is copied arrives as it was."""

from types import SimpleNamespace
from unittest.mock import patch
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from services.processor import loading
from services.processor.copying import copy
from services.processor.loading import parameters, statement
from services.processor.merging import merge_of
from services.processor.staging import Staged
from shared.contracts.datasets import datasets
from shared.contracts.dialect import Dialect
from tests.processor.given import (
    MIXED,
    SLICES,
    balance,
    contents_of,
    errors_of,
    on_real_servers,
    written,
)

TENANT = "acme"
CELLS = st.text(
    st.sampled_from([*"ab\\N.\t\n\r\b\f\v'\"|,;", "\x1f", "\x1e", "\x85", "\u2028", "ü", "😀"])
    | st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    max_size=6,
)


@st.composite
def copied(draw):
    """Records as they are staged: number, key, two columns."""
    keys = draw(st.lists(CELLS, max_size=6))
    return [(number, key, draw(st.none() | CELLS), draw(CELLS)) for number, key in enumerate(keys, 1)]


@on_real_servers(60)
@given(copied(), st.booleans())
async def test_every_text_arrives_as_it_was(engine, records, with_origin):
    staged = Staged()
    for batch in (records[:2], records[2:]):
        numbers, keys, *columns = zip(*batch, strict=True) if batch else ((), (), (), ())
        staged.add(numbers, keys, columns, [columns[1]] if with_origin else ())
    staged.sort()
    names = ["key", "number", "one", "two", "origin"][: 5 if with_origin else 4]
    async with engine.connect() as connection:
        await connection.execute(
            text("CREATE TEMP TABLE stage (key text, number int, one text, two text, origin text)")
        )
        await copy(connection, "stage", names, staged.for_stage())
        found = await connection.execute(text("SELECT number, key, one, two, origin FROM stage"))
        assert sorted(map(tuple, found)) == [
            (*record, record[3] if with_origin else None) for record in records
        ]
        await connection.rollback()


async def test_a_tenant_with_any_name_is_copied_as_it_is(mill):
    tenant = "a\tb\\N\n"
    await mill.load("sku,name\nx,y\n", dataset="products", tenant=tenant)
    assert len(await mill.records("products", tenant=tenant)) == 1


def in_the_general_way():
    """Never straight into the table, and never by the statement for distinct keys."""
    return patch.object(Staged, "has_distinct_keys", False)


async def state_of(mill, dataset, tenant, imports):
    changes = [
        [(change.dataset, change.kind, change.row, change.before) for change in await mill.changes(one)]
        for one in imports
    ]
    counts = [balance(await mill.work(one)) for one in imports]
    errors = [
        [error[:6] + error[7:] for error in await errors_of(mill, one)] for one in imports
    ]  # messages name imports by their ids
    return await contents_of(mill, dataset, tenant), changes, counts, errors


def several_imports():
    return st.sampled_from(["products", "books", "quotes"]).flatmap(
        lambda dataset: st.tuples(
            st.just(dataset),
            st.lists(
                st.tuples(st.lists(MIXED[dataset][1], max_size=9), st.sampled_from(SLICES)),
                min_size=1,
                max_size=3,
            ),
        )
    )


@on_real_servers(30)
@given(several_imports())
async def test_the_fast_ways_are_as_the_general_one(mill, given_imports):
    dataset, files = given_imports
    states = []
    for is_general, run_seconds in ((True, 0), (False, 0), (False, 60)):
        tenant, imports = str(uuid4()), []
        for rows, slice_bytes in files:
            pipeline = mill.pipeline(slice_bytes=slice_bytes, run_seconds=run_seconds)
            content = written(MIXED[dataset][0], rows)
            taken = {"dataset": dataset, "tenant": tenant, "dialect": Dialect()}
            if is_general:
                with in_the_general_way():
                    work = await mill.load(content, pipeline, **taken)
            else:
                work = await mill.load(content, pipeline, **taken)
            imports.append(work["import_id"])
        states.append(await state_of(mill, dataset, tenant, imports))
    assert states[0] == states[1] == states[2]


@pytest.mark.parametrize("known_at", [1, 150, 299])
async def test_a_key_that_the_sample_did_not_show_is_found_all_the_same(mill, known_at):
    await mill.load(f"sku,name\nS{known_at:03},old\n", dataset="products")
    content = written(("sku", "name"), ((f"s{number:03}", "new") for number in range(300)))
    work = await mill.load(content, mill.pipeline(slice_bytes=1 << 20), dataset="products")
    assert balance(work) == {"inserted": 299, "updated": 1, "unchanged": 0, "duplicate": 0, "rejected": 0}
    [update] = [change for change in await mill.changes(work["import_id"]) if change.kind == "updated"]
    assert (update.key, update.before["name"]) == (f"s{known_at:03}", "old")
    assert {row["name"] for row in await mill.records("products")} == {"new"}


@pytest.mark.parametrize("known", [range(0), range(5), range(100, 105), range(0, 300, 50), range(300)])
async def test_slices_of_new_and_known_keys_in_any_order(mill, known):
    """One process does all slices, and so believes what it saw in the slice before."""
    old = written(("sku", "name"), ((f"s{number:03}", "old") for number in known))
    await mill.load(old, dataset="products", dialect=Dialect())
    content = written(("sku", "name"), ((f"s{number:03}", "new") for number in range(300)))
    work = await mill.load(content, mill.pipeline(slice_bytes=200, run_seconds=60), dataset="products")
    assert (work["rows_inserted"], work["rows_updated"]) == (300 - len(known), len(known))
    assert sorted((change.row, change.kind) for change in await mill.changes(work["import_id"])) == [
        (number + 1, "updated" if number in known else "created") for number in range(300)
    ]
    assert [row["row_number"] for row in await mill.records("products")] == list(range(1, 301))


ROWS = 3000
VALUES = {
    "text": "'k' || n",
    'text COLLATE "C"': "'k' || n",
    "bigint": "n",
    "numeric": "n",
    "boolean": "true",
    "date": "DATE '2024-01-01'",
    "timestamptz": "TIMESTAMPTZ '2024-01-01'",
}


async def fill_stage(connection, merge, repeated):
    """ROWS records, the keys of the last `repeated` of which came before."""
    columns = ", ".join(f"{name} {kind}" for name, kind in merge.stage.items())
    await connection.execute(text(f"CREATE TEMP TABLE stage ({columns}) ON COMMIT DROP"))
    special = {
        "key": f"'q' || n % {ROWS - repeated} / 5 || E'\\x1f' || n % {ROWS - repeated}",
        "row_number": "n",
    }
    values = ", ".join(special.get(name, VALUES[kind]) for name, kind in merge.stage.items())
    await connection.execute(text(f"INSERT INTO stage SELECT {values} FROM generate_series(1, {ROWS}) n"))


async def rows_touched(connection, work, sql):
    """How many rows the parts of a statement gave or looked at in vain."""
    explained = statement(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}")
    [(plan,)] = (await connection.execute(explained, parameters(work))).all()

    def touched(node):
        counts = [node[name] for name in node if name == "Actual Rows" or name.startswith("Rows Removed")]
        return node["Actual Loops"] * sum(counts) + sum(map(touched, node.get("Plans", ())))

    return touched(plan[0]["Plan"])


@pytest.mark.parametrize("repeated", [0, 1000])
@pytest.mark.parametrize("dataset", sorted(datasets()))
async def test_the_work_grows_with_the_slice_only(mill, dataset, repeated):
    """The planner knows nothing of tables that were just filled; it must not compare each record with each row."""
    declared = datasets()[dataset]
    merge = merge_of(declared, {field.name: 0 for field in declared.file_fields}, "stage")
    for table in ("products", *merge.tables):
        await mill.database.execute(f"ALTER TABLE data.{table} SET (autovacuum_enabled = off)")
    await mill.database.execute(
        "INSERT INTO data.products (tenant, key, sku, name, stock_quantity)"
        f" SELECT 'acme', 'k' || n, 'k' || n, 'x', 1 FROM generate_series(1, {ROWS if declared.step else 0}) n"
    )
    for _ in range(3):
        import_id = await mill.take_on("sku,name\n", dataset="products")
        work = SimpleNamespace(import_id=import_id, tenant="acme", slice=0)
        async with mill.engine.begin() as connection:
            await connection.execute(text(loading._PLAN_FOR_SLICE))
            await fill_stage(connection, merge, repeated)
            for sql in (merge.load if repeated else merge.load_distinct, *merge.steps):
                assert await rows_touched(connection, work, sql) < 30 * ROWS
