"""Migrations, and what each service may touch."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from penstock.registry import MIGRATIONS, NAMES
from shared.platform.database import (
    advisory_key,
    async_url,
    engine_for,
    migrate_async,
    role_of,
)

TABLES = {
    "upload": ("upload.imports",),
    "processor": ("processor.imports", "processor.receipts", "processor.row_errors", "processor.inbox", "data.products", "data.books"),
    "results": ("results.inbox",),
    "notifier": ("notifier.inbox",),
}  # fmt: skip
# Those that others see all of, by views with their reader's rights; tests/e2e/test_row_security.py has the columns.
WHOLLY_SHOWN = {
    "results": {"processor.receipts", "processor.row_errors", "data.products", "data.books"},
    "notifier": {"data.products", "data.books"},
}
READERS = {
    "upload.imports_v1": {"results"},
    "processor.imports_v1": {"results", "upload"},
    "processor.row_errors_v1": {"results"},
    "processor.error_counts_v1": {"results"},
    "processor.error_files_v1": {"results"},
    "processor.receipts_v1": {"results"},
    "processor.changes_v1": {"notifier"},
    "data.products_v1": {"results", "notifier"},
    "data.books_v1": {"results", "notifier"},
}


async def fetch(url, query):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()


async def structure(url):
    """Every relation and column with its owner."""
    return await fetch(
        url,
        "SELECT n.nspname, c.relname, c.relkind, a.attname, c.relowner::regrole::text, c.relacl::text"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace LEFT JOIN pg_attribute a ON attrelid = c.oid"
        " WHERE nspname IN ('bus', 'auth', 'upload', 'processor', 'data', 'results', 'notifier')"
        " ORDER BY 1, 2, 3, 4",
    )


async def test_migrating_twice_changes_nothing(database_url):
    before = await structure(database_url)
    await migrate_async(database_url, MIGRATIONS)
    assert await structure(database_url) == before
    assert len(before) > 100


async def test_migrating_at_once_is_migrating_once(empty_database, database_url):
    await asyncio.gather(
        *(asyncio.to_thread(asyncio.run, migrate_async(empty_database, MIGRATIONS)) for _ in range(4))
    )
    assert await structure(empty_database) == await structure(database_url)


async def test_a_migration_that_fails_leaves_what_was_there_and_its_lock_free(empty_database):
    await fetch(empty_database, "CREATE SCHEMA auth")
    with pytest.raises(ProgrammingError):
        await migrate_async(empty_database, MIGRATIONS)
    assert await structure(empty_database) == []
    await fetch(empty_database, "DROP SCHEMA auth")
    async with asyncio.timeout(20):
        await migrate_async(empty_database, MIGRATIONS)


@pytest.fixture
async def acting(database_url):
    """Runs a statement as a service does."""
    engines = {name: engine_for(database_url, name, pool_size=1) for name in NAMES}

    async def execute(service, statement):
        async with engines[service].connect() as connection:
            return await connection.execute(text(statement))

    yield execute
    for engine in engines.values():
        await engine.dispose()


DENIED = r"permission denied|must be owner"
STATEMENTS = ("SELECT * FROM {}", "INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "DROP TABLE {}")


@pytest.mark.parametrize("service", NAMES)
async def test_a_service_cannot_touch_what_another_owns(acting, service):
    for owner in set(NAMES) - {service}:
        for table in TABLES[owner]:
            shown = table in WHOLLY_SHOWN.get(service, ())
            for statement in STATEMENTS[1:] if shown else STATEMENTS:
                with pytest.raises(ProgrammingError, match=DENIED):
                    await acting(service, statement.format(table))


@pytest.mark.parametrize("service", NAMES)
async def test_a_service_acts_as_itself_in_its_own_schema(acting, service):
    result = await acting(service, "SELECT current_user, current_schema")
    assert tuple(result.one()) == (role_of(service), service)
    for table in TABLES[service]:
        await acting(service, f"SELECT * FROM {table}")


@pytest.mark.parametrize("view", READERS)
async def test_those_it_is_for_read_what_is_published_and_nobody_else_does(acting, view):
    owner = {"upload": "upload", "processor": "processor", "data": "processor"}[view.split(".")[0]]
    readers = READERS[view]
    for service in readers:
        await acting(service, f"SELECT * FROM {view}")
        with pytest.raises(DBAPIError, match=r"permission denied|cannot delete from view"):
            await acting(service, f"DELETE FROM {view}")
    for service in set(NAMES) - readers - {owner}:
        with pytest.raises(ProgrammingError, match="permission denied"):
            await acting(service, f"SELECT * FROM {view}")


@pytest.mark.parametrize("service", NAMES)
async def test_every_service_uses_the_bus_and_who_is_asked_reads_keys(acting, service):
    await acting(service, "SELECT * FROM bus.outbox")
    await acting(service, "DELETE FROM bus.outbox")
    if service == "processor":  # nobody asks it anything
        with pytest.raises(ProgrammingError, match=DENIED):
            await acting(service, "SELECT * FROM auth.api_keys")
    else:
        await acting(service, "SELECT * FROM auth.api_keys")
    for statement in (
        "DELETE FROM auth.api_keys",
        "UPDATE auth.api_keys SET revoked_at = NULL",
        "DROP TABLE bus.outbox",
    ):
        with pytest.raises(ProgrammingError, match=DENIED):
            await acting(service, statement)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h/d",
        "postgres://u:p@h/d",
        "postgresql+psycopg://u:p@h/d",
        "postgresql+asyncpg://u:p@h/d",
    ],
)
def test_any_form_of_the_url_will_do(url):
    assert async_url(url).render_as_string(hide_password=False) == "postgresql+asyncpg://u:p@h/d"


def test_lock_keys_are_signed_64_bit_and_differ():
    keys = {advisory_key(f"name {number}") for number in range(1000)}
    assert len(keys) == 1000
    assert all(-(2**63) <= key < 2**63 for key in keys)
