"""PgBouncer in transaction mode: what a service says of itself once a session elsewhere, it says there with each BEGIN.

Two transactions of one connection may be two sessions of PostgreSQL, and a session is everybody's in turn. So nothing may be
set for longer than a transaction, and no statement prepared: unnamed ones are sent whole each time (asyncpg does so with a
cache of size 0). PgBouncer 1.18 will do.
"""

from typing import Any, Literal

import asyncpg

Pooler = Literal["none", "transaction"]


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


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
