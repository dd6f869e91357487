"""`penstock rebuild`: read models built anew from the source of truth, while the services run or not."""

import asyncio

from services.results.imports.rebuild import Rebuilt, rebuild
from shared.platform.database import engine_for


def rebuild_results(database_url: str, tenant: str | None) -> Rebuilt:
    """Build the imports as `results` shows them anew, of one tenant or of all (None), in one transaction."""

    async def run() -> Rebuilt:
        engine = engine_for(database_url, "results", pool_size=1)
        try:
            async with engine.begin() as connection:
                return await rebuild(connection, tenant)
        finally:
            await engine.dispose()

    return asyncio.run(run())
