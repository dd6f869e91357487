"""Who is let in: tokens that are right, and every way in which one can be wrong."""

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from shared.contracts.problems import Unauthenticated
from shared.contracts.scopes import SCOPES
from shared.platform.auth import Authenticator, Principal, create_api_key, create_jwt, parse_scopes
from shared.platform.database import async_url, engine_for

SECRET = "a-secret-of-at-least-thirty-two-bytes"
AUDIENCE = "penstock"


def authenticator(engine=None):
    return Authenticator(SECRET, AUDIENCE, engine)


def claims(**changes):
    right = {
        "sub": "me",
        "aud": AUDIENCE,
        "exp": datetime.now(UTC) + timedelta(days=1),  # tokens are made when tests are collected
        "tenant": "acme",
        "scope": "imports:read imports:write",
    }
    return {name: value for name, value in (right | changes).items() if value is not None}


def signed(secret=SECRET, algorithm="HS256", **changes):
    return jwt.encode(claims(**changes), secret, algorithm=algorithm)


def unsigned(header):
    payload = claims(exp=int(datetime.now(UTC).timestamp()) + 86_400)
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (header, payload)
    )
    return ".".join([*parts, ""])


async def refused(token, engine=None):
    with pytest.raises(Unauthenticated) as caught:
        await authenticator(engine).identify(token)
    problem = caught.value
    assert token not in f"{problem.detail} {problem.hint}" or not token
    assert "penstock token create" in problem.hint
    return problem.code


async def test_a_token_of_ours_names_its_tenant_and_scopes():
    token = create_jwt(
        SECRET,
        tenant="acme",
        scopes=["imports:write", "records:read"],
        audience=AUDIENCE,
        lifetime=timedelta(minutes=1),
    )
    caller = await authenticator().identify(token)
    assert caller.subject.startswith("token:")
    assert (caller.tenant, caller.scopes) == ("acme", {"imports:write", "records:read"})


async def test_two_tokens_have_different_names():
    tokens = [
        create_jwt(SECRET, tenant="a", scopes=[], audience=AUDIENCE, lifetime=timedelta(1)) for _ in range(2)
    ]
    assert len({(await authenticator().identify(token)).subject for token in tokens}) == 2


@pytest.mark.parametrize(
    "token",
    [
        unsigned({"alg": "none", "typ": "JWT"}),
        unsigned({"alg": "None", "typ": "JWT"}),
        unsigned({"alg": "HS256", "typ": "JWT"}),
        unsigned({"typ": "JWT"}),
        jwt.encode(claims(), None, algorithm="none"),
        signed(SECRET * 2, "HS512"),
        signed(SECRET * 2, "HS384"),
        signed("another-secret-of-at-least-32-bytes!"),
        signed(aud="others"),
        signed(aud=None),
        signed(aud=[]),
        signed(exp=None),
        signed(sub=None),
        signed(tenant=None),
        signed(tenant=""),
        signed(tenant=7),
        signed(tenant=["acme"]),
        signed(scope=["imports:write"]),
        signed(nbf=datetime.now(UTC) + timedelta(hours=12)),
        "",
        ".",
        "..",
        "a.b.c",
        "\u00e9" * 10,
    ],
    ids=lambda token: "",
)
async def test_a_token_that_is_wrong_is_refused(token):
    assert await refused(token) == "token_invalid"


async def test_a_token_that_has_expired_is_refused_by_that_name():
    assert await refused(signed(exp=datetime.now(UTC) - timedelta(minutes=1))) == "token_expired"


async def test_clocks_may_differ_a_little():
    caller = await authenticator().identify(signed(exp=datetime.now(UTC) - timedelta(seconds=10)))
    assert caller.tenant == "acme"


RIGHT = signed()


@given(st.integers(0, len(RIGHT) - 1), st.sampled_from("ABCXYZabcxyz019-_."))
async def test_one_other_character_is_refused_or_the_same_token(place, letter):
    """The last character of base64 has bits that mean nothing."""
    tampered = RIGHT[:place] + letter + RIGHT[place + 1 :]
    try:
        caller = await authenticator().identify(tampered)
    except Unauthenticated:
        return
    assert place == len(RIGHT) - 1 or tampered == RIGHT
    assert caller.tenant == "acme"


async def test_a_token_without_scopes_may_do_nothing():
    caller = await authenticator().identify(signed(scope=None))
    assert [scope for scope in SCOPES if caller.may(scope)] == []


def test_admin_may_do_everything_and_others_what_they_are_given():
    assert all(Principal("me", "acme", frozenset({"admin"})).may(scope) for scope in SCOPES)
    reader = Principal("me", "acme", frozenset({"imports:read"}))
    assert [scope for scope in sorted(SCOPES) if reader.may(scope)] == ["imports:read"]


def test_scopes_are_known_ones():
    assert parse_scopes(["admin", "imports:read", "admin"]) == {"admin", "imports:read"}
    with pytest.raises(ValueError, match=r"unknown scope imports:eat; there are: admin, imports:read"):
        parse_scopes(["imports:eat", "admin"])


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
    values = {"tenant": "acme", "scopes": ["imports:write"], "lifetime": None} | options
    async with owner.begin() as connection:
        return await create_api_key(connection, **values)


async def execute(owner, statement):
    async with owner.begin() as connection:
        return await connection.execute(text(statement))


async def test_an_api_key_is_found_by_its_prefix(engine, owner):
    keys = [await new_key(owner, tenant=tenant, lifetime=timedelta(1)) for tenant in ("one", "two", "three")]
    for key, tenant in zip(keys, ("one", "two", "three"), strict=True):
        caller = await authenticator(engine).identify(key)
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
