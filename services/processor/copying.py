"""COPY into PostgreSQL, the fastest way in, by the driver itself: its own errors come through (`sqlstate_of`).

asyncpg (0.32) waits for room in its send buffer, and goes on waiting when the connection is lost meanwhile: a COPY under
which the database dies would never end. Here it ends with the connection.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection


async def copy(
    connection: AsyncConnection, table: str, columns: Sequence[str], rows: Iterable[bytes]
) -> None:
    """COPY `rows` (pieces of PostgreSQL's text format) into `table` (with or without its schema)."""

    async def source() -> AsyncIterator[bytes]:
        for piece in rows:
            yield piece

    async with _driver_of(connection) as driver:
        schema, _, name = table.rpartition(".")
        await driver.copy_to_table(name, schema_name=schema or None, columns=list(columns), source=source())


async def copy_records(
    connection: AsyncConnection, table: str, columns: Sequence[str], records: Iterable[Sequence[Any]]
) -> None:
    """COPY `records`, values of Python, into `table` (with or without its schema)."""
    async with _driver_of(connection) as driver:
        schema, _, name = table.rpartition(".")
        await driver.copy_records_to_table(
            name, schema_name=schema or None, columns=list(columns), records=records
        )


@asynccontextmanager
async def _driver_of(connection: AsyncConnection) -> AsyncIterator[Any]:
    """The driver's connection, for as long as it is connected.

    Raises:
        ConnectionResetError: it was lost.
    """
    raw = await connection.get_raw_connection()
    driver = raw.driver_connection
    assert driver is not None
    try:
        async with asyncio.timeout(None) as connected:

            def lost(_: object) -> None:
                with suppress(RuntimeError):  # it was just left
                    connected.reschedule(0)

            driver.add_termination_listener(lost)
            try:
                yield driver
            finally:
                driver.remove_termination_listener(lost)
    except Exception as error:
        if not driver.is_closed():
            raise
        await connection.invalidate()  # SQLAlchemy has not seen it end, and would send a rollback
        raise ConnectionResetError("the database was lost in the middle of a COPY") from error
