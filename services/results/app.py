"""Results, composed: the only place that reads its settings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from services.results.api import results_router
from services.results.consumer import live_listener, subscription
from services.results.imports import queries
from services.results.imports.resources import Import
from services.results.imports.stream import Watches
from services.results.settings import Settings
from shared.platform.auth import authenticator_of
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from shared.platform.health import Check, database_check
from shared.platform.objects import Objects
from shared.platform.service import Service, Stopping
from shared.platform.tenancy import tenant_reading


def build(stopping: Stopping) -> Service:
    """The results service, configured from the environment."""
    settings = Settings()
    engine = engine_for(settings.database_url, "results", pool_size=settings.database_pool_size)
    auth = authenticator_of(settings, engine)
    bus = Bus(
        "results",
        database_url=settings.database_url,
        bus_url=settings.bus_url,
        stop_seconds=settings.stop_seconds,
    )

    objects = Objects(settings.store_url)

    async def load(tenant: str, import_id: UUID) -> Import:
        async with tenant_reading(engine, tenant) as connection:
            return await queries.get_import(connection, tenant, import_id)

    watches = Watches(load, stopping)
    bus.subscribe(subscription(engine, watches.wake))
    bus.listen(live_listener(engine, watches.wake))

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            await bus.start()
            async with watches.running():
                yield
        finally:
            await bus.stop()
            await engine.dispose()

    async def checks() -> Sequence[Check]:
        return [await database_check(engine), await objects.check(), *await bus.checks()]

    return Service("results", lifespan, checks, results_router(engine, auth, watches, objects))
