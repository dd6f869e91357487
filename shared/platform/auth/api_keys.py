"""API keys, `psk_<prefix>_<secret>`: shown once, kept as a hash, looked up by their prefix at every request.

No answer is remembered: a key that is revoked opens nothing from that moment on, whichever process is asked.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    DateTime,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.contracts.problems import Unauthenticated
from shared.contracts.scopes import Scope
from shared.platform.auth.jwt import HINT
from shared.platform.auth.principal import Principal, checked_tenant, is_printable
from shared.platform.logs import get_logger

API_KEY_PREFIX = "psk_"
MAX_NAME_LENGTH = 100  # characters
_FORM = re.compile(rf"{API_KEY_PREFIX}(?P<prefix>[0-9a-f]{{12}})_[A-Za-z0-9_-]{{43}}")

_TIME = DateTime(timezone=True)
_keys = Table(
    "api_keys",
    MetaData(schema="auth"),
    Column("prefix", Text, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("name", Text),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_by", Text),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    Column("expires_at", _TIME),
    Column("last_used_at", _TIME),
    Column("revoked_at", _TIME),
)
_SHOWN = [column for column in _keys.c if column is not _keys.c.hash]
_NEWEST_FIRST = (_keys.c.created_at.desc(), _keys.c.prefix.desc())

log = get_logger(__name__)


@dataclass(frozen=True)
class ApiKey:
    """What is kept of an API key and may be shown. `last_used_at` is right to the minute."""

    prefix: str
    tenant: str
    name: str | None
    scopes: Sequence[Scope]
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def id(self) -> str:
        """How the key begins, which tells it from all others and is no secret."""
        return f"{API_KEY_PREFIX}{self.prefix}"


def checked_name(value: str) -> str:
    """`value`, if it can be an API key's name.

    Raises:
        ValueError: it has not 1 to 100 printable characters.
    """
    if not is_printable(value, MAX_NAME_LENGTH):
        raise ValueError(f"an API key's name has 1 to {MAX_NAME_LENGTH} printable characters")
    return value


def prefix_of(key: str) -> str:
    """The prefix in a key, or in as much of it as is shown, with or without `psk_`."""
    return key.removeprefix(API_KEY_PREFIX).partition("_")[0]


async def create_api_key(
    connection: AsyncConnection,
    *,
    tenant: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None = None,
    name: str | None = None,
    created_by: str | None = None,
) -> str:
    """A new API key, until `expires_at`, or without end. Only its hash is kept: the returned value cannot be had again.

    Raises:
        ValueError: no tenant, or no key, can have that name.
    """
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = f"{API_KEY_PREFIX}{prefix}_{secret}"
    await connection.execute(
        insert(_keys).values(
            prefix=prefix,
            hash=_hash(key),
            tenant=checked_tenant(tenant),
            name=name if name is None else checked_name(name),
            scopes=sorted(scopes),
            created_by=created_by,
            expires_at=expires_at,
        )
    )
    return key


def _hash(key: str) -> bytes:
    # The key has 256 random bits, so a slow password hash would add nothing.
    return hashlib.sha256(key.encode()).digest()


async def all_api_keys(connection: AsyncConnection) -> list[ApiKey]:
    """Every key that was ever made, for any tenant, the newest first."""
    return [_shown(row) for row in await connection.execute(select(*_SHOWN).order_by(*_NEWEST_FIRST))]


async def list_api_keys(
    connection: AsyncConnection, tenant: str, *, limit: int, before: tuple[datetime, str] | None
) -> list[ApiKey]:
    """One more than `limit` of the tenant's keys, if there are, the newest first: those behind `before`.

    A place in the list is when a key was made, and its prefix.
    """
    query = select(*_SHOWN).where(_keys.c.tenant == tenant).order_by(*_NEWEST_FIRST).limit(limit + 1)
    if before:
        made_at, prefix = before
        place = tuple_(literal(made_at, _TIME), literal(prefix, Text))
        query = query.where(tuple_(_keys.c.created_at, _keys.c.prefix) < place)
    return [_shown(row) for row in await connection.execute(query)]


async def find_api_key(connection: AsyncConnection, tenant: str, prefix: str) -> ApiKey | None:
    query = select(*_SHOWN).where(_keys.c.tenant == tenant, _keys.c.prefix == prefix)
    row = (await connection.execute(query)).one_or_none()
    return _shown(row) if row else None


async def count_live_api_keys(connection: AsyncConnection, tenant: str) -> int:
    """How many of the tenant's keys are neither revoked nor expired."""
    query = select(func.count(_keys.c.prefix)).where(
        _keys.c.tenant == tenant,
        _keys.c.revoked_at.is_(None),
        or_(_keys.c.expires_at.is_(None), _keys.c.expires_at > func.now()),
    )
    return int(await connection.scalar(query) or 0)


async def revoke_api_key(connection: AsyncConnection, prefix: str, *, tenant: str | None) -> ApiKey | None:
    """End a key now, for good; ending it twice changes nothing. `tenant`: whose it must be; None: anybody's.

    Returns None if there is no such key.
    """
    statement = (
        update(_keys)
        .where(_keys.c.prefix == prefix)
        .values(revoked_at=func.coalesce(_keys.c.revoked_at, func.now()))
        .returning(*_SHOWN)
    )
    if tenant is not None:
        statement = statement.where(_keys.c.tenant == tenant)
    row = (await connection.execute(statement)).one_or_none()
    return _shown(row) if row else None


def _shown(row: Row[Any]) -> ApiKey:
    return ApiKey(**row._mapping)


# The look-up and the writing down of a use are one statement each: no transaction around them, which would cost a
# round trip before and one behind.
_LOOK_UP = text("""
    SELECT hash, tenant, scopes, expires_at, revoked_at IS NOT NULL AS revoked,
        coalesce(expires_at <= now(), false) AS expired,
        coalesce(last_used_at < now() - interval '1 minute', true) AS unseen
    FROM auth.api_keys WHERE prefix = :prefix
""")
# A row that another process is writing just now is passed over: it writes the same, and nobody waits.
_WRITE_USE = text("""
    UPDATE auth.api_keys SET last_used_at = now()
    WHERE prefix = (
        SELECT prefix FROM auth.api_keys
        WHERE prefix = :prefix AND coalesce(last_used_at < now() - interval '1 minute', true)
        FOR NO KEY UPDATE SKIP LOCKED
    )
""")


class ApiKeyVerifier:
    """Turns an API key into a `Principal`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def principal(self, key: str) -> Principal:
        """The principal of an API key.

        Raises:
            Unauthenticated: it is malformed, unknown, revoked or expired.
        """
        form = _FORM.fullmatch(key)
        if form is None:
            raise _invalid()
        prefix = form["prefix"]
        async with self._engine.connect() as connection:
            row = (await connection.execute(_LOOK_UP, {"prefix": prefix})).one_or_none()
        if row is None or not hmac.compare_digest(row.hash, _hash(key)) or row.revoked:
            raise _invalid()
        if row.expired:
            raise Unauthenticated("token_expired", "this API key has expired", hint=HINT)
        if row.unseen:
            await _write_use(self._engine, prefix)
        return Principal(f"key:{prefix}", row.tenant, frozenset(row.scopes), row.expires_at)


async def _write_use(engine: AsyncEngine, prefix: str) -> None:
    """Keep that the key was used now. Whatever becomes of that, the request goes on."""
    try:
        async with engine.begin() as connection:
            await connection.execute(_WRITE_USE, {"prefix": prefix})
    except (SQLAlchemyError, OSError) as error:
        log.warning("api_key.use_not_written", prefix=prefix, error=repr(error))


def _invalid() -> Unauthenticated:
    return Unauthenticated("token_invalid", "this API key is not valid", hint=HINT)
