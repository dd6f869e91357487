"""Routes that log investigation events, alone or in batches."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Body, Depends, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.logbook import batching
from services.notifier.logbook.intake import Intake
from services.notifier.logbook.logbook import Logbook, Outcome
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
from shared.platform.edge import by_hand, problem_responses

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


_Model = TypeVar("_Model", bound=BaseModel)


def events_router(
    engine: AsyncEngine, authenticator: Authenticator, logbook: Logbook, *, zone: ZoneInfo
) -> APIRouter:
    """Log events.

    Args:
        zone: Of times without an offset.
    """
    routes = APIRouter(prefix="/api/v1", tags=["investigations"])
    Writer = Annotated[Principal, Depends(authenticator.require("investigations:write"))]  # noqa: N806 - a type
    intake = Intake(engine, logbook)

    async def logged(caller: Principal, new: NewInvestigationEvent, key: str | None) -> Response:
        one_id(new.event_id, key)
        event = reported(new, key=key, now=datetime.now(UTC))
        [answer] = await intake.log(caller.tenant, [event])
        if isinstance(answer, Problem):
            raise answer
        return _accepted(batching.members(answer))

    async def log_plain(request: Request) -> Response | None:
        """`log`, if nothing is to be said of the request but what became of the event."""
        new = await _plain(request, NewInvestigationEvent)
        caller = new and await authenticator.plain_caller(request, "investigations:write")
        return await logged(caller, new, None) if caller and new else None

    async def log(caller: Writer, new: NewInvestigationEvent, idempotency_key: Key = None) -> Response:
        return await logged(caller, new, idempotency_key)

    routes.add_api_route(
        "/investigation-events",
        log,
        methods=["POST"],
        route_class_override=by_hand(log_plain),
        status_code=202,
        operation_id="log_investigation_event",
        summary="Log an error of a pipeline; it joins the investigation it belongs to, or opens one",
        description="Answered when it is kept for good. Sent again, it gets the same answer and counts once.",
        response_model=LoggedEvent,
        responses=problem_responses(401, 403, 409, 422, 429),
    )

    async def logged_batch(caller: Principal, events: Sequence[Any], key: str | None) -> Response:
        items = batching.read(events, key=key, now=datetime.now(UTC))
        right = [item for item in items if not isinstance(item, Problem)]
        answers = iter(await intake.log(caller.tenant, right))
        return _accepted(
            batching.shown([item if isinstance(item, Problem) else next(answers) for item in items])
        )

    async def log_plain_batch(request: Request) -> Response | None:
        """`log_batch`, if nothing is to be said of the request but what became of the events."""
        batch = await _plain(request, batching.PlainBatch)
        caller = batch and await authenticator.plain_caller(request, "investigations:write")
        return await logged_batch(caller, batch.events, None) if caller and batch else None

    async def log_batch(
        caller: Writer, batch: Annotated[Any, Body()], idempotency_key: BatchKey = None
    ) -> Response:
        if isinstance(batch, bytes):  # as it came, of another type
            raise UnsupportedMedia(
                "media_type_unsupported",
                "this route takes JSON",
                hint="send the header Content-Type: application/json",
            )
        return await logged_batch(caller, batching.items_of(batch), idempotency_key)

    routes.add_api_route(
        "/investigation-events/batch",
        log_batch,
        methods=["POST"],
        route_class_override=by_hand(log_plain_batch),
        status_code=202,
        operation_id="log_investigation_events",
        summary=f"Log up to {batching.MOST} events, each for itself",
        description="The body is a list, or an object with the list `events`, of at most 1 MiB. Those that are right are"
        " logged in one transaction, whatever is wrong with others; each has an item in the answer.",
        response_model=BatchAnswer,
        responses=problem_responses(401, 403, 422),
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": batching.SCHEMA}}}},
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

    return routes


async def _plain(request: Request, model: type[_Model]) -> _Model | None:
    """What a request brings, if it is JSON, has no key beside it, and nothing is wrong with it."""
    if request.headers.get("Content-Type") != "application/json" or "Idempotency-Key" in request.headers:
        return None
    try:
        return model.model_validate_json(await request.body())
    except ValidationError:
        return None


def _accepted(answer: dict[str, Any]) -> Response:
    """It is as the response model says by the way it is made: to check that costs more than to log the event."""
    return Response(to_json(answer), 202, media_type="application/json")
