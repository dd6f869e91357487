"""Routes of investigation events: they are logged, alone or in batches, and those that wait are listed."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Body, Depends, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.logbook import batching, quarantined
from services.notifier.logbook.intake import Intake
from services.notifier.logbook.logbook import Logbook, Outcome
from services.notifier.logbook.quarantined import QuarantinedSupplierPage, QuarantinePage
from services.notifier.logbook.reporting import (
    NewInvestigationEvent,
    OldEvent,
    from_old,
    one_id,
    reported,
)
from services.notifier.texts import Line
from shared.contracts.problems import Problem, UnsupportedMedia
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, Total
from shared.platform.parameters import only_known
from shared.platform.querying import tenant_querying

QUERY_SECONDS = 10.0
_NARROW = "narrow it by `supplier`; leave out `total=exact`"

Key = Annotated[Line | None, Header(description="The event's id, unless the body has one.")]
# Room for the number of an event.
BatchKey = Annotated[
    Line | None,
    Header(
        max_length=250, description="Event number `i`, from 0, gets the id `<key>:<i>`, unless it has one."
    ),
]


class LoggedEvent(BaseModel):
    """What became of an event, when it was kept for good."""

    event_id: str
    event_id_derived: bool = Field(description="It had no id: this one was made for it.")
    investigation_id: UUID | None = Field(
        description="Null while it is in quarantine. Of a `resolve` that is of several investigations, the one with the"
        " latest error."
    )
    outcome: Outcome = Field(
        description="`created`: the first error of its investigation. `duplicate`: it was logged before, and counts once."
        " `quarantined`: its supplier is not known; it is logged when that is added."
    )
    first_seen: datetime | None = Field(description="The first error in the investigation, by time.")
    count: int = Field(description="Errors in the investigation.")
    late: bool = Field(description="It occurred more than 5 minutes before it was received.")


class BatchItem(BaseModel):
    """What became of one event: `status` 202 and the members of a logged event, or those of a problem."""

    model_config = ConfigDict(extra="allow")

    index: int = Field(description="Its place in the batch, from 0.")
    status: int = Field(description="As if it had come alone: 202, 409, 422 or 429.")
    event_id: str | None = None
    investigation_id: UUID | None = None
    outcome: Outcome | None = None
    code: str | None = Field(None, description="Of the problem, if it was refused.")
    detail: str | None = None
    hint: str | None = None
    retry_after: int | None = Field(None, description="Seconds, where its source's quota is used up.")


class BatchAnswer(BaseModel):
    items: list[BatchItem] = Field(description="For each event, in their order.")
    accepted: int
    refused: int


def events_router(
    engine: AsyncEngine, authenticator: Authenticator, logbook: Logbook, *, zone: ZoneInfo
) -> APIRouter:
    """Log events; see what waits in quarantine.

    Args:
        zone: Of times without an offset.
    """
    routes = APIRouter(tags=["investigations"])
    reader = Depends(authenticator.require("investigations:read"))
    Reader = Annotated[Principal, reader]  # noqa: N806 - a type
    Writer = Annotated[Principal, Depends(authenticator.require("investigations:write"))]  # noqa: N806 - a type
    intake = Intake(engine, logbook)

    async def logged(caller: Principal, new: NewInvestigationEvent, key: str | None) -> Response:
        one_id(new.event_id, key)
        event = reported(new, key=key, now=datetime.now(UTC))
        [answer] = await intake.log(caller.tenant, [event])
        if isinstance(answer, Problem):
            raise answer
        return _accepted(batching.members(answer))

    @routes.post(
        "/investigation-events",
        status_code=202,
        operation_id="log_investigation_event",
        summary="Log an error of a pipeline; it joins the investigation it belongs to, or opens one",
        description="Answered when it is kept for good. Sent again, it gets the same answer and counts once.",
        response_model=LoggedEvent,
        responses=problem_responses(401, 403, 409, 422, 429),
    )
    async def log(caller: Writer, new: NewInvestigationEvent, idempotency_key: Key = None) -> Response:
        return await logged(caller, new, idempotency_key)

    @routes.post(
        "/investigation-events/batch",
        status_code=202,
        operation_id="log_investigation_events",
        summary=f"Log up to {batching.MOST} events, each for itself",
        description="The body is a list, or an object with the list `events`, of at most 1 MiB. Those that are right are"
        " logged in one transaction, whatever is wrong with others; each has an item in the answer.",
        response_model=BatchAnswer,
        responses=problem_responses(401, 403, 422),
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": batching.SCHEMA}}}},
    )
    async def log_batch(
        caller: Writer, batch: Annotated[Any, Body()], idempotency_key: BatchKey = None
    ) -> Response:
        if isinstance(batch, bytes):  # as it came, of another type
            raise UnsupportedMedia(
                "media_type_unsupported",
                "this route takes JSON",
                hint="send the header Content-Type: application/json",
            )
        items = batching.read(batching.items_of(batch), key=idempotency_key, now=datetime.now(UTC))
        right = [item for item in items if not isinstance(item, Problem)]
        answers = iter(await intake.log(caller.tenant, right))
        return _accepted(
            batching.shown([item if isinstance(item, Problem) else next(answers) for item in items])
        )

    @routes.post(
        "/pricelens/log_event/",
        status_code=202,
        operation_id="log_pricelens_event",
        summary="Log an error as Pricelens took it",
        description="For pipelines that know no other way; new ones use `/investigation-events`, which this one answers as.",
        response_model=LoggedEvent,
        responses=problem_responses(401, 403, 409, 422, 429),
    )
    @routes.post("/pricelens/log_event", status_code=202, include_in_schema=False)
    async def log_old(caller: Writer, old: OldEvent, idempotency_key: Key = None) -> Response:
        return await logged(caller, from_old(old, zone), idempotency_key)

    @routes.get(
        "/investigation-events/quarantine",
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
        "/investigation-events/quarantine/suppliers",
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


def _accepted(answer: dict[str, Any]) -> Response:
    """It is as the response model says by the way it is made: to check that costs more than to log the event."""
    return Response(to_json(answer), 202, media_type="application/json")
