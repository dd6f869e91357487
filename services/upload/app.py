"""Composition root of the upload service: the only place that reads its settings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.upload.admission import Admission
from services.upload.api import router
from services.upload.api_keys import api_keys_router
from services.upload.consumer import subscription
from services.upload.intake import Intake
from services.upload.limits import Limits, Sizes
from services.upload.places import places_for_uploads
from services.upload.retention import files_rule
from services.upload.settings import Settings
from services.upload.sweeper import Sweeper
from services.upload.tus.api import tus_router
from services.upload.tus.creation import Creation
from services.upload.tus.finish import Finisher
from services.upload.tus.parts import Parts
from services.upload.tus.requests import Requests
from services.upload.tus.sweep import ask_again, sweep
from services.upload.tus.writing import Writing
from shared.platform.auth import authenticator_of
from shared.platform.bus import Bus
from shared.platform.database import engine_for, pool_figures
from shared.platform.health import Check, database_check, together
from shared.platform.objects import Objects
from shared.platform.retention import Retention, Rule
from shared.platform.service import Service, Stopping, joined

# A database that does not answer any more counts as away, and whoever sends a file hears so.
STATEMENT_SECONDS = 20.0  # all of them take milliseconds


def build(stopping: Stopping) -> Service:
    """The upload service, configured from the environment."""
    settings = Settings()
    engine = engine_for(
        settings.database_url,
        "upload",
        pool_size=settings.database_pool_size,
        pooler=settings.database_pooler,
        statement_seconds=STATEMENT_SECONDS,
    )
    bus = Bus(
        "upload",
        database_url=settings.session_url,
        bus_url=settings.bus_url,
        stop_seconds=settings.stop_seconds,
    )
    objects = Objects(settings.store_url)
    auth = authenticator_of(settings, engine)
    limits = Limits(
        settings.uploads_per_minute,
        settings.imports_at_once,
        Sizes(settings.upload_max_bytes, settings.upload_max_bytes_by_dataset),
    )
    admission = Admission(engine, owner=bus.presence.instance, defaults=limits)
    places = places_for_uploads()
    intake = Intake(engine, bus, objects, admission, places, max_ratio=settings.upload_max_ratio)
    further = (lambda: sweep(engine, objects), lambda: ask_again(engine, bus))
    sweeper = Sweeper(engine, objects, admission, stopping, further=further)
    retention = Retention("upload", stopping, _rules(settings, engine, objects))
    bus.subscribe(subscription(Finisher(engine, objects, intake, admission)))
    expires_after = timedelta(hours=settings.tus_expires_hours)
    resumable = Requests(
        engine,
        Creation(engine, bus, admission, expires_after=expires_after),
        Writing(
            engine,
            objects,
            Parts(engine, bus, objects, places, stopping, expires_after=expires_after),
            expires_after=expires_after,
        ),
        stopping,
    )

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await bus.start()
        sweeper.start()
        retention.start()
        try:
            yield
        finally:
            await retention.stop()
            await sweeper.stop()
            await bus.stop()
            await engine.dispose()

    async def checks() -> Sequence[Check]:
        return await together(database_check(engine), objects.check(), bus.checks())

    routes = joined(
        router(intake, admission, engine, bus, auth),
        tus_router(resumable, auth, max_bytes=limits.sizes.limit(None)),
        api_keys_router(engine, auth),
    )
    return Service(
        "upload",
        lifespan,
        checks,
        routes,
        streams=frozenset({"/api/v1/uploads", "/api/v1/tus/*"}),
        figures={
            "bus": bus.figures,
            "database": pool_figures("upload", engine),
            "store": objects.figures,
        },
    )


def retention_rules(engine: AsyncEngine) -> Sequence[Rule]:
    """What this service forgets, as the environment configures it, for a command.

    Raises:
        pydantic.ValidationError: a setting is wrong.
    """
    settings = Settings()
    return _rules(settings, engine, Objects(settings.store_url))


def _rules(settings: Settings, engine: AsyncEngine, objects: Objects) -> Sequence[Rule]:
    return [files_rule(engine, objects, settings.file_retention_days)]
