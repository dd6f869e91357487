"""A tenant's transaction: its role and its tenant hold until it ends, however it ends, and no longer."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.platform.database import engine_for
from shared.platform.tenancy import tenant_reading, tenant_writing

WHO = text("SELECT current_user, current_setting('penstock.tenant', true)")
COUNT = text("SELECT count(*) FROM notifier.endpoints")


@pytest.fixture
async def engine(database_url):
    """With one connection, so that whoever comes next gets the one that was used."""
    engine = engine_for(database_url, "notifier", pool_size=1, max_overflow=0)
    yield engine
    await engine.dispose()


async def add_endpoint(connection, tenant):
    await connection.execute(
        text(
            "INSERT INTO notifier.endpoints (tenant, url, event_types, secret)"
            " VALUES (:tenant, 'https://a.example', '{import.*}', 'whsec_')"
        ),
        {"tenant": tenant},
    )


async def assert_clean(engine):
    async with engine.connect() as connection:
        user, tenant = (await connection.execute(WHO)).one()
        assert (user, tenant or None) == ("penstock_notifier", None)


@pytest.mark.parametrize("begun", [tenant_reading, tenant_writing])
async def test_it_acts_for_the_tenant_and_leaves_the_connection_as_it_was(engine, begun):
    await assert_clean(engine)
    async with begun(engine, "acme") as connection:
        assert tuple((await connection.execute(WHO)).one()) == ("penstock_notifier_tenant", "acme")
    await assert_clean(engine)


@pytest.mark.parametrize("begun", [tenant_reading, tenant_writing])
async def test_however_it_ends(engine, begun):
    with pytest.raises(LookupError):
        async with begun(engine, "acme"):
            raise LookupError
    await assert_clean(engine)
    with pytest.raises(DBAPIError):
        async with begun(engine, "acme") as connection:
            await connection.execute(text("SELECT 1 / 0"))
    await assert_clean(engine)
    inside = asyncio.Event()

    async def hold():
        async with begun(engine, "acme") as connection:
            inside.set()
            await connection.execute(text("SELECT pg_sleep(60)"))

    held = asyncio.create_task(hold())
    await inside.wait()
    held.cancel()
    with pytest.raises(asyncio.CancelledError):
        await held
    await assert_clean(engine)


async def test_writing_commits_and_takes_back_what_failed(engine):
    async def add_and_fail():
        async with tenant_writing(engine, "acme") as connection:
            await add_endpoint(connection, "acme")
            raise LookupError

    async with tenant_writing(engine, "acme") as connection:
        await add_endpoint(connection, "acme")
    with pytest.raises(LookupError):
        await add_and_fail()
    async with tenant_reading(engine, "acme") as connection:
        assert await connection.scalar(COUNT) == 1
    async with tenant_reading(engine, "globex") as connection:
        assert await connection.scalar(COUNT) == 0


async def test_reading_writes_nothing(engine):
    async with tenant_reading(engine, "acme") as connection:
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await add_endpoint(connection, "acme")
    async with tenant_writing(engine, "acme") as connection:
        await add_endpoint(connection, "acme")


async def test_another_tenants_row_is_refused(engine):
    with pytest.raises(DBAPIError, match="row-level security"):
        async with tenant_writing(engine, "acme") as connection:
            await add_endpoint(connection, "globex")


@pytest.mark.parametrize("tenant", ["o'reilly", 'a"b', "%", "penstock_notifier", "x" * 200, "テナント"])
async def test_a_tenant_may_be_called_anything(engine, tenant):
    async with tenant_writing(engine, tenant) as connection:
        await add_endpoint(connection, tenant)
        assert await connection.scalar(COUNT) == 1


async def test_the_same_statement_on_one_connection_for_one_tenant_after_another(engine):
    """A plan that was made for one tenant, or for the service, is none for another."""
    names = [uuid4().hex for _ in range(3)]
    for number, name in enumerate(names):
        for _ in range(number + 1):
            async with tenant_writing(engine, name) as connection:
                await add_endpoint(connection, name)
    for _ in range(10):  # after five times PostgreSQL may keep a plan for all parameters
        for number, name in enumerate(names):
            async with tenant_reading(engine, name) as connection:
                assert await connection.scalar(COUNT) == number + 1
        async with engine.connect() as connection:
            assert await connection.scalar(COUNT) == 6
