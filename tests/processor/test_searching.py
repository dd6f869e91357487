"""Finding records by words: at any moment a search by the contract finds exactly what a model finds that reads everything."""

import asyncio
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import text

from services.processor.searching import Indexer, clear, indexing, put
from services.processor.searching.indexing import Part, index_some
from shared.contracts.datasets import datasets
from shared.platform.database import engine_for
from tests.processor.given import SLICES, on_real_servers, written
from tests.processor.searching import FILES, finds, found, index_all, indexed


@pytest.fixture
async def readers(database_url):
    """An engine of the service that reads."""
    engine = engine_for(database_url, "results", pool_size=3)
    yield engine
    await engine.dispose()


WORD = st.sampled_from(["oak", "Oak", "oaken", "öak", "lamp", "x-1"])
KEY = st.sampled_from(["a", "A", "b", "c", "d"])
RECORDS = st.lists(st.tuples(KEY, st.lists(WORD, min_size=1, max_size=3).map(" ".join)), max_size=6)
SOUGHT = ("oak", "oa", "lamp oak", "x-1", "1", "a", "oaken")


@dataclass(frozen=True)
class Import:
    records: list
    slice_bytes: int


@dataclass(frozen=True)
class Edit:
    key: str
    name: str | None  # None: deleted


@dataclass(frozen=True)
class DeleteAll:
    pass


@dataclass(frozen=True)
class Index:
    """One step for each part; `broken` ones are rolled back before their end."""

    broken: bool = False


HAPPENINGS = st.lists(
    st.one_of(
        st.builds(Import, RECORDS, st.sampled_from(SLICES)),
        st.builds(Edit, KEY, st.none() | WORD),
        st.builds(DeleteAll),
        st.builds(Index, st.booleans()),
        st.just(Index()),
    ),
    max_size=9,
)


@dataclass
class World:
    """A tenant's products, and those of a neighbour who has the same keys and other words."""

    mill: object
    readers: object
    tenant: str = field(default_factory=lambda: str(uuid4()))
    model: dict = field(default_factory=dict)

    async def do(self, happening):
        await _DOES[type(happening)](self, happening)
        await self.check()

    async def load(self, happening):
        file = written(["sku", "name"], happening.records)
        import_id = await self.mill.take_on(file, dataset="products", tenant=self.tenant)
        await self.mill.finish(import_id, self.mill.pipeline(slice_bytes=happening.slice_bytes))
        self.model |= {key.lower(): (key, name) for key, name in happening.records}

    async def edit(self, happening):
        key = happening.key.lower()
        if happening.name is None:
            self.model.pop(key, None)
            sql = "DELETE FROM data.products WHERE tenant = :tenant AND key = :key"
        else:
            self.model[key] = (happening.key, happening.name)
            sql = """
                INSERT INTO data.products (tenant, key, sku, name) VALUES (:tenant, :key, :sku, :name)
                ON CONFLICT (tenant, key) DO UPDATE SET sku = excluded.sku, name = excluded.name
            """
        given = {"tenant": self.tenant, "key": key}
        given |= {} if happening.name is None else {"sku": happening.key, "name": happening.name}
        async with self.mill.engine.begin() as connection:
            await connection.execute(text(sql), given)
            await put(connection, self.tenant, "products", [key])

    async def delete_all(self, _):
        async with self.mill.engine.begin() as connection:
            await connection.execute(
                text("DELETE FROM data.products WHERE tenant = :tenant"), {"tenant": self.tenant}
            )
            await clear(connection, self.tenant, "products")
        self.model.clear()

    async def index(self, happening):
        async with self.mill.engine.connect() as connection:
            await index_some(connection, Part(self.tenant, "products"))
            await (connection.rollback() if happening.broken else connection.commit())

    async def check(self):
        for sought in SOUGHT:
            expected = {key for key, values in self.model.items() if finds(sought, " ".join(values))}
            assert await found(self.readers, sought, tenant=self.tenant) == expected


_DOES = {Import: World.load, Edit: World.edit, DeleteAll: World.delete_all, Index: World.index}


@on_real_servers(25)
@given(HAPPENINGS)
@example([Import([("a", "oak"), ("b", "lamp")], 1 << 20), Index(), Edit("a", None)])
@example([Import([("a", "oak"), ("b", "lamp"), ("c", "oak")], 1 << 20), Index(), DeleteAll()])
@example(
    [
        Import([("a", "oak"), ("b", "lamp")], 20),
        Index(),
        Edit("a", "lamp"),
        Edit("b", None),
        Index(),
        DeleteAll(),
        Edit("b", "oak"),
        Index(),
        Index(),
        Import([("a", "oaken")], 20),
        Index(broken=True),
        Index(),
    ]
)
async def test_a_search_is_exact_at_any_moment(mill, readers, monkeypatch, happenings):
    monkeypatch.setattr(indexing, "KEYS_AT_ONCE", 2)
    world = World(mill, readers)
    for happening in happenings:
        await world.do(happening)
    await index_all(mill.engine)
    await world.check()
    # What is indexed is exactly what there is, and nothing is left to do.
    assert await indexed(mill, tenant=world.tenant) == set(world.model)
    assert not await mill.database.fetchval("SELECT count(*) FROM processor.unsearched")


async def test_what_an_import_brings_again_after_it_was_indexed_is_found_as_it_now_is(mill, readers):
    content = written(["sku", "name"], [("a", "oak"), ("b", "lamp"), ("a", "elm")])
    pipeline = mill.pipeline(slice_bytes=8)
    import_id = await mill.take_on(content, dataset="products")
    await mill.begin(import_id, pipeline)
    await index_all(mill.engine)
    assert await found(readers, "oak") == {"a"}
    await mill.finish(import_id, pipeline)
    for _ in "marked", "indexed":
        assert (await found(readers, "oak"), await found(readers, "elm")) == (set(), {"a"})
        await index_all(mill.engine)
    assert await mill.database.fetchval("SELECT count(*) FROM data.unsearched_v1") == 0


@pytest.mark.parametrize("name", sorted(datasets()))
async def test_every_dataset_is_searched_before_and_behind_its_indexing(mill, readers, name):
    content, sought = FILES[name]
    dataset = datasets()[name]
    await mill.load(content, dataset=name)
    [key] = await found(readers, sought, dataset=dataset)
    await index_all(mill.engine)
    assert await indexed(mill, dataset.table) == {key}
    assert await found(readers, sought, dataset=dataset) == {key}
    assert await found(readers, sought, dataset=dataset, tenant="other") == set()


async def test_a_sale_has_the_product_found_that_it_creates(mill, readers):
    await mill.load(FILES["sales"][0], dataset="sales")
    assert await found(readers, "k-9") == {"k-9"}
    await index_all(mill.engine)
    assert await indexed(mill) == {"k-9"}


async def test_what_the_version_before_loads_is_marked(mill, readers):
    """Its statements do not name the column `searched`."""
    await mill.load(FILES["products"][0], dataset="products")
    await mill.database.execute("TRUNCATE data.products_search")
    await mill.database.execute("CREATE TEMP TABLE kept AS SELECT * FROM processor.changes")
    await mill.database.execute("DELETE FROM processor.changes")
    await mill.database.execute("""
        INSERT INTO processor.changes (import_id, dataset, slice, kind, first_row, row_numbers, keys, before)
        SELECT import_id, dataset, slice, kind, first_row, row_numbers, keys, before FROM kept
    """)
    assert await found(readers, "oak") == {"k-1"}
    await index_all(mill.engine)
    assert await indexed(mill) == {"k-1"}


async def test_steps_side_by_side_exclude_each_other_and_leave_nothing(mill, readers, observers, monkeypatch):
    monkeypatch.setattr(indexing, "CHANGES_AT_ONCE", 1)
    file = written(["sku", "name"], [[f"s{n}", f"oak n{n}"] for n in range(60)])
    await mill.load(file, mill.pipeline(slice_bytes=90), dataset="products")
    indexers = [Indexer(mill.engine, lambda: False) for _ in range(3)]

    async def indexed_by(indexer):
        while await mill.database.fetchval("SELECT count(*) FROM data.unsearched_v1"):
            await indexer.turn()

    async def edits():
        for number in range(60):
            async with mill.engine.begin() as connection:
                await connection.execute(
                    text("UPDATE data.products SET name = 'lamp' WHERE key = :key"), {"key": f"s{number}"}
                )
                await put(connection, "acme", "products", [f"s{number}"])

    await asyncio.gather(edits(), *map(indexed_by, indexers))
    await index_all(mill.engine)
    assert await found(readers, "oak") == set()
    assert await found(readers, "lamp") == {f"s{number}" for number in range(60)}


async def test_a_step_that_has_a_part_leaves_others_to_other_steps(mill):
    for tenant in ("acme", "other"):
        await mill.load(FILES["products"][0], dataset="products", tenant=tenant)
    async with mill.engine.begin() as first, mill.engine.begin() as second:
        assert await index_some(first, Part("acme", "products")) == 1
        assert await index_some(second, Part("acme", "products")) == 0
        assert await index_some(second, Part("other", "products")) == 1


async def test_what_is_written_while_a_step_runs_is_left_for_the_next(mill, readers):
    await mill.load(FILES["products"][0], dataset="products")
    async with mill.engine.begin() as step:
        assert await index_some(step, Part("acme", "products")) == 1
        async with mill.engine.begin() as edit:
            await edit.execute(text("UPDATE data.products SET name = 'lamp'"))
            await put(edit, "acme", "products", ["k-1"])
    assert await found(readers, "oak") == set()
    assert await found(readers, "lamp") == {"k-1"}


async def test_an_import_and_an_edit_do_not_wait_for_a_step(mill):
    await mill.load(FILES["products"][0], dataset="products")
    async with mill.engine.begin() as step:
        assert await index_some(step, Part("acme", "products")) == 1
        work = await mill.load(FILES["products"][0].replace("Oak", "Elm"), dataset="products")
        assert work["rows_updated"] == 1
        async with mill.engine.begin() as edit:
            await edit.execute(text("DELETE FROM data.products"))
            await clear(edit, "acme", "products")
