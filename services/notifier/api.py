"""The notifier's HTTP edge: webhooks and investigations, below `/api/v1`."""

from zoneinfo import ZoneInfo

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.analyses.api import analyses_router
from services.notifier.analyses.thresholds import Thresholds
from services.notifier.deliveries.api import deliveries_router
from services.notifier.delivery.worker import DeliveryWorker
from services.notifier.endpoints.api import webhooks_router
from services.notifier.investigations.actions_api import actions_router
from services.notifier.investigations.api import investigations_router
from services.notifier.investigations.merging_api import merging_router
from services.notifier.investigations.reasons_api import reasons_router
from services.notifier.jobs.api import jobs_router
from services.notifier.jobs.scheduler import Scheduler
from services.notifier.logbook.api import events_router
from services.notifier.logbook.logbook import Logbook
from services.notifier.logbook.quarantine_api import quarantine_router
from services.notifier.suppliers.api import suppliers_router
from services.notifier.targets.guard import Guard
from shared.platform.auth import Authenticator
from shared.platform.bus import Publish
from shared.platform.service import joined


def router(
    engine: AsyncEngine,
    authenticator: Authenticator,
    *,
    publish: Publish,
    logbook: Logbook,
    zone: ZoneInfo,
    guard: Guard,
    worker: DeliveryWorker,
    retention_days: int,
    scheduler: Scheduler,
    thresholds: Thresholds,
) -> APIRouter:
    """All routes of the notifier.

    Args:
        logbook: Logs investigation events.
        zone: Of days, and of times without an offset.
        guard: Judges where webhooks may go.
        worker: Sends deliveries.
        retention_days: For how long these are kept.
        scheduler: Runs jobs.
        thresholds: Those of the daily analysis.
    """
    # First what is asked for most: routes are tried one after the other.
    return joined(
        events_router(engine, authenticator, logbook, zone=zone),
        quarantine_router(engine, authenticator),
        webhooks_router(engine, authenticator, guard=guard, wake=worker.wake),
        deliveries_router(engine, authenticator, worker, retention_days=retention_days),
        investigations_router(engine, authenticator, zone=zone),
        actions_router(engine, authenticator, publish=publish),
        merging_router(engine, authenticator, publish=publish),
        reasons_router(engine, authenticator, zone=zone),
        jobs_router(engine, authenticator, scheduler),
        suppliers_router(engine, authenticator, release=logbook.release, zone=zone),
        analyses_router(engine, authenticator, thresholds=thresholds, zone=zone),
    )
