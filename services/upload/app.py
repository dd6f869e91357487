"""Composition root of the upload service: the only place that reads its settings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.upload.api import router
from services.upload.blocks import Limits
from services.upload.intake import Intake
from services.upload.settings import Settings
from shared.platform.auth import Authenticator
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from shared.platform.health import Check, database_check
from shared.platform.objects import Objects
from shared.platform.service import Service, Stopping


def build(stopping: Stopping) -> Service:
    """The upload service, configured from the environment."""
    settings = Settings()
    database_url = settings.database_url
    engine = engine_for(database_url, "upload", pool_size=settings.database_pool_size)
    bus = Bus(
        "upload", database_url=database_url, bus_url=settings.bus_url, stop_seconds=settings.stop_seconds
    )
    objects = Objects(settings.store_url)
    auth = Authenticator(settings.jwt_secret.get_secret_value(), settings.jwt_audience, engine)
    limits = Limits(settings.upload_max_bytes, settings.upload_max_ratio)
    intake = Intake(engine, bus, objects, limits)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await bus.start()
        try:
            yield
        finally:
            await bus.stop()
            await engine.dispose()

    async def checks() -> Sequence[Check]:
        return [await database_check(engine), await objects.check(), *await bus.checks()]

    return Service(
        "upload", lifespan, checks, router(intake, engine, bus, auth), streams=frozenset({"/api/v1/uploads"})
    )
