"""The second wall: what PostgreSQL shows and allows a tenant's transaction, whatever its statements say.

Generated from the catalog: a table, view or grant that comes later is tried by itself.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.registry import MIGRATIONS
from shared.contracts.datasets import datasets
from shared.contracts.record_search import search_view
from shared.platform.database import engine_for, role_of, tenant_role_of
from shared.platform.tenancy import tenant_reading, tenant_writing
from tests.e2e.tenants import SCHEMAS, SERVICE_ROLES, TENANT_ROLES, Tenant, connected, tables, two_tenants

REFUSED = "violates row-level security policy|permission denied"

# What a role may do with each column of each table and view of ours.
PRIVILEGES = """
    SELECT c.oid::regclass::text AS relation, c.relkind::text AS kind, a.attname AS column, p.privilege
    FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS p (privilege)
    WHERE relnamespace = ANY($2::regnamespace[]::oid[]) AND relkind IN ('r', 'p', 'v', 'm')
        AND has_column_privilege($1, c.oid, a.attnum, p.privilege)
    ORDER BY 1, a.attnum
"""


# Views with their owner's rights, which choose the tenant themselves: row-level security would keep them from their index.
OWNERS_VIEWS = {view: view.removesuffix("_v1") for view in map(search_view, datasets().values())}


@pytest.fixture
async def world(environment):
    async with two_tenants(environment) as world:
        yield world


@pytest.fixture
async def engines(database_url):
    """An engine of its service for each tenant role."""
    serving = [migrations.service for migrations in MIGRATIONS if migrations.serves_tenants]
    engines = {tenant_role_of(name): engine_for(database_url, name, pool_size=1) for name in serving}
    yield engines
    for engine in engines.values():
        await engine.dispose()


@pytest.fixture
async def database(database_url):
    async with connected(database_url) as database:
        yield database


async def columns_for(database, role: str, privilege: str) -> dict[str, list[str]]:
    """The columns of each relation on which `role` has `privilege`."""
    found: dict[str, list[str]] = {}
    for row in await database.fetch(PRIVILEGES, role, list(SCHEMAS)):
        if row["privilege"] == privilege:
            found.setdefault(row["relation"], []).append(row["column"])
    return found


def listed(columns: list[str]) -> str:
    """A whole row as text, of the columns that may be read."""
    quoted = [f't."{column}"' for column in columns]
    return f"row({', '.join(quoted)})::text"


async def rows(connection: AsyncConnection, relation: str, columns: list[str]) -> list[str]:
    return list(await connection.scalars(text(f"SELECT {listed(columns)} FROM {relation} t")))


@asynccontextmanager
async def refused(connection: AsyncConnection) -> AsyncIterator[None]:
    savepoint = await connection.begin_nested()
    with pytest.raises(DBAPIError, match=REFUSED):
        yield
    await savepoint.rollback()


async def test_every_table_with_a_tenant_is_under_row_level_security(database):
    found = await database.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relrowsecurity AND relkind IN ('r', 'p')"
    )
    guarded = {row["name"] for row in found}
    with_tenant = set(await tables(database, with_tenant=True))
    assert len(with_tenant) >= 20
    assert with_tenant - guarded == set()
    for role in TENANT_ROLES:
        reachable = set(await columns_for(database, role, "SELECT")) & set(await tables(database))
        assert len(reachable) >= 2
        assert reachable - guarded == set(), f"{role} reads them past the policies"


@pytest.mark.parametrize("role", TENANT_ROLES)
async def test_the_role_of_a_tenant_is_nothing_else(database, role):
    row = await database.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", role)
    assert not any(row[right] for right in ("rolsuper", "rolbypassrls", "rolcanlogin", "rolcreaterole"))
    assert (
        await database.fetchval("SELECT count(*) FROM pg_auth_members WHERE member = $1::regrole", role) == 0
    )
    owned = "SELECT count(*) FROM pg_class WHERE relowner = $1::regrole"
    assert await database.fetchval(owned, role) == 0
    # Otherwise a service, whose consumers act for all tenants, would be under the policies too.
    for service in SERVICE_ROLES:
        assert not await database.fetchval("SELECT pg_has_role($1, $2, 'USAGE')", service, role)


@pytest.mark.parametrize("role", TENANT_ROLES)
async def test_a_view_that_a_tenant_reads_has_the_readers_rights(database, role):
    """One with its owner's rights would show what the owner sees, which is everything."""
    found = await database.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind IN ('v', 'm')"
        " AND relnamespace = ANY($1::regnamespace[]::oid[])"
        " AND NOT coalesce(reloptions @> '{security_invoker=true}', false)",
        list(SCHEMAS),
    )
    assert {row["name"] for row in found} & set(await columns_for(database, role, "SELECT")) <= set(
        OWNERS_VIEWS
    )


@pytest.mark.parametrize("role", [*SERVICE_ROLES, *TENANT_ROLES])
async def test_of_what_another_service_owns_a_role_reads_what_a_contract_shows(database, role):
    """A view with its reader's rights needs grants on the table behind it: on the columns that it shows, no others.

    Besides, a service sees the revision of those whose views it reads: whether they show what it needs yet.
    """
    granted = await database.fetch(
        """
        SELECT c.oid::regclass::text AS table, a.attname AS column
        FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
        WHERE relnamespace = ANY($2::regnamespace[]::oid[]) AND relkind IN ('r', 'p')
            AND relowner <> to_regrole(regexp_replace($1, '_tenant$', ''))
            AND has_column_privilege($1, c.oid, a.attnum, 'SELECT')
        """,
        role,
        [schema for schema in SCHEMAS if schema != "auth"],
    )
    shown = await database.fetch(
        """
        SELECT DISTINCT d.refobjid::regclass::text AS table, a.attname AS column
        FROM pg_class v JOIN pg_rewrite r ON r.ev_class = v.oid
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refobjid <> v.oid
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE v.relkind = 'v' AND has_any_column_privilege($1, v.oid, 'SELECT')
        """,
        role,
    )
    revisions = {
        (f"{owner}.alembic_version", "version_num")
        for migrations in MIGRATIONS
        if role == role_of(migrations.service)
        for owner in migrations.reads
    }
    assert {tuple(row) for row in granted} - {tuple(row) for row in shown} == revisions


@pytest.mark.parametrize("role", TENANT_ROLES)
async def test_a_tenant_puts_events_on_the_bus_and_reads_none(database, role):
    granted = await database.fetch(PRIVILEGES, role, ["bus"])
    assert {row["relation"] for row in granted} == {"bus.outbox"}
    assert {row["column"] for row in granted if row["privilege"] == "SELECT"} == {"id", "queue"}
    assert {row["privilege"] for row in granted} == {"SELECT", "INSERT"}


async def test_a_tenant_sees_its_own_rows_and_no_others(world, engines, subtests):
    for role, relation, columns in await readable(world.database):
        with subtests.test(f"{role} {relation}"):
            seen = []
            for tenant in (world.owner, world.stranger):
                async with tenant_reading(engines[role], tenant.name) as connection:
                    found = await rows(connection, relation, columns)
                    assert found, f"give each tenant in tests/e2e/tenants.py rows in {relation}"
                    if "tenant" in columns:
                        tenants = await connection.scalars(text(f"SELECT DISTINCT tenant FROM {relation}"))
                        assert list(tenants) == [tenant.name]
                seen += found
            whole = OWNERS_VIEWS.get(relation, relation)
            everything = await world.database.fetch(f"SELECT {listed(columns)} AS row FROM {whole} t")
            assert sorted(row["row"] for row in everything) == sorted(seen)


async def test_whoever_has_nothing_sees_nothing(world, engines, subtests):
    for role, relation, columns in await readable(world.database):
        with subtests.test(f"{role} {relation}"):
            for nobody in ("", "tenant", "%", "tenant-orchard' OR 'a'='a"):
                async with tenant_reading(engines[role], nobody) as connection:
                    assert await rows(connection, relation, columns) == []
            async with engines[role].connect() as connection:
                await connection.execute(text(f"SET LOCAL ROLE {role}"))
                assert await rows(connection, relation, columns) == []


async def readable(database) -> list[tuple[str, str, list[str]]]:
    """What each tenant role may read: role, relation, columns."""
    return [
        (role, relation, columns)
        for role in TENANT_ROLES
        for relation, columns in (await columns_for(database, role, "SELECT")).items()
    ]


async def test_a_row_of_another_tenant_is_not_written(world, engines, subtests):
    """Copies of the owner's rows are inserted by the stranger, and the stranger's own are made the owner's."""
    for role in TENANT_ROLES:
        may_insert = await columns_for(world.database, role, "INSERT")
        may_update = await columns_for(world.database, role, "UPDATE")
        for table in sorted({*may_insert, *may_update}):
            with subtests.test(f"{role} {table}"):
                row = await a_row_of(world.database, table, world.owner)
                copied = f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(NULL::{table}, :row)"
                async with tenant_writing(engines[role], world.stranger.name) as connection:
                    if table in may_insert:
                        async with refused(connection):
                            await connection.execute(text(copied), {"row": row})
                    async with refused(connection):
                        changed = text(f"UPDATE {table} SET tenant = :tenant")
                        await connection.execute(changed, {"tenant": world.owner.name})


async def a_row_of(database, table: str, tenant: Tenant) -> str:
    row = await database.fetchval(
        f"SELECT to_jsonb(t)::text FROM {table} t WHERE tenant = $1 LIMIT 1", tenant.name
    )
    if row is None:  # a table whose rows are gone by now: what counts is the tenant
        row = await database.fetchval("SELECT jsonb_build_object('tenant', $1::text)::text", tenant.name)
    return str(row)


async def test_what_is_changed_without_a_condition_is_ones_own(world, engines, subtests):
    for role, table, statement in await sweeping_changes(world.database):
        with subtests.test(f"{role} {statement}"):
            async with engines[role].connect() as connection:
                await as_tenant(connection, role, world.stranger)
                touched = (await connection.execute(text(statement))).rowcount
                await connection.rollback()
            count = f"SELECT count(*) FROM {table} WHERE tenant = $1"
            assert touched == await world.database.fetchval(count, world.stranger.name)
            assert touched < await world.database.fetchval(f"SELECT count(*) FROM {table}")


async def sweeping_changes(database) -> list[tuple[str, str, str]]:
    """Changes of every row, each as far as a tenant role may make such: role, table, statement."""
    changes = []
    for role in TENANT_ROLES:
        for table, columns in (await columns_for(database, role, "UPDATE")).items():
            changes.append((role, table, f'UPDATE {table} SET "{columns[0]}" = "{columns[0]}"'))
        changes += [
            (role, table, f"DELETE FROM {table}")
            for table in await tables(database)
            if await database.fetchval("SELECT has_table_privilege($1, $2, 'DELETE')", role, table)
        ]
    assert len(changes) >= 3
    return changes


async def as_tenant(connection: AsyncConnection, role: str, tenant: Tenant) -> None:
    values: dict[str, Any] = {"role": role, "tenant": tenant.name}
    await connection.execute(
        text("SELECT set_config('role', :role, true), set_config('penstock.tenant', :tenant, true)"), values
    )


@pytest.mark.parametrize("service", SERVICE_ROLES)
async def test_a_service_sees_all_tenants_in_what_it_reads(world, database_url, service):
    """Its consumers act for all of them; and the version before this one reads so for its requests, too."""
    name = next(migrations.service for migrations in MIGRATIONS if role_of(migrations.service) == service)
    engine = engine_for(database_url, name, pool_size=1)
    for relation, columns in (await columns_for(world.database, service, "SELECT")).items():
        if "tenant" in columns:
            async with engine.connect() as connection:
                tenants = await connection.scalars(text(f"SELECT DISTINCT tenant FROM {relation}"))
                everybody = await world.database.fetch(f"SELECT DISTINCT tenant FROM {relation}")
                assert sorted(tenants) == sorted(row["tenant"] for row in everybody), relation
    await engine.dispose()
