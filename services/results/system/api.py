"""HTTP: how the installation is."""

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.system import queries
from services.results.system.resources import System
from shared.platform.auth import Authenticator
from shared.platform.bus import Bus
from shared.platform.edge import problem_responses


def system_router(engine: AsyncEngine, auth: Authenticator, bus: Bus) -> APIRouter:
    """`/system`."""
    router = APIRouter(prefix="/api/v1", tags=["system"], dependencies=[Depends(auth.require("admin"))])

    @router.get(
        "/system",
        summary="The processes, and what waits on the bus between them",
        responses=problem_responses(401, 403),
    )
    async def get_system() -> System:
        """Of the whole installation, not of a tenant: whose messages they are, it does not say.

        Whether a service can work now, its `/health/{service}/ready` says.
        """
        return await queries.get_system(engine, bus)

    return router
