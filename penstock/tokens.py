"""Access tokens of an installation: signed with its secret, or kept as API keys in its database."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import jwt
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from penstock.home import Home, write_private
from shared.contracts.scopes import Scope
from shared.platform.auth import (
    ALGORITHM,
    OUR_ISSUER,
    ApiKey,
    all_api_keys,
    create_api_key,
    create_jwt,
    prefix_of,
    revoke_api_key,
)
from shared.platform.database import async_url

DEMO_TENANT = "demo"
MADE_BY = "penstock token create"  # whom API keys of the command line are from
ADMIN_TOKEN_LIFETIME = timedelta(days=365)
LINK_TOKEN_LIFETIME = timedelta(hours=12)  # browsers keep a link in their history
RENEW_BEFORE = timedelta(days=30)


T = TypeVar("T")


class NoSecret(RuntimeError):
    """There is no secret to sign a token with."""


def audience() -> str:
    """Whom tokens are for, as the services have it."""
    return os.environ.get("PENSTOCK_JWT_AUDIENCE") or "penstock"


def signed_token(home: Home, *, tenant: str, scopes: Iterable[Scope], lifetime: timedelta) -> str:
    """A JWT, signed with PENSTOCK_JWT_SECRET or else the secret of `home`.

    Raises:
        NoSecret: neither is there.
    """
    secret = os.environ.get("PENSTOCK_JWT_SECRET")
    if not secret:
        if not home.jwt_secret_file.exists():
            raise NoSecret(f"PENSTOCK_JWT_SECRET is not set, and {home.path} holds no secret")
        secret = home.jwt_secret()
    return create_jwt(secret, tenant=tenant, scopes=scopes, audience=audience(), lifetime=lifetime)


def admin_token(home: Home) -> str:
    """The token in `home.token_file`, replaced when it is missing, signed with another secret, or ends soon."""
    secret = os.environ.get("PENSTOCK_JWT_SECRET") or home.jwt_secret()
    if home.token_file.exists():
        token = home.token_file.read_text().strip()
        if _lasts(token, secret):
            return token
    token = create_jwt(
        secret, tenant=DEMO_TENANT, scopes=["admin"], audience=audience(), lifetime=ADMIN_TOKEN_LIFETIME
    )
    write_private(home.token_file, token)
    return token


def link_token(home: Home) -> str:
    """A new token of the demo's administrator, for a link to sign in."""
    return signed_token(home, tenant=DEMO_TENANT, scopes=["admin"], lifetime=LINK_TOKEN_LIFETIME)


def _lasts(token: str, secret: str) -> bool:
    try:
        claims = jwt.decode(token, secret, algorithms=[ALGORITHM], audience=audience(), issuer=OUR_ISSUER)
    except jwt.InvalidTokenError:
        return False
    return datetime.fromtimestamp(claims["exp"], UTC) - datetime.now(UTC) > RENEW_BEFORE


def stored_key(
    database_url: str, *, tenant: str, scopes: Iterable[Scope], lifetime: timedelta, name: str | None
) -> str:
    """A new API key in the database.

    Raises:
        ValueError: no tenant, or no key, can have that name.
    """
    return in_transaction(
        database_url,
        lambda connection: create_api_key(
            connection,
            tenant=tenant,
            scopes=scopes,
            expires_at=datetime.now(UTC) + lifetime,
            name=name,
            created_by=MADE_BY,
        ),
    )


def stored_keys(database_url: str) -> list[ApiKey]:
    """Every API key that was ever made, the newest first."""
    return in_transaction(database_url, all_api_keys)


def revoke_key(database_url: str, key: str) -> ApiKey | None:
    """End an API key now, for good. `key` is how it begins, with or without `psk_`, or all of it.

    Returns None if there is no such key. Ending a key twice changes nothing.
    """
    return in_transaction(
        database_url, lambda connection: revoke_api_key(connection, prefix_of(key), tenant=None)
    )


def in_transaction(database_url: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """What `work` returns, done in a transaction of its own. For commands, which have no event loop."""

    async def run() -> T:
        engine = create_async_engine(async_url(database_url), poolclass=NullPool, hide_parameters=True)
        try:
            async with engine.begin() as connection:
                return await work(connection)
        finally:
            await engine.dispose()

    return asyncio.run(run())
