"""PgBouncer in transaction mode: what a service says of itself once a session elsewhere, it says there with each BEGIN.

Two transactions of one connection may be two sessions of PostgreSQL, and a session is everybody's in turn. So nothing may be
set for longer than a transaction, and no statement prepared: unnamed ones are sent whole each time (asyncpg does so with a
cache of size 0). PgBouncer 1.18 will do.
"""

import asyncio
from typing import Any, Literal

import asyncpg

Pooler = Literal["none", "transaction"]
CONNECT_SECONDS = 10.0
PROBE_SECONDS = 5.0


class SessionsNotKept(Exception):
    """Where sessions were to be, transactions of one connection are in several."""


async def must_keep_sessions(url: str) -> None:
    """Whether a connection to `url` is one session of PostgreSQL for as long as it lasts.

    Raises:
        SessionsNotKept: it is not: a pooler in transaction mode is there, which may have another name than the other one.
        OSError, asyncpg.PostgresError: the database cannot be asked.
    """
    first, second = [
        await asyncpg.connect(url, statement_cache_size=0, timeout=CONNECT_SECONDS) for _ in range(2)
    ]
    try:
        session = await _session_of(first)
        # A pooler gives the second what the first let go of, so that the first gets another now, or has to wait for one.
        async with asyncio.timeout(PROBE_SECONDS), second.transaction():
            is_kept = await _session_of(first) == session
    except TimeoutError:
        is_kept = False
    finally:
        first.terminate()
        second.terminate()
    if not is_kept:
        raise SessionsNotKept("its sessions do not outlive a transaction")


def connect_args(settings: dict[str, str], application_name: str) -> dict[str, Any]:
    """Arguments of `create_async_engine`, with `settings` of PostgreSQL for every transaction.

    Of what a driver may ask for as it connects, PgBouncer takes the name of the program.
    """
    local = " ".join(f"SET LOCAL {name} = {_quoted(value)};" for name, value in settings.items())

    class Connection(asyncpg.Connection):
        """Begins with the settings, in the round trip that a BEGIN takes anyway."""

        async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - as the driver has it
            if not query.startswith("BEGIN"):
                return await super().execute(query, *args, timeout=timeout)
            try:
                return await super().execute(f"{query} {local}", timeout=timeout)
            except BaseException:
                self.terminate()  # it may have begun, and be nobody's: no statement follows
                raise

    return {
        "connection_class": Connection,
        "server_settings": {"application_name": application_name},
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": str,  # the empty name
    }


async def _session_of(connection: "asyncpg.Connection[Any]") -> Any:
    async with connection.transaction():  # outside of one a statement and its arguments may go to two
        return await connection.fetchval("SELECT pg_backend_pid()")


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
