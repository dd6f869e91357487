"""Routes that show investigations."""

from datetime import date, datetime
from types import MappingProxyType
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.investigations import overviews, reading
from services.notifier.investigations.filters import Filters, Kind, Order, severities_of, states_of
from services.notifier.investigations.grouping import SEVERITIES
from services.notifier.investigations.overview_resources import (
    MOST_TREND_DAYS,
    BySupplierPage,
    Counts,
    TopReasonPage,
    Trend,
    days_between,
)
from services.notifier.investigations.reading import Page
from services.notifier.investigations.resources import (
    HistoryPage,
    InvestigationDetail,
    InvestigationEventPage,
    InvestigationPage,
)
from services.notifier.investigations.states import STATES
from services.notifier.texts import Line
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, StorableText, Total
from shared.platform.parameters import RequestedMoment, only_known
from shared.platform.querying import tenant_querying
from shared.platform.tenancy import tenant_reading

QUERY_SECONDS = 10.0
# To compile a plan takes longer than these queries do.
_OVERVIEW = MappingProxyType({"jit": "off"})
_NARROW = "narrow it by `state`, `supplier` or `since`; leave out `total=exact`"

Supplier = Annotated[Line | None, Query(description="Only those with errors of this supplier")]
Stage = Annotated[Line | None, Query(description="Only those with errors of this stage")]
Reason = Annotated[Line | None, Query(description="Only those with errors of this reason")]
FirstDay = Annotated[date | None, Query(description="The first day; yesterday, if not given")]
LastDay = Annotated[date | None, Query(description="The last day; today, if not given")]


def investigations_router(engine: AsyncEngine, authenticator: Authenticator, *, zone: ZoneInfo) -> APIRouter:
    """`/investigations`: list, overviews, and one with what it is made of.

    Args:
        zone: Of days.
    """
    routes = APIRouter(prefix="/api/v1/investigations", tags=["investigations"])
    reader = Depends(authenticator.require("investigations:read"))
    Reader = Annotated[Principal, reader]  # noqa: N806 - a type
    strict = [reader, Depends(only_known)]

    def today() -> date:
        return datetime.now(zone).date()

    @routes.get(
        "",
        operation_id="list_investigations",
        summary="Investigations, the newest first",
        description="Those that were merged into others, or have had no error yet, are left out. Filters for the supplier,"
        " the stage and the reason look at all errors of an investigation: each must be of one that it has.",
        responses=problem_responses(401, 403, 422, 503),
        dependencies=strict,
    )
    async def list_all(
        *,
        caller: Reader,
        state: Annotated[
            list[str] | None,
            Query(
                description=f"Only those in this state, or in one of several, with commas: {', '.join(STATES)}"
            ),
        ] = None,
        supplier: Supplier = None,
        stage: Stage = None,
        reason: Reason = None,
        severity: Annotated[
            list[str] | None,
            Query(description=f"Only those of this severity, likewise: {', '.join(SEVERITIES)}"),
        ] = None,
        text: Annotated[
            StorableText | None,
            Query(description="Only those with this in their summary, in whatever case", max_length=255),
        ] = None,
        since: Annotated[
            RequestedMoment | None,
            Query(
                description="Only those whose last error occurred at this moment or later; a date is its midnight in UTC"
            ),
        ] = None,
        until: Annotated[
            RequestedMoment | None,
            Query(
                description="Only those whose last error occurred before this moment, which is after `since`; likewise"
            ),
        ] = None,
        opened_since: Annotated[
            RequestedMoment | None,
            Query(description="Only those that were opened at this moment or later; likewise"),
        ] = None,
        import_id: Annotated[
            UUID | None, Query(description="Only those with an error that this import reported")
        ] = None,
        order: Annotated[
            Order,
            Query(
                description="What comes first: those opened last; with the last error; with the most errors; with the highest"
                " severity, and among these those with the last error"
            ),
        ] = "-opened_at",
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> InvestigationPage:
        filters = Filters(
            states_of(state or ()),
            severities_of(severity or ()),
            Kind(supplier, stage, reason),
            text,
            since,
            until,
            opened_since,
            import_id,
        )
        async with tenant_querying(
            engine, caller.tenant, seconds=QUERY_SECONDS, what="investigations", hint=_NARROW
        ) as connection:
            return await reading.list_investigations(
                connection, caller.tenant, filters, order, Page(cursor, limit, total)
            )

    @routes.get(
        "/counts",
        operation_id="count_investigations",
        summary="The queue in figures: how many in each state, of which severities and suppliers",
        responses=problem_responses(401, 403, 422),
        dependencies=strict,
    )
    async def counts(caller: Reader) -> Counts:
        async with tenant_reading(engine, caller.tenant, _OVERVIEW) as connection:
            return await overviews.counts(connection, caller.tenant)

    @routes.get(
        "/trend",
        operation_id="trend_of_investigations",
        summary="Day by day: errors, and investigations opened, reopened and resolved",
        responses=problem_responses(401, 403, 422),
        dependencies=strict,
    )
    async def trend(
        caller: Reader,
        supplier: Supplier = None,
        stage: Stage = None,
        reason: Reason = None,
        days: Annotated[
            int, Query(ge=1, le=MOST_TREND_DAYS, description="How many days, today the last one")
        ] = 30,
    ) -> Trend:
        kind = Kind(supplier, stage, reason)
        async with tenant_reading(engine, caller.tenant, _OVERVIEW) as connection:
            return await overviews.trend(connection, caller.tenant, kind, days=days, today=today(), zone=zone)

    @routes.get(
        "/top-reasons",
        operation_id="top_reasons",
        summary="Why most errors occurred, from yesterday to today or on any days",
        responses=problem_responses(401, 403, 422),
        dependencies=strict,
    )
    async def top_reasons(
        caller: Reader,
        since: FirstDay = None,
        until: LastDay = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> TopReasonPage:
        days = days_between(since, until, today())
        async with tenant_reading(engine, caller.tenant, _OVERVIEW) as connection:
            return await overviews.top_reasons(connection, caller.tenant, days, Page(cursor, limit))

    @routes.get(
        "/by-supplier",
        operation_id="investigations_by_supplier",
        summary="Whose errors occurred, from yesterday to today or on any days; those with the most first",
        responses=problem_responses(401, 403, 422),
        dependencies=strict,
    )
    async def by_supplier(
        caller: Reader,
        since: FirstDay = None,
        until: LastDay = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> BySupplierPage:
        days = days_between(since, until, today())
        async with tenant_reading(engine, caller.tenant, _OVERVIEW) as connection:
            return await overviews.by_supplier(connection, caller.tenant, days, Page(cursor, limit))

    @routes.get(
        "/{investigation_id:uuid}",  # and no other word, as `actions` is one that only POST is of
        operation_id="get_investigation",
        summary="One investigation: what it is made of, its latest events, its trend and its history",
        description="One that was merged away has no errors any more; `merged_into` tells where they are.",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def get(caller: Reader, investigation_id: UUID) -> InvestigationDetail:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await reading.get_investigation(connection, caller.tenant, investigation_id, today())

    @routes.get(
        "/{investigation_id}/events",
        operation_id="list_events_of_investigation",
        summary="All its events that are kept, those that occurred last first",
        responses=problem_responses(401, 403, 404, 422),
        dependencies=strict,
    )
    async def list_events(
        caller: Reader, investigation_id: UUID, limit: Limit = 50, cursor: Cursor = None
    ) -> InvestigationEventPage:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await reading.list_events(connection, caller.tenant, investigation_id, Page(cursor, limit))

    @routes.get(
        "/{investigation_id}/history",
        operation_id="list_history_of_investigation",
        summary="What happened to it, and who did it; the newest first",
        responses=problem_responses(401, 403, 404, 422),
        dependencies=strict,
    )
    async def list_history(
        caller: Reader, investigation_id: UUID, limit: Limit = 50, cursor: Cursor = None
    ) -> HistoryPage:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await reading.list_history(
                connection, caller.tenant, investigation_id, Page(cursor, limit)
            )

    return routes
