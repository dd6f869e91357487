"""The notifier, put together. The only reader of its settings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from services.notifier.api import router
from services.notifier.consumer import subscription
from services.notifier.deliveries.retention import Retention
from services.notifier.delivery.sender import Sender
from services.notifier.delivery.worker import DeliveryWorker
from services.notifier.endpoints.described import webhook_events
from services.notifier.settings import Settings
from services.notifier.targets.guard import Guard
from services.notifier.targets.resolver import Resolver
from shared.platform.auth import authenticator_of
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from shared.platform.health import Check, database_check
from shared.platform.service import Service, Stopping

# Of the time to stop, what deliveries in flight get; the consumers that stop after them need little.
DELIVERY_SHARE = 0.6


def build(stopping: Stopping) -> Service:
    """The notifier as the environment configures it."""
    settings = Settings()
    engine = engine_for(settings.database_url, "notifier", pool_size=settings.database_pool_size)
    bus = Bus(
        "notifier",
        database_url=settings.database_url,
        bus_url=settings.bus_url,
        stop_seconds=settings.stop_seconds,
    )
    guard = Guard(settings.targets, Resolver(settings.webhook_nameservers))
    worker = DeliveryWorker(
        engine,
        Sender(guard),
        stopping,
        owner=bus.presence.instance,
        publish=bus.publish,
        retry_scale=settings.webhook_retry_scale,
    )
    days = settings.webhook_retention_days
    retention = Retention(engine, stopping, days=days)
    bus.subscribe(subscription(engine, publish=bus.publish, wake=worker.wake, retention=timedelta(days=days)))
    authenticator = authenticator_of(settings, engine)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(engine.dispose)
            stack.push_async_callback(guard.close)
            await bus.start()
            stack.push_async_callback(bus.stop)
            worker.start()
            stack.push_async_callback(worker.stop, settings.stop_seconds * DELIVERY_SHARE)
            retention.start()
            stack.push_async_callback(retention.stop)
            yield

    async def checks() -> Sequence[Check]:
        return [await database_check(engine), *await bus.checks(), worker.check()]

    routes = router(
        engine,
        authenticator,
        publish=bus.publish,
        guard=guard,
        worker=worker,
        retention_days=days,
    )
    return Service("notifier", lifespan, checks, routes, webhooks=webhook_events())
