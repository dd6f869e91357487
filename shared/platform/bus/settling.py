"""The end of a message on PostgreSQL: it is removed, or its next attempt is put down.

A worker of the library keeps one connection for that, and learns only when it settles its next message that PostgreSQL has
closed it meanwhile. The message would wait for the end of its lease and be handled once more, by another worker perhaps that
knows as little. So what fails for that reason is done once more, over a new connection: all of it is one statement
that holds for who has the lease, and so may be done twice.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from faststream_outbox.client import OutboxClient
from faststream_outbox.subscriber import usecase
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")

# The longest pause until the library looks whether PostgreSQL is back. Its own is 30 s, in which nothing goes out.
usecase._BACKOFF_MAX_SECONDS = 3.0


class SettlingClient(OutboxClient):
    """The library's client, whose statements that settle a message outlive the connection."""

    async def delete_with_lease(self, conn: AsyncConnection | None, *message: Any, **options: Any) -> bool:
        return await _settled(
            conn, lambda: super(SettlingClient, self).delete_with_lease(conn, *message, **options)
        )

    async def delete_batch_with_lease(self, conn: AsyncConnection | None, pairs: Any) -> set[Any]:
        return await _settled(conn, lambda: super(SettlingClient, self).delete_batch_with_lease(conn, pairs))

    async def mark_pending_with_lease(
        self, conn: AsyncConnection | None, *message: Any, **options: Any
    ) -> bool:
        return await _settled(
            conn, lambda: super(SettlingClient, self).mark_pending_with_lease(conn, *message, **options)
        )


async def _settled(connection: AsyncConnection | None, settle: Callable[[], Awaitable[T]]) -> T:
    try:
        return await settle()
    except DBAPIError as error:
        if connection is None or not error.connection_invalidated:
            raise
    await connection.rollback()  # what holds the connection that is no more
    await connection.execution_options(isolation_level="AUTOCOMMIT")  # of the new one, as the worker's was
    return await settle()
