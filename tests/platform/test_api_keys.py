"""API keys on a real database: what opens, what no longer does, and when a use is written down."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from penstock.registry import MIGRATIONS
from shared.contracts.problems import Unauthenticated
from shared.platform.auth import (
    ApiKeyVerifier,
    all_api_keys,
    create_api_key,
    prefix_of,
    revoke_api_key,
)
from shared.platform.database import async_url, engine_for
from shared.platform.tenancy import tenant_reading, tenant_writing


async def refused(key, engine):
    with pytest.raises(Unauthenticated) as caught:
        await ApiKeyVerifier(engine).principal(key)
    problem = caught.value
    assert key not in f"{problem.detail} {problem.hint}"
    assert "penstock token create" in problem.hint
    return problem.code


@pytest.fixture
async def engine(database_url):
    engine = engine_for(database_url, "upload", pool_size=2)
    yield engine
    await engine.dispose()


@pytest.fixture
async def owner(database_url):
    """Keys are made by whoever owns the database, not by a service."""
    engine = create_async_engine(async_url(database_url))
    yield engine
    await engine.dispose()


async def new_key(owner, **options):
    values = {"tenant": "acme", "scopes": ["imports:write"]} | options
    if (lifetime := values.pop("lifetime", None)) is not None:
        values["expires_at"] = datetime.now(UTC) + lifetime
    async with owner.begin() as connection:
        return await create_api_key(connection, **values)


async def execute(owner, statement):
    async with owner.begin() as connection:
        return await connection.execute(text(statement))


async def test_an_api_key_is_found_by_its_prefix(engine, owner):
    keys = [await new_key(owner, tenant=tenant, lifetime=timedelta(1)) for tenant in ("one", "two", "three")]
    for key, tenant in zip(keys, ("one", "two", "three"), strict=True):
        caller = await ApiKeyVerifier(engine).principal(key)
        assert (caller.tenant, caller.scopes) == (tenant, {"imports:write"})
        assert caller.subject == f"key:{key.split('_')[1]}"


async def test_only_the_hash_of_a_key_is_kept(owner):
    key = await new_key(owner)
    [row] = (await execute(owner, "SELECT k::text FROM auth.api_keys k")).scalars()
    assert key.split("_", 2)[2] not in row
    assert len(key) > 50


async def test_a_key_with_a_right_prefix_and_a_wrong_secret_is_refused(engine, owner):
    key = await new_key(owner)
    assert await refused(key[:-1] + ("a" if key[-1] != "a" else "b"), engine) == "token_invalid"
    assert await refused(key + "x", engine) == "token_invalid"
    assert await refused(key.rpartition("_")[0], engine) == "token_invalid"


@pytest.mark.parametrize(
    "key", ["psk_", "psk__", "psk_%_x", "psk_\x00_x", "psk_' OR true --_x", "psk_" + "x" * 10_000, "psk_é_x"]
)
async def test_what_only_looks_like_a_key_is_refused(engine, owner, key):
    await new_key(owner)
    assert await refused(key, engine) == "token_invalid"


async def test_a_revoked_key_is_refused(engine, owner):
    key = await new_key(owner)
    await execute(owner, "UPDATE auth.api_keys SET revoked_at = now()")
    assert await refused(key, engine) == "token_invalid"


async def test_an_expired_key_is_refused_by_that_name(engine, owner):
    assert await refused(await new_key(owner, lifetime=timedelta(seconds=-1)), engine) == "token_expired"


async def used_at(owner, key):
    async with owner.connect() as connection:
        [found] = [each for each in await all_api_keys(connection) if each.prefix == prefix_of(key)]
    return found.last_used_at


async def test_a_use_is_written_down_at_most_once_a_minute(engine, owner):
    key, other = await new_key(owner), await new_key(owner)
    assert await used_at(owner, key) is None
    await ApiKeyVerifier(engine).principal(key)
    first = await used_at(owner, key)
    assert abs(first - datetime.now(UTC)) < timedelta(seconds=30)
    await ApiKeyVerifier(engine).principal(key)
    assert await used_at(owner, key) == first
    await execute(owner, "UPDATE auth.api_keys SET last_used_at = last_used_at - interval '61 seconds'")
    await ApiKeyVerifier(engine).principal(key)
    assert await used_at(owner, key) > first
    assert await used_at(owner, other) is None


async def test_what_is_refused_is_no_use(engine, owner):
    key, ended = await new_key(owner), await new_key(owner, lifetime=timedelta(seconds=-1))
    await refused(key[:-1] + ("a" if key[-1] != "a" else "b"), engine)
    await refused(ended, engine)
    async with owner.begin() as connection:
        await revoke_api_key(connection, prefix_of(key), tenant=None)
    await refused(key, engine)
    assert [await used_at(owner, each) for each in (key, ended)] == [None, None]


async def test_many_uses_at_once_are_one_write(engine, owner):
    key = await new_key(owner)
    await execute(owner, "CREATE TABLE public.writes (at timestamptz)")
    await execute(
        owner,
        """CREATE FUNCTION public.count_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN INSERT INTO public.writes VALUES (now()); RETURN NEW; END $$""",
    )
    await execute(
        owner,
        """CREATE TRIGGER counted BEFORE UPDATE ON auth.api_keys
        FOR EACH ROW EXECUTE FUNCTION public.count_write()""",
    )
    callers = await asyncio.gather(*(ApiKeyVerifier(engine).principal(key) for _ in range(50)))
    assert len(callers) == 50
    assert (await execute(owner, "SELECT count(*) FROM public.writes")).scalar() == 1


async def test_nobody_waits_for_who_writes_the_key_just_now(engine, owner):
    key = await new_key(owner)
    async with owner.begin() as connection:
        await connection.execute(text("UPDATE auth.api_keys SET last_used_at = last_used_at"))
        async with asyncio.timeout(5):
            assert (await ApiKeyVerifier(engine).principal(key)).tenant == "acme"
    assert await used_at(owner, key) is None


async def test_a_use_that_cannot_be_written_down_fails_no_request(engine, owner, configure, capsys):
    configure(level="warning", style="json")
    key = await new_key(owner)
    await execute(owner, "REVOKE UPDATE (last_used_at) ON auth.api_keys FROM penstock_upload")
    for _ in range(2):
        assert (await ApiKeyVerifier(engine).principal(key)).tenant == "acme"
    written = capsys.readouterr().err
    assert "api_key.use_not_written" in written
    assert key not in written
    assert key.split("_", 2)[2] not in written


async def test_no_key_is_in_a_log(engine, owner, configure, capsys):
    configure(level="debug", style="json")
    key = await new_key(owner)
    await ApiKeyVerifier(engine).principal(key)
    await refused(f"{key[:-3]}AAA", engine)
    await execute(owner, "ALTER TABLE auth.api_keys RENAME TO gone")
    with pytest.raises(ProgrammingError) as caught:
        await ApiKeyVerifier(engine).principal(key)
    shown = f"{capsys.readouterr().err} {caught.value!s} {caught.value!r}"
    assert key[20:-3] not in shown


async def test_a_key_is_refused_the_moment_it_is_revoked_by_every_process(engine, owner, database_url):
    key = await new_key(owner)
    other = engine_for(database_url, "results", pool_size=1)
    for replica in (engine, other):
        assert (await ApiKeyVerifier(replica).principal(key)).tenant == "acme"
    async with owner.begin() as connection:
        await revoke_api_key(connection, prefix_of(key), tenant=None)
    for replica in (engine, other):
        assert await refused(key, replica) == "token_invalid"
    await other.dispose()


async def test_a_check_is_one_statement(engine, owner):
    key = await new_key(owner)
    await ApiKeyVerifier(engine).principal(key)
    said = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *sent: said.append(sent[2]))
    await ApiKeyVerifier(engine).principal(key)
    [statement] = said
    assert statement.split()[0] == "SELECT"


@pytest.mark.parametrize("service", [each.service for each in MIGRATIONS if each.serves_tenants])
async def test_a_service_writes_uses_and_nothing_else(owner, database_url, service):
    key = await new_key(owner)
    engine = engine_for(database_url, service, pool_size=1)
    assert (await ApiKeyVerifier(engine).principal(key)).tenant == "acme"
    assert await used_at(owner, key)
    for statement in (
        "UPDATE auth.api_keys SET revoked_at = NULL",
        "UPDATE auth.api_keys SET scopes = '{admin}'",
        "INSERT INTO auth.api_keys (prefix, hash, tenant, scopes) VALUES ('a', '', 'acme', '{}')",
        "DELETE FROM auth.api_keys",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            await execute(engine, statement)
    await engine.dispose()


async def test_for_a_tenant_there_are_no_keys_but_its_own_and_no_hashes(engine, owner):
    mine, theirs = await new_key(owner), await new_key(owner, tenant="other")
    async with tenant_reading(engine, "acme") as connection:
        found = (await connection.execute(text("SELECT prefix FROM auth.api_keys"))).scalars().all()
        assert found == [prefix_of(mine)]
        with pytest.raises(ProgrammingError, match="permission denied"):
            await connection.execute(text("SELECT hash FROM auth.api_keys"))
    async with tenant_writing(engine, "acme") as connection:
        assert await revoke_api_key(connection, prefix_of(theirs), tenant=None) is None
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with tenant_writing(engine, "acme") as connection:
            await create_api_key(connection, tenant="other", scopes=["admin"])
    async with tenant_writing(engine, "acme") as connection:
        await create_api_key(connection, tenant="acme", scopes=["admin"])
        for column, value in (("scopes", "'{admin}'"), ("tenant", "'acme'"), ("hash", "''")):
            nested = await connection.begin_nested()
            with pytest.raises(ProgrammingError, match="permission denied"):
                await connection.execute(text(f"UPDATE auth.api_keys SET {column} = {value}"))
            await nested.rollback()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tenant": ""}, "a tenant's name"),
        ({"tenant": "a\0"}, "a tenant's name"),
        ({"name": ""}, "an API key's name"),
        ({"name": "x" * 101}, "an API key's name"),
        ({"name": "\x1b]0;title\x07"}, "an API key's name"),
    ],
)
async def test_names_are_printable(owner, values, said):
    with pytest.raises(ValueError, match=said):
        await new_key(owner, **values)
