"""Routes that list the events that wait for their supplier to be added."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.logbook import quarantined
from services.notifier.logbook.quarantined import QuarantinedSupplierPage, QuarantinePage
from services.notifier.texts import Line
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, Total
from shared.platform.parameters import only_known
from shared.platform.querying import tenant_querying

QUERY_SECONDS = 10.0
_NARROW = "narrow it by `supplier`; leave out `total=exact`"


def quarantine_router(engine: AsyncEngine, authenticator: Authenticator) -> APIRouter:
    """List what is in quarantine."""
    routes = APIRouter(prefix="/api/v1/investigation-events/quarantine", tags=["investigations"])
    reader = Depends(authenticator.require("investigations:read"))
    Reader = Annotated[Principal, reader]  # noqa: N806 - a type

    @routes.get(
        "",
        operation_id="list_quarantined_events",
        summary="Events that wait for their supplier to be added",
        description="By supplier, and in order of time. They are logged when their supplier is added; nothing removes them.",
        responses=problem_responses(401, 403, 422, 503),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_quarantine(
        caller: Reader,
        supplier: Annotated[Line | None, Query(description="Only those of this one")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> QuarantinePage:
        async with tenant_querying(
            engine, caller.tenant, seconds=QUERY_SECONDS, what="events", hint=_NARROW
        ) as connection:
            return await quarantined.list_events(
                connection, caller.tenant, supplier=supplier, limit=limit, cursor=cursor, total=total
            )

    @routes.get(
        "/suppliers",
        operation_id="list_quarantined_suppliers",
        summary="Suppliers that are not known, and how many events of them wait",
        responses=problem_responses(401, 403, 422, 503),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_suppliers(
        caller: Reader, limit: Limit = 50, cursor: Cursor = None
    ) -> QuarantinedSupplierPage:
        async with tenant_querying(
            engine, caller.tenant, seconds=QUERY_SECONDS, what="events", hint="add suppliers that are known"
        ) as connection:
            return await quarantined.list_suppliers(connection, caller.tenant, limit=limit, cursor=cursor)

    return routes
