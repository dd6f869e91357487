"""The notifier's HTTP edge: webhooks and investigations, below `/api/v1`."""

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.api_investigations import investigations_router
from services.notifier.api_webhooks import webhooks_router
from services.notifier.guard import Resolve
from services.notifier.logbook import Publish
from shared.platform.auth import Authenticator


def router(
    engine: AsyncEngine,
    authenticator: Authenticator,
    *,
    publish: Publish,
    allow_private: bool,
    resolve: Resolve,
) -> APIRouter:
    """All routes of the notifier. `allow_private`: webhooks may go to private addresses."""
    routes = APIRouter(prefix="/api/v1")
    routes.include_router(
        webhooks_router(engine, authenticator, allow_private=allow_private, resolve=resolve)
    )
    routes.include_router(investigations_router(engine, authenticator, publish=publish))
    return routes
