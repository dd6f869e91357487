"""The notifier, put together. The only reader of its settings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from services.notifier.api import router
from services.notifier.consumer import subscription
from services.notifier.delivery import DeliveryWorker
from services.notifier.guard import Resolver
from services.notifier.sender import Sender
from services.notifier.settings import Settings
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
    resolver = Resolver()
    worker = DeliveryWorker(
        engine,
        Sender(allow_private=settings.webhook_allow_private, resolve=resolver),
        stopping,
        owner=bus.presence.instance,
        retry_scale=settings.webhook_retry_scale,
    )
    bus.subscribe(subscription(engine, publish=bus.publish, wake=worker.wake))
    authenticator = authenticator_of(settings, engine)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(engine.dispose)
            await bus.start()
            stack.push_async_callback(bus.stop)
            worker.start()
            stack.push_async_callback(worker.stop, settings.stop_seconds * DELIVERY_SHARE)
            yield

    async def checks() -> Sequence[Check]:
        return [await database_check(engine), *await bus.checks(), worker.check()]

    routes = router(
        engine,
        authenticator,
        publish=bus.publish,
        allow_private=settings.webhook_allow_private,
        resolve=resolver,
    )
    return Service("notifier", lifespan, checks, routes)
