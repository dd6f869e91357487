"""One at a time logs events of a tenant or acts on its investigations: what is read before it is written stays so."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.platform.database import advisory_key

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


async def lock(connection: AsyncConnection, tenant: str) -> None:
    """Wait until nobody else logs events or acts on investigations of `tenant`; until the transaction ends, nobody does."""
    await connection.execute(_LOCK, {"key": advisory_key(f"penstock:investigations:{tenant}")})
