"""The SQL of the system page."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# Without what a distribution adds to it.
_VERSION = text("SELECT split_part(current_setting('server_version'), ' ', 1)")


async def database_version(connection: AsyncConnection) -> str:
    return str(await connection.scalar(_VERSION))
