"""Access tokens of an installation: signed with its secret, or kept as API keys in its database."""

import asyncio
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import jwt
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from penstock.home import Home, write_private
from shared.contracts.scopes import Scope
from shared.platform.auth import ALGORITHM, create_api_key, create_jwt
from shared.platform.database import async_url

DEMO_TENANT = "demo"
ADMIN_TOKEN_LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)


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


def _lasts(token: str, secret: str) -> bool:
    try:
        claims = jwt.decode(token, secret, algorithms=[ALGORITHM], audience=audience())
    except jwt.InvalidTokenError:
        return False
    return datetime.fromtimestamp(claims["exp"], UTC) - datetime.now(UTC) > RENEW_BEFORE


def stored_key(database_url: str, *, tenant: str, scopes: Iterable[Scope], lifetime: timedelta) -> str:
    """A new API key in the database."""
    return asyncio.run(_stored_key(database_url, tenant, scopes, lifetime))


async def _stored_key(database_url: str, tenant: str, scopes: Iterable[Scope], lifetime: timedelta) -> str:
    engine = create_async_engine(async_url(database_url), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await create_api_key(connection, tenant=tenant, scopes=scopes, lifetime=lifetime)
    finally:
        await engine.dispose()
