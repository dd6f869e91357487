"""The SQL of sessions. Not of one tenant's transactions: who signs in, or out, has no tenant yet, or none any more."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.platform.auth import Principal, hash_of_session
from shared.platform.database import advisory_key

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_LOCK_KEY = advisory_key("penstock:results:sessions")
_INSERT = text("""
    INSERT INTO auth.sessions (hash, tenant, subject, scopes, api_key_prefix, expires_at)
    VALUES (:hash, :tenant, :subject, :scopes, :api_key_prefix, :expires_at)
""")
_DELETE = text("DELETE FROM auth.sessions WHERE hash = ANY(:hashes)")
_DELETE_EXPIRED = text("""
    DELETE FROM auth.sessions WHERE hash IN (
        SELECT hash FROM auth.sessions WHERE expires_at <= now() ORDER BY expires_at LIMIT :most
    )
""")
_DELETE_OLDEST = text("""
    DELETE FROM auth.sessions WHERE hash IN (
        SELECT hash FROM auth.sessions WHERE tenant = :tenant AND subject = :subject AND expires_at > now()
        ORDER BY created_at DESC OFFSET :kept
    )
""")


async def one_at_a_time(connection: AsyncConnection) -> None:
    """Have other sign-ins wait until the transaction ends: so each counts right, and no two clean up at once."""
    await connection.execute(_LOCK, {"key": _LOCK_KEY})


async def insert_session(
    connection: AsyncConnection,
    session_id: str,
    caller: Principal,
    *,
    api_key_prefix: str | None,
    expires_at: datetime,
) -> None:
    values = {
        "hash": hash_of_session(session_id),
        "tenant": caller.tenant,
        "subject": caller.subject,
        "scopes": sorted(caller.scopes),
        "api_key_prefix": api_key_prefix,
        "expires_at": expires_at,
    }
    await connection.execute(_INSERT, values)


async def delete_sessions(connection: AsyncConnection, session_ids: Iterable[str]) -> None:
    await connection.execute(_DELETE, {"hashes": [hash_of_session(each) for each in session_ids]})


async def delete_expired(connection: AsyncConnection, *, most: int) -> None:
    """Those that are over, of anybody; the longest over first."""
    await connection.execute(_DELETE_EXPIRED, {"most": most})


async def delete_oldest(connection: AsyncConnection, caller: Principal, *, kept: int) -> None:
    """The caller's live sessions but for the newest."""
    values = {"tenant": caller.tenant, "subject": caller.subject, "kept": kept}
    await connection.execute(_DELETE_OLDEST, values)
