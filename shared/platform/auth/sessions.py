"""Sessions of browsers, `pss_<secret>` in a cookie: looked up at every request, kept as a hash.

The console's pages cannot keep a token where no script could read it, so `results` exchanges one for a session. As with
API keys no answer is remembered: a session that was signed out, and one whose API key was revoked, opens nothing from that
moment on, whichever process is asked.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.problems import Unauthenticated
from shared.platform.auth.principal import Principal

SESSION_PREFIX = "pss_"
COOKIE = "penstock_session"
# Browsers take it over TLS only, and from no neighbouring host (RFC 6265bis, section 4.1.3.2).
SECURE_COOKIE = "__Host-penstock_session"
SESSION_HINT = "sign in again"

_LOOK_UP = text("""
    SELECT tenant, subject, scopes, expires_at FROM auth.sessions s
    WHERE hash = :hash AND expires_at > now() AND (api_key_prefix IS NULL OR EXISTS (
        SELECT FROM auth.api_keys k
        WHERE k.prefix = s.api_key_prefix AND k.revoked_at IS NULL AND coalesce(k.expires_at > now(), true)
    ))
""")


def new_session_id() -> str:
    """An opaque id with 256 random bits."""
    return f"{SESSION_PREFIX}{secrets.token_urlsafe(32)}"


def hash_of_session(session_id: str) -> bytes:
    """What is kept of an id. It has 256 random bits, so a slow password hash would add nothing."""
    return hashlib.sha256(session_id.encode()).digest()


def session_id(cookies: Mapping[str, str], scheme: str) -> str | None:
    """The session that counts. Over TLS only the cookie that no neighbouring host can have set."""
    return cookies.get(SECURE_COOKIE) or (cookies.get(COOKIE) if scheme != "https" else None) or None


def session_ids(cookies: Mapping[str, str]) -> Sequence[str]:
    """All sessions that a request's cookies name, to end them."""
    return [cookies[name] for name in (SECURE_COOKIE, COOKIE) if cookies.get(name)]


class SessionVerifier:
    """Turns a session into a `Principal`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def principal(self, session_id: str) -> Principal:
        """The principal of a session: that of the token it was made with, until the session ends.

        Raises:
            Unauthenticated: `session_expired`: it is unknown or over, or its API key is.
        """
        async with self._engine.connect() as connection:
            row = (await connection.execute(_LOOK_UP, {"hash": hash_of_session(session_id)})).one_or_none()
        if row is None:
            raise Unauthenticated("session_expired", "this session is over", hint=SESSION_HINT)
        return Principal(row.subject, row.tenant, frozenset(row.scopes), row.expires_at)
