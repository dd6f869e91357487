"""Composition root of the processor: the only place that reads its settings."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from services.processor.consumer import subscriptions
from services.processor.editing.consumer import editing_subscription
from services.processor.editing.editor import Editor
from services.processor.figures import read_imports
from services.processor.pipeline import Pipeline
from services.processor.retention import rules as details_rules
from services.processor.searching import Indexer
from services.processor.settings import Settings
from services.processor.tables import inbox
from shared.platform.bus import Bus
from shared.platform.database import engine_for, pool_figures
from shared.platform.health import Check, database_check, together
from shared.platform.objects import Objects
from shared.platform.retention import Retention, Rule, handled_events
from shared.platform.service import Service, Stopping
from shared.platform.telemetry.figures import Sample


def build(stopping: Stopping) -> Service:
    """The processor, configured from the environment."""
    settings = Settings()
    engine = engine_for(
        settings.database_url,
        "processor",
        pool_size=settings.database_pool_size,
        pooler=settings.database_pooler,
    )
    bus = Bus(
        "processor",
        database_url=settings.session_url,
        bus_url=settings.bus_url,
        stop_seconds=settings.stop_seconds,
    )
    objects = Objects(settings.store_url)
    pipeline = Pipeline(
        engine,
        bus,
        objects,
        slice_bytes=settings.slice_bytes,
        lease_seconds=settings.lease_seconds,
        row_errors_kept=settings.row_errors_kept,
        stopping=lambda: bool(stopping),
    )
    for subscription in subscriptions(engine, bus, pipeline):
        bus.subscribe(subscription)
    bus.subscribe(editing_subscription(Editor(engine, bus)))
    retention = Retention("processor", stopping, _rules(settings, engine, objects))
    indexer = Indexer(engine, pipeline.is_busy)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await bus.start()
        try:
            await pipeline.resume()
            watch = asyncio.create_task(pipeline.watch())
            indexing = asyncio.create_task(indexer.run())
            retention.start()
            yield
            watch.cancel()
            indexing.cancel()
            await retention.stop()
            await asyncio.wait([indexing])  # its connection goes back before the pool is closed
        finally:
            await bus.stop()
            await engine.dispose()

    async def checks() -> Sequence[Check]:
        return await together(database_check(engine), objects.check(), bus.checks())

    async def imports() -> Sequence[Sample]:
        async with engine.connect() as connection:
            return await read_imports(connection)

    figures = {
        "bus": bus.figures,
        "database": pool_figures("processor", engine),
        "imports": imports,
        "store": objects.figures,
    }
    return Service("processor", lifespan, checks, figures=figures)


def retention_rules(engine: AsyncEngine) -> Sequence[Rule]:
    """What this service forgets, as the environment configures it, for a command.

    Raises:
        pydantic.ValidationError: a setting is wrong.
    """
    settings = Settings()
    return _rules(settings, engine, Objects(settings.store_url))


def _rules(settings: Settings, engine: AsyncEngine, objects: Objects) -> Sequence[Rule]:
    return [
        *details_rules(engine, objects, settings.error_retention_days),
        handled_events(engine, inbox, settings.event_retention_days),
    ]
