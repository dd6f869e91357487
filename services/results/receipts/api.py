"""HTTP: the receipt of an import."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.receipts import queries
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.tenancy import tenant_reading


def receipts_router(engine: AsyncEngine, auth: Authenticator) -> APIRouter:
    """`/imports/{import_id}/receipt`."""
    router = APIRouter(prefix="/imports", tags=["imports"])
    reader = Depends(auth.require("imports:read"))

    @router.get(
        "/{import_id}/receipt",
        summary="The final balance of an import",
        responses=problem_responses(401, 403, 404, 422, 503),
    )
    async def get_receipt(import_id: UUID, caller: Annotated[Principal, reader]) -> dict[str, Any]:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await queries.get_receipt(connection, caller.tenant, import_id)

    return router
