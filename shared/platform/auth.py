"""Who calls: a JWT (HS256) or an API key, each with one tenant and its scopes."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.contracts.problems import Forbidden, Unauthenticated
from shared.contracts.scopes import SCOPES, Scope

ALGORITHM = "HS256"
CLOCK_SKEW = timedelta(seconds=30)
API_KEY_PREFIX = "psk_"
API_KEY = re.compile(r"psk_(?P<prefix>[0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_HINT = "send `Authorization: Bearer <token>`; make a token with `penstock token create`"

bearer = HTTPBearer(auto_error=False, description="A JWT or an API key")


@dataclass(frozen=True)
class Principal:
    """The caller: whose data they see (`tenant`) and what they may do."""

    subject: str
    tenant: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


def create_jwt(
    secret: str, *, tenant: str, scopes: Iterable[Scope], audience: str, lifetime: timedelta
) -> str:
    """A signed access token for `tenant`."""
    now = datetime.now(UTC)
    claims = {
        "sub": f"token:{secrets.token_hex(4)}",
        "aud": audience,
        "iat": now,
        "exp": now + lifetime,
        "tenant": tenant,
        "scope": " ".join(sorted(scopes)),
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def parse_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """`names` as scopes.

    Raises:
        ValueError: one is unknown; the message lists those there are.
    """
    wanted = frozenset(names)
    if unknown := wanted - SCOPES:
        raise ValueError(
            f"unknown scope {', '.join(sorted(unknown))}; there are: {', '.join(sorted(SCOPES))}"
        )
    return frozenset(scope for scope in SCOPES if scope in wanted)


async def create_api_key(
    connection: AsyncConnection, *, tenant: str, scopes: Iterable[Scope], lifetime: timedelta | None
) -> str:
    """A new API key. Only its hash is kept: the returned value cannot be had again."""
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = f"{API_KEY_PREFIX}{prefix}_{secret}"
    await connection.execute(
        text(
            "INSERT INTO auth.api_keys (prefix, hash, tenant, scopes, expires_at)"
            " VALUES (:prefix, :hash, :tenant, :scopes, :expires_at)"
        ),
        {
            "prefix": prefix,
            "hash": _hash(key),
            "tenant": tenant,
            "scopes": sorted(scopes),
            "expires_at": datetime.now(UTC) + lifetime if lifetime else None,
        },
    )
    return key


def _hash(key: str) -> bytes:
    # The key has 256 random bits, so a slow password hash would add nothing.
    return hashlib.sha256(key.encode()).digest()


class Authenticator:
    """Turns a bearer token into a `Principal`."""

    def __init__(self, secret: str, audience: str, engine: AsyncEngine) -> None:
        self._secret = secret
        self._audience = audience
        self._engine = engine

    def require(self, scope: Scope) -> Callable[..., Awaitable[Principal]]:
        """A FastAPI dependency: the caller, who has `scope` (or `admin`).

        Raises:
            Unauthenticated: no token, or one that is not valid now.
            Forbidden: a valid token without the scope.
        """

        async def principal(
            request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
        ) -> Principal:
            if credentials is None:
                raise Unauthenticated("token_missing", "this request carries no bearer token", hint=_HINT)
            caller = await self.identify(credentials.credentials)
            if not caller.may(scope):
                raise Forbidden(
                    "scope_missing", f"this token lacks the scope {scope!r}", required_scope=scope
                )
            request.state.tenant = caller.tenant
            return caller

        return principal

    async def identify(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            Unauthenticated: it is malformed, forged, expired or revoked.
        """
        if token.startswith(API_KEY_PREFIX):
            return await self._by_api_key(token)
        return self._by_jwt(token)

    def _by_jwt(self, token: str) -> Principal:
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=self._audience,
                leeway=CLOCK_SKEW,
                options={"require": ["exp", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("token_expired", "this token has expired", hint=_HINT) from error
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("token_invalid", "this token is not valid", hint=_HINT) from error
        tenant, scope = claims.get("tenant"), claims.get("scope", "")
        if not isinstance(tenant, str) or not tenant or not isinstance(scope, str):
            raise Unauthenticated("token_invalid", "this token names no tenant", hint=_HINT)
        return Principal(str(claims["sub"]), tenant, frozenset(scope.split()))

    async def _by_api_key(self, key: str) -> Principal:
        form = API_KEY.fullmatch(key)
        if form is None:
            raise Unauthenticated("token_invalid", "this API key is not valid", hint=_HINT)
        prefix = form["prefix"]
        async with self._engine.connect() as connection:
            row = (
                await connection.execute(
                    text(
                        "SELECT hash, tenant, scopes, revoked_at IS NOT NULL AS revoked,"
                        " coalesce(expires_at <= now(), false) AS expired FROM auth.api_keys WHERE prefix = :prefix"
                    ),
                    {"prefix": prefix},
                )
            ).one_or_none()
        if row is None or not hmac.compare_digest(row.hash, _hash(key)) or row.revoked:
            raise Unauthenticated("token_invalid", "this API key is not valid", hint=_HINT)
        if row.expired:
            raise Unauthenticated("token_expired", "this API key has expired", hint=_HINT)
        return Principal(f"key:{prefix}", row.tenant, frozenset(row.scopes))
