"""Migrations while the version before still runs."""

import asyncio
import dataclasses
import shutil
from contextlib import asynccontextmanager

import asyncpg
import pytest

from penstock.registry import MIGRATIONS
from shared.platform import database
from shared.platform.database import DatabaseBusy, migrate_async

# The last revisions of the version before, which has readers on the contract views and writers on what is under them.
BEFORE = {"upload": 5, "processor": 4, "results": 3, "notifier": 2}
READS = (
    "SELECT status, run, rows_processed FROM processor.imports_v1 WHERE tenant = $1",
    "SELECT file_name, status FROM upload.imports_v1 u JOIN processor.imports_v1 USING (import_id) WHERE u.tenant = $1",
)


def of_before(migrations, folder):
    """The migrations of a service up to those of the version before."""
    versions = folder / migrations.service
    versions.mkdir()
    for path in migrations.versions.glob("*.py"):
        if int(path.stem[-4:]) <= BEFORE[migrations.service]:
            shutil.copy(path, versions)
    return dataclasses.replace(migrations, versions=versions)


@pytest.fixture
async def url(empty_database, tmp_path):
    """The database of the version before."""
    await migrate_async(empty_database, [of_before(migrations, tmp_path) for migrations in MIGRATIONS])
    return empty_database


@asynccontextmanager
async def session(url, role=None):
    connection = await asyncpg.connect(url)
    try:
        if role:
            await connection.execute(f"SET ROLE {role}")
        yield connection
    finally:
        await connection.close()


async def revision(connection, schema):
    return await connection.fetchval(f"SELECT version_num FROM {schema}.alembic_version")


async def waits_for(connection, table):
    """Until somebody waits for a lock on the table."""
    async with asyncio.timeout(20):
        while not await connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE relation = CAST($1 AS regclass) AND NOT granted", table
        ):
            await asyncio.sleep(0.01)


async def test_no_request_of_the_version_before_fails(url):
    stop, answered, failures = asyncio.Event(), [], []

    async def read(query):
        async with session(url, "penstock_results") as connection:
            while not stop.is_set():
                try:
                    answered.append(await connection.fetch(query, "acme"))
                except asyncpg.PostgresError as error:
                    failures.append(error)
                await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as readers:
        for number in range(8):
            readers.create_task(read(READS[number % 2]))
        await asyncio.sleep(0.1)
        try:
            await migrate_async(url, MIGRATIONS)
        finally:
            stop.set()
    assert failures == []
    assert len(answered) > 100


# How to lock a view but not yet its table, as a reader does for a moment; and the table first.
VIEW_FIRST, TABLE_FIRST = "COMMENT ON VIEW {}_v1 IS ''", "LOCK TABLE {} IN ACCESS SHARE MODE"


@pytest.mark.parametrize(
    ("table", "lock", "wanted"),
    [
        ("upload.imports", VIEW_FIRST, "upload.imports_v1"),
        ("processor.imports", VIEW_FIRST, "processor.imports_v1"),
        ("upload.imports", TABLE_FIRST, "upload.imports"),
    ],
)
async def test_a_reader_who_has_one_lock_and_wants_another_is_let_go_first(url, table, lock, wanted):
    async with session(url) as reader, session(url) as onlooker:
        transaction = reader.transaction()
        await transaction.start()
        await reader.execute(lock.format(table))
        migrating = asyncio.create_task(migrate_async(url, MIGRATIONS))
        await waits_for(onlooker, wanted)
        assert await reader.fetch(f"SELECT import_id FROM {table}_v1") == []
        await transaction.commit()
        await migrating
        assert await revision(onlooker, "processor") > "processor_0004"


async def test_what_stays_locked_is_said_and_what_is_done_stays_done(url, monkeypatch):
    async with session(url) as holder:
        async with holder.transaction():
            await holder.execute("LOCK TABLE data.sales IN ROW EXCLUSIVE MODE")
            with monkeypatch.context() as patience:
                patience.setattr(database, "LOCK_WAITS_MS", (20, 20))
                with pytest.raises(DatabaseBusy, match="schema processor"):
                    await migrate_async(url, MIGRATIONS)
        assert await revision(holder, "processor") == "processor_0011"
        assert await holder.fetchval("SELECT to_regclass('data.sales_by_time')") is None
        await migrate_async(url, MIGRATIONS)
        assert await holder.fetchval("SELECT to_regclass('data.sales_by_time')") is not None


async def test_what_the_version_before_loads_meanwhile_is_marked_for_the_search(url):
    """Nothing holds it up while the records that are there are marked, and none of its records goes without a mark."""
    stop, loaded = asyncio.Event(), set()

    async def load(writer):
        async with session(url, "penstock_processor") as connection:
            while not stop.is_set():
                key = f"{writer}-{len(loaded)}"
                async with connection.transaction():
                    await connection.execute(
                        "INSERT INTO data.products (tenant, key, sku, name) VALUES ('acme', $1, $1, '')", key
                    )
                    await connection.execute(
                        "INSERT INTO processor.changes (import_id, dataset, slice, kind, first_row, row_numbers, keys)"
                        " VALUES (gen_random_uuid(), 'products', 0, 'created', 1, '{1}', ARRAY[$1])",
                        key,
                    )
                loaded.add(key)

    async with asyncio.TaskGroup() as writers:
        for writer in range(3):
            writers.create_task(load(writer))
        await asyncio.sleep(0.1)
        await migrate_async(url, MIGRATIONS)
        await asyncio.sleep(0.05)
        stop.set()
    async with session(url) as onlooker:
        marked = await onlooker.fetch(
            "SELECT unnest(keys) AS key FROM processor.unsearched"
            " UNION SELECT unnest(keys) FROM processor.changes WHERE NOT searched"
        )
    assert {row["key"] for row in marked} == loaded
