"""HTTP of results, all below `/api/v1`."""

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.api_imports import imports_router
from services.results.api_records import datasets_router, records_router
from services.results.stream import Watches
from shared.platform.auth import Authenticator
from shared.platform.objects import Objects


def results_router(engine: AsyncEngine, auth: Authenticator, watches: Watches, objects: Objects) -> APIRouter:
    """Every path of this service: `/imports`, `/records`, `/datasets`."""
    router = APIRouter(prefix="/api/v1")
    router.include_router(imports_router(engine, auth, watches, objects))
    router.include_router(records_router(engine, auth))
    router.include_router(datasets_router(auth))
    return router
