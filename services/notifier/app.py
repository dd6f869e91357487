"""The notifier, put together. The only reader of its settings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.analyses.analysing import daily_analysis
from services.notifier.api import router
from services.notifier.backfill.backfilling import NAME as BACKFILL
from services.notifier.backfill.backfilling import backfill_job
from services.notifier.consumer import subscription
from services.notifier.deliveries.retention import rule as deliveries_rule
from services.notifier.delivery.figures import past_due
from services.notifier.delivery.sender import Sender
from services.notifier.delivery.worker import DeliveryWorker
from services.notifier.endpoints.described import webhook_events
from services.notifier.investigations.mutes import MuteEnds
from services.notifier.jobs.attempting import Books, News, Tell
from services.notifier.jobs.by_hand import ByHand
from services.notifier.jobs.job import Job
from services.notifier.jobs.scheduler import Scheduler, in_order
from services.notifier.logbook.by_job import from_job
from services.notifier.logbook.logbook import Logbook
from services.notifier.logbook.upkeep import Upkeep
from services.notifier.logbook.upkeep import rule as events_rule
from services.notifier.settings import Settings
from services.notifier.tables import inbox
from services.notifier.targets.guard import Guard
from services.notifier.targets.resolver import Resolver
from shared.contracts.problems import Problem
from shared.platform.auth import authenticator_of
from shared.platform.bus import Bus
from shared.platform.database import engine_for, pool_figures
from shared.platform.health import Check, database_check, together
from shared.platform.presence import Presence
from shared.platform.retention import Retention, Rule, handled_events
from shared.platform.service import Service, Stopping
from shared.platform.telemetry.figures import Sample

# Of the time to stop, what deliveries in flight get; the consumers that stop after them need little.
DELIVERY_SHARE = 0.6
JOB_SHARE = 0.2  # jobs are cancelled soon: they go on where they are run again


def build(stopping: Stopping) -> Service:
    """The notifier as the environment configures it."""
    settings = Settings()
    engine = engine_for(
        settings.database_url,
        "notifier",
        pool_size=settings.database_pool_size,
        pooler=settings.database_pooler,
    )
    bus = Bus(
        "notifier",
        database_url=settings.session_url,
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
    logbook = Logbook(bus.publish, settings.zone, quota=settings.event_quota_per_minute)
    days = settings.webhook_retention_days
    retention = Retention("notifier", stopping, _rules(settings, engine))
    upkeep = Upkeep(engine, stopping, logbook, days=settings.investigation_retention_days)
    mute_ends = MuteEnds(engine, stopping, publish=bus.publish)
    bus.subscribe(
        subscription(engine, logbook, zone=settings.zone, wake=worker.wake, retention=timedelta(days=days))
    )
    scheduler = Scheduler(
        engine,
        stopping,
        jobs_of(engine, logbook, settings),
        zone=settings.zone,
        runner=bus.presence.instance,
        catch_up_days=settings.job_catch_up_days,
        tell=telling(logbook),
    )
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
            upkeep.start()
            stack.push_async_callback(upkeep.stop)
            mute_ends.start()
            stack.push_async_callback(mute_ends.stop)
            scheduler.start()
            stack.push_async_callback(scheduler.stop, settings.stop_seconds * JOB_SHARE)
            yield

    async def checks() -> Sequence[Check]:
        found = await together(database_check(engine), bus.checks())
        return [*found, worker.check(), scheduler.check()]

    routes = router(
        engine,
        authenticator,
        publish=bus.publish,
        logbook=logbook,
        zone=settings.zone,
        guard=guard,
        worker=worker,
        retention_days=days,
        scheduler=scheduler,
        thresholds=settings.thresholds,
    )

    async def deliveries() -> Sequence[Sample]:
        async with engine.connect() as connection:
            return await past_due(connection)

    figures = {
        "bus": bus.figures,
        "database": pool_figures("notifier", engine),
        "deliveries": deliveries,
    }
    return Service("notifier", lifespan, checks, routes, webhooks=webhook_events(), figures=figures)


def jobs_of(engine: AsyncEngine, logbook: Logbook, settings: Settings) -> Sequence[Job]:
    """What is due once a day."""
    sources, zone = settings.clickhouse, settings.zone
    retention = timedelta(days=settings.investigation_retention_days)
    backfills = [backfill_job(engine, logbook, sources, zone, retention=retention)] if sources else []
    return [*backfills, daily_analysis(engine, logbook, settings.thresholds, zone, after=BACKFILL)]


def telling(logbook: Logbook) -> Tell:
    """What logs as an investigation event that a job failed, and that it is mended."""

    async def tell(connection: AsyncConnection, news: News) -> None:
        [logged] = await logbook.log(connection, news.claimed.tenant, [from_job(news)])
        if isinstance(logged, Problem):
            raise logged

    return tell


@asynccontextmanager
async def jobs_by_hand() -> AsyncIterator[ByHand]:
    """Jobs as the environment configures them, in a process that is no service and whose life others can see all the same.

    Raises:
        pydantic.ValidationError: a setting is wrong.
    """
    settings = Settings()
    engine = engine_for(
        settings.database_url,
        "notifier",
        pool_size=settings.database_pool_size,
        pooler=settings.database_pooler,
    )
    bus = Bus("notifier", database_url=settings.session_url, bus_url=settings.bus_url)
    logbook = Logbook(bus.publish, settings.zone, quota=settings.event_quota_per_minute)
    presence = Presence(settings.session_url, "jobs by hand")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        stack.push_async_callback(presence.stop)
        await presence.start([])
        jobs = in_order(jobs_of(engine, logbook, settings))
        yield ByHand(Books(engine, telling(logbook)), jobs, settings.zone, presence.instance)


def retention_rules(engine: AsyncEngine) -> Sequence[Rule]:
    """What this service forgets, as the environment configures it, for a command.

    Raises:
        pydantic.ValidationError: a setting is wrong.
    """
    settings = Settings()
    return [*_rules(settings, engine), events_rule(engine, settings.investigation_retention_days)]


def _rules(settings: Settings, engine: AsyncEngine) -> Sequence[Rule]:
    """Without that of investigation events, which the book itself sees to (`Upkeep`)."""
    return [
        deliveries_rule(engine, settings.webhook_retention_days),
        handled_events(engine, inbox, settings.event_retention_days),
    ]
