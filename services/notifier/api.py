"""The notifier's HTTP edge: webhooks and investigations, below `/api/v1`."""

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.deliveries.api import deliveries_router
from services.notifier.delivery.worker import DeliveryWorker
from services.notifier.endpoints.api import webhooks_router
from services.notifier.investigations.api import investigations_router
from services.notifier.investigations.logbook import Publish
from services.notifier.targets.guard import Guard
from shared.platform.auth import Authenticator


def router(
    engine: AsyncEngine,
    authenticator: Authenticator,
    *,
    publish: Publish,
    guard: Guard,
    worker: DeliveryWorker,
    retention_days: int,
) -> APIRouter:
    """All routes of the notifier.

    Args:
        guard: Judges where webhooks may go.
        worker: Sends deliveries.
        retention_days: For how long these are kept.
    """
    routes = APIRouter(prefix="/api/v1")
    routes.include_router(webhooks_router(engine, authenticator, guard=guard, wake=worker.wake))
    routes.include_router(deliveries_router(engine, authenticator, worker, retention_days=retention_days))
    routes.include_router(investigations_router(engine, authenticator, publish=publish))
    return routes
