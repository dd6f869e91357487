"""Routes of analyses: what is known of suppliers' days, live."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.analyses import showing
from services.notifier.analyses.cadence import Bucket
from services.notifier.analyses.findings import FindingName, State
from services.notifier.analyses.queries import Filters
from services.notifier.analyses.resources import AnalysisPage, Buckets, LatePage, Overview
from services.notifier.analyses.showing import Page
from services.notifier.analyses.thresholds import Thresholds
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, StorableText, Total
from shared.platform.parameters import only_known
from shared.platform.tenancy import tenant_reading

States = Annotated[
    list[State] | None,
    Query(description="Only those with this state; may be given more than once, for any of them"),
]


def analyses_router(
    engine: AsyncEngine, authenticator: Authenticator, *, thresholds: Thresholds, zone: ZoneInfo
) -> APIRouter:
    """`/analyses`: lists, counts, who is late, what failed, the overview.

    Args:
        thresholds: Those of the analysis.
        zone: Of days.
    """
    routes = APIRouter(prefix="/api/v1/analyses", tags=["analyses"])
    reader = Depends(authenticator.require("investigations:read"))
    Reader = Annotated[Principal, reader]  # noqa: N806 - a type

    def today() -> date:
        return datetime.now(UTC).astimezone(zone).date()

    @routes.get(
        "",
        operation_id="list_analyses",
        summary="Suppliers' days: how regular, what is odd, with the evidence",
        description="Of one day in order of the suppliers, by default the latest day that was analysed; with `supplier` and no"
        " `day`, that supplier's days, the latest first. Analyses are made each night of the day before, and again whenever"
        " somebody runs the job `daily-analysis` for a date.",
        responses=problem_responses(401, 403, 422),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_all(
        *,
        caller: Reader,
        day: Annotated[date | None, Query(description="Only those of this day, as 2026-03-01")] = None,
        supplier: Annotated[StorableText | None, Query(description="Only those of this supplier")] = None,
        state: States = None,
        bucket: Annotated[
            Bucket | None, Query(description="Only suppliers that were of this kind then")
        ] = None,
        finding: Annotated[
            FindingName | None, Query(description="Only those where this was found, as `warn` or `fail`")
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> AnalysisPage:
        filters = Filters(day, supplier, frozenset(state or ()), bucket, finding)
        async with tenant_reading(engine, caller.tenant) as connection:
            return await showing.list_analyses(connection, caller.tenant, filters, Page(cursor, limit, total))

    @routes.get(
        "/buckets",
        operation_id="count_analyses",
        summary="How many suppliers are new, consistent, inconsistent, dead; how many passed and failed",
        description="`consistent`: the spread of the gaps between days with a good file is at most as large as their median, or"
        " few gaps are long ones. `dead`: no good file for long, by default 28 days. `new`: too short a history to tell.",
        responses=problem_responses(401, 403, 422),
        dependencies=[reader, Depends(only_known)],
    )
    async def count(
        caller: Reader,
        day: Annotated[
            date | None, Query(description="Of this day; by default the latest that was analysed")
        ] = None,
    ) -> Buckets:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await showing.buckets(connection, caller.tenant, day)

    @routes.get(
        "/late",
        operation_id="list_late_suppliers",
        summary="Who is late right now",
        description="Suppliers from whom a good file was expected on a day that is over, and who have not sent one since their"
        " last analysis either; those first that are late for longest.",
        responses=problem_responses(401, 403, 422),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_late(
        caller: Reader, limit: Limit = 50, cursor: Cursor = None, total: Total = None
    ) -> LatePage:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await showing.list_late(
                connection, caller.tenant, today(), thresholds.late_days, Page(cursor, limit, total)
            )

    @routes.get(
        "/failures",
        operation_id="list_failures",
        summary="Which suppliers' days failed, why, and where to go on",
        description="By default of yesterday, in order of the suppliers; empty, until that day is analysed.",
        responses=problem_responses(401, 403, 422),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_failures(
        *,
        caller: Reader,
        day: Annotated[date | None, Query(description="Of this day; by default yesterday")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> AnalysisPage:
        filters = Filters(day=day or today() - timedelta(days=1), states=frozenset({"fail"}))
        async with tenant_reading(engine, caller.tenant) as connection:
            return await showing.list_analyses(connection, caller.tenant, filters, Page(cursor, limit, total))

    @routes.get(
        "/overview",
        operation_id="get_overview",
        summary="Files, errors, analyses, late suppliers and investigations at a glance",
        responses=problem_responses(401, 403, 422),
        dependencies=[reader, Depends(only_known)],
    )
    async def overview(caller: Reader) -> Overview:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await showing.overview(connection, caller.tenant, today(), thresholds.late_days)

    return routes
