"""The indexer beside imports, what its statements cost, and how it takes on what was there before it."""

import asyncio
import dataclasses
import shutil
from collections import Counter
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from penstock.registry import MIGRATIONS
from services.processor.searching import Indexer, indexing
from shared.platform.database import engine_for, migrate_async
from tests.processor.given import written
from tests.processor.searching import FILES, PRODUCTS, index_all, indexed


async def test_the_indexer_leaves_the_machine_to_slices_until_it_is_overdue(mill, monkeypatch):
    await mill.load(FILES["products"][0], dataset="products")
    busy = Indexer(mill.engine, lambda: True)
    assert await busy.turn() == 0
    assert await indexed(mill) == set()
    monkeypatch.setattr("services.processor.searching.indexer.PATIENCE_SECONDS", -1.0)
    assert await busy.turn() == 1
    assert await indexed(mill) == {"k-1"}


async def test_a_part_that_fails_holds_up_no_other(mill):
    for tenant in ("acme", "other"):
        await mill.load(FILES["products"][0], dataset="products", tenant=tenant)
    await mill.database.execute(
        "ALTER TABLE data.products_search ADD CONSTRAINT broken CHECK (tenant <> 'acme')"
    )
    indexer = Indexer(mill.engine, lambda: False)
    assert await indexer.turn() == 1
    assert await indexed(mill, tenant="other") == {"k-1"}
    with pytest.raises(Exception, match="broken"):
        await indexer.turn()
    await mill.database.execute("ALTER TABLE data.products_search DROP CONSTRAINT broken")
    assert await indexer.turn() == 1
    assert await indexed(mill) == {"k-1"}


async def test_the_indexer_works_by_itself_and_survives_what_fails(mill, soon):
    await mill.database.execute("ALTER TABLE data.products_search ADD CONSTRAINT broken CHECK (false)")
    running = asyncio.create_task(Indexer(mill.engine, lambda: False).run())
    await mill.load(FILES["products"][0], dataset="products")
    await asyncio.sleep(0.1)
    await mill.database.execute("ALTER TABLE data.products_search DROP CONSTRAINT broken")

    async def there():
        return await indexed(mill) == {"k-1"}

    await soon(there)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_the_planner_hears_of_what_was_added(mill):
    rows = [[f"s{number}", "oak"] for number in range(1_000)]
    await mill.load(written(["sku", "name"], rows), mill.pipeline(slice_bytes=1 << 20), dataset="products")
    await mill.database.execute("ALTER TABLE data.products_search SET (autovacuum_enabled = off)")
    indexer = Indexer(mill.engine, lambda: False)
    while await indexer.turn():
        pass
    known = "SELECT reltuples FROM pg_class WHERE oid = 'data.products_search'::regclass"
    assert await mill.database.fetchval(known) == 1_000


async def test_the_work_grows_with_the_step_only(mill):
    """The planner believes that a table which was just filled is as small as it was."""
    await mill.load(FILES["products"][0], dataset="products")
    await index_all(mill.engine)
    for table in ("products", "products_search"):
        await mill.database.execute(f"ALTER TABLE data.{table} SET (autovacuum_enabled = off)")
        await mill.database.execute(f"ANALYZE data.{table}")
    rows = [[f"s{number:04}", "oak"] for number in range(3_000)]
    await mill.load(written(["sku", "name"], rows), mill.pipeline(slice_bytes=1 << 20), dataset="products")
    keys = [key for key, _ in rows[::3]]
    for sql in (indexing._write(PRODUCTS), indexing._remove(PRODUCTS)):
        async with mill.engine.begin() as connection:
            await connection.execute(indexing._PLAN)
            assert await rows_touched(connection, sql, keys) < 10 * len(keys)
    await index_all(mill.engine)
    await mill.database.execute("DELETE FROM data.products WHERE key < 's2'")
    async with mill.engine.begin() as connection:
        await connection.execute(indexing._PLAN)
        assert await rows_touched(connection, indexing._remove(PRODUCTS), keys) < 10 * len(keys)


async def rows_touched(connection, sql, keys):
    """How many rows the parts of a statement gave or looked at in vain."""
    explained = indexing._with_keys(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}")
    [(plan,)] = (await connection.execute(explained, {"tenant": "acme", "keys": keys})).all()

    def touched(node):
        counts = [node[name] for name in node if name == "Actual Rows" or name.startswith("Rows Removed")]
        return node["Actual Loops"] * sum(counts) + sum(map(touched, node.get("Plans", ())))

    return touched(plan[0]["Plan"])


async def test_records_of_before_are_marked_by_the_migration(postgres_url, tmp_path):
    """They need no lines in `processor.changes`, which were not kept always; and those that there are mark nothing."""
    async with new_database(postgres_url) as url, asyncpg_connection(url) as database:
        await migrate_async(url, [of_before(migrations, tmp_path) for migrations in MIGRATIONS])
        await database.execute("""
            INSERT INTO data.products (tenant, key, sku, name)
            SELECT 'acme', 's' || n, 's' || n, 'oak' FROM generate_series(1, 5001) n
        """)
        await database.execute("""
            INSERT INTO data.stock_codes SELECT 'other', 'x', 'BRG-6204', 0, 0, 0, false, 'file.csv', now()
        """)
        await database.execute("""
            INSERT INTO processor.changes (import_id, dataset, slice, kind, first_row, row_numbers, keys)
            SELECT gen_random_uuid(), 'products', 0, 'created', 1, '{1}', '{s1}'
        """)
        await migrate_async(url, MIGRATIONS)
        marked = await database.fetch("SELECT tenant, dataset, keys FROM data.unsearched_v1")
        by_part = Counter((row["tenant"], row["dataset"]) for row in marked)
        assert by_part == {("acme", "products"): 2, ("other", "stock-codes"): 1}
        assert sum(len(row["keys"]) for row in marked) == 5_002
        engine = engine_for(url, "processor", pool_size=2)
        await index_all(engine)
        await engine.dispose()
        assert await database.fetchval("SELECT count(*) FROM data.products_search") == 5_001


def of_before(migrations, folder):
    """The migrations of a service as they were before words were indexed."""
    if migrations.service != "processor":
        return migrations
    for revision in migrations.versions.glob("processor_000[1-5].py"):
        shutil.copy(revision, folder)
    return dataclasses.replace(migrations, versions=folder)


@asynccontextmanager
async def asyncpg_connection(url):
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@asynccontextmanager
async def new_database(postgres_url):
    """The URL of an empty database."""
    name = f"test_{uuid4().hex[:12]}"
    async with asyncpg_connection(postgres_url) as server:
        await server.execute(f"CREATE DATABASE {name}")
        yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
