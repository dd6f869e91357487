"""Files that are to go: said so first, in the transaction that gives them up, and removed from the store then.

So neither a crash nor a store that is away leaves one behind. For services that have a store.
"""

from collections.abc import Sequence

from sqlalchemy import Column, DateTime, MetaData, Table, Text, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.platform.objects import Objects

FILES_A_STEP = 100


def doomed_table(metadata: MetaData) -> Table:
    """The table of a service's files that are to go. A row is there before its file is given up, and goes after the file."""
    return Table(
        "doomed_files",
        metadata,
        Column("object_key", Text, primary_key=True),
        Column("doomed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )


async def doom(connection: AsyncConnection, doomed: Table, object_keys: Sequence[str]) -> None:
    """Have files removed once the caller's transaction, which says that they are gone, has committed."""
    if object_keys:
        await connection.execute(insert(doomed), [{"object_key": key} for key in object_keys])


async def remove_doomed(engine: AsyncEngine, objects: Objects, doomed: Table) -> None:
    """Remove the files that are to go from the store.

    Raises:
        StoreUnavailable: those that are left go the next time.
    """
    while True:
        async with engine.connect() as connection:
            keys = list(await connection.scalars(select(doomed.c.object_key).limit(FILES_A_STEP)))
        if not keys:
            return
        for key in keys:
            await objects.discard(key)
        async with engine.begin() as connection:
            await connection.execute(delete(doomed).where(doomed.c.object_key.in_(keys)))
