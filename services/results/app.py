"""Results, composed: the only place that reads its settings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.api import results_router
from services.results.consumer import live_listener, subscription
from services.results.imports.adoption import adopting
from services.results.imports.stream import Watches
from services.results.receipts.signing import ReceiptKeys, private_key_of, public_key_of
from services.results.records.editing import PLACES, Edits
from services.results.records.export import exports_at_once
from services.results.settings import Settings
from services.results.tables import inbox
from shared.platform.auth import authenticator_of
from shared.platform.bus import Bus
from shared.platform.database import engine_for, pool_figures
from shared.platform.health import Check, database_check, together
from shared.platform.objects import Objects
from shared.platform.querying import Copies
from shared.platform.retention import Retention, Rule, handled_events
from shared.platform.service import Service, Stopping


def build(stopping: Stopping) -> Service:
    """The results service, configured from the environment."""
    settings = Settings()
    engine = engine_for(
        settings.database_url,
        "results",
        pool_size=settings.database_pool_size,
        pooler=settings.database_pooler,
    )
    auth = authenticator_of(settings, engine)
    bus = Bus(
        "results",
        database_url=settings.session_url,
        bus_url=settings.bus_url,
        stop_seconds=settings.stop_seconds,
    )

    # Apart from what reads: whoever waits for an edit keeps a session.
    sessions = engine_for(settings.session_url, "results", pool_size=PLACES, max_overflow=0)
    edits = Edits(engine, sessions, bus, stopping)
    copies = Copies(engine, at_once=exports_at_once(settings.database_pool_size))
    objects = Objects(settings.store_url)
    keys = _keys(settings)
    retention = Retention("results", stopping, _rules(settings, engine))

    watches = Watches(engine, stopping)
    bus.subscribe(subscription(engine, watches.wake))
    bus.listen(live_listener(engine, watches.wake))
    bus.listen(edits.hear)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            await bus.start()
            retention.start()
            async with adopting(engine, stopping), watches.running():
                yield
        finally:
            await retention.stop()
            await bus.stop()
            await sessions.dispose()
            await engine.dispose()

    async def checks() -> Sequence[Check]:
        return await together(database_check(engine), objects.check(), bus.checks())

    return Service(
        "results",
        lifespan,
        checks,
        results_router(
            engine,
            auth,
            watches=watches,
            objects=objects,
            keys=keys,
            copies=copies,
            edits=edits,
            bus=bus,
            session_lasts=timedelta(hours=settings.session_hours),
        ),
        figures={
            "bus": bus.figures,
            "database": pool_figures("results", engine),
            "store": objects.figures,
        },
    )


def retention_rules(engine: AsyncEngine) -> Sequence[Rule]:
    """What this service forgets, as the environment configures it, for a command.

    Raises:
        pydantic.ValidationError: a setting is wrong.
    """
    settings = Settings()
    return _rules(settings, engine)


def receipt_keys() -> ReceiptKeys:
    """The keys that receipts are signed with, as the environment says, for a command.

    Raises:
        pydantic.ValidationError: a setting is wrong.
    """
    return _keys(Settings())


def _keys(settings: Settings) -> ReceiptKeys:
    return ReceiptKeys(
        private_key_of(settings.receipt_key.get_secret_value()),
        [public_key_of(key) for key in settings.receipt_public_keys],
    )


def _rules(settings: Settings, engine: AsyncEngine) -> Sequence[Rule]:
    return [handled_events(engine, inbox, settings.event_retention_days)]
