"""The verb of sessions: exchange a token for one, and end it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.session import repository
from shared.platform.auth import API_KEY_PREFIX, Authenticator, Principal, new_session_id, prefix_of

MAX_LIVE = 100  # of one subject: more browsers than anybody has, and a bound for a program that signs in at each request
MAX_CLEANED = 1000  # at a sign-in, which brings one: what has piled up is gone soon, and nobody waits for it


@dataclass(frozen=True)
class Opened:
    """A session that begins now. `id` is kept nowhere else."""

    id: str
    caller: Principal
    expires_at: datetime

    @property
    def seconds(self) -> int:
        """How long it lasts, whole seconds."""
        return max(0, int((self.expires_at - datetime.now(UTC)).total_seconds()))


async def sign_in(
    engine: AsyncEngine, auth: Authenticator, token: str, *, lasting: timedelta, instead_of: Sequence[str]
) -> Opened:
    """A session of the token's principal, until the token ends, but not for longer than `lasting`.

    The sessions `instead_of` end: the browser forgets them now.

    Raises:
        Unauthenticated: the token is not valid; a session is no token.
        Unavailable: `keys_unavailable`.
    """
    caller = await auth.identify(token)
    longest = datetime.now(UTC) + lasting
    opened = Opened(new_session_id(), caller, min(longest, caller.expires_at or longest))
    async with engine.begin() as connection:
        await repository.one_at_a_time(connection)
        await repository.delete_expired(connection, most=MAX_CLEANED)
        await repository.delete_sessions(connection, instead_of)
        await repository.insert_session(
            connection,
            opened.id,
            caller,
            # Of the token, as the subject of a JWT may be any.
            api_key_prefix=prefix_of(token) if token.startswith(API_KEY_PREFIX) else None,
            expires_at=opened.expires_at,
        )
        await repository.delete_oldest(connection, caller, kept=MAX_LIVE)
    return opened


async def sign_out(engine: AsyncEngine, sessions: Sequence[str]) -> None:
    """End the sessions, for every process from now on. Those that are over, or never were, do no harm."""
    if sessions:
        async with engine.begin() as connection:
            await repository.delete_sessions(connection, sessions)
