"""What is to be indexed anew. An import's records are marked by its rows in `processor.changes`; all others are here.

A mark is all that the writer of a record leaves behind: it waits for no index, and no index for it. Until the indexer has
been there, readers make the words of a marked record themselves.
"""

from collections.abc import Sequence

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.processor.tables import unsearched
from shared.contracts.datasets import datasets


async def put(connection: AsyncConnection, tenant: str, dataset: str, keys: Sequence[str]) -> None:
    """Have records that this transaction writes or deletes found by what they then say; `keys` are few."""
    if datasets()[dataset].search and keys:
        await connection.execute(insert(unsearched).values(tenant=tenant, dataset=dataset, keys=list(keys)))


async def clear(connection: AsyncConnection, tenant: str, dataset: str) -> None:
    """Have the words of records that are gone swept out, however many this transaction deletes: nobody finds them."""
    if datasets()[dataset].search:
        await connection.execute(insert(unsearched).values(tenant=tenant, dataset=dataset, swept_to=""))
