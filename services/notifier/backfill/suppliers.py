"""Suppliers that ClickHouse names: they are known from then on."""

from collections.abc import Iterable, Mapping

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.backfill import repository
from services.notifier.logbook.logbook import Logbook
from services.notifier.suppliers.known import make_known

BATCH = 1_000


class Suppliers:
    """One run's making suppliers known, and releasing what was in quarantine of them."""

    def __init__(self, engine: AsyncEngine, logbook: Logbook, tenant: str) -> None:
        self._engine = engine
        self._logbook = logbook
        self._tenant = tenant
        self._known: set[str] = set()

    async def take_over(self, names: Mapping[str, str]) -> Mapping[str, int]:
        """Those of the list, with their names. Names that somebody gave them here stay."""
        added = renamed = 0
        listed = list(names.items())
        for begin in range(0, len(listed), BATCH):
            some = dict(listed[begin : begin + BATCH])
            # One by one: who changes suppliers locks their rows, and then investigations; nobody may do it the other way round.
            async with self._engine.begin() as connection:
                renamed += await repository.rename_suppliers(connection, self._tenant, some)
            async with self._engine.begin() as connection:
                added += await self._add(connection, some)
        return {"read": len(names), "added": added, "renamed": renamed}

    async def know(self, connection: AsyncConnection, suppliers: Iterable[str]) -> None:
        """Those that errors and files are of. To be called before the tenant's investigations are locked."""
        new = set(suppliers) - self._known
        if new:
            await self._add(connection, {supplier: supplier for supplier in new})

    async def _add(self, connection: AsyncConnection, names: Mapping[str, str]) -> int:
        added = await make_known(connection, self._tenant, names, "clickhouse")
        if added:
            await self._logbook.release(connection, self._tenant, added)
        self._known.update(names)
        return len(added)
