"""Routes of investigations and of the events that they are made of."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Header, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.investigations import repository
from services.notifier.investigations.grouping import Reported, Severity, digest_of
from services.notifier.investigations.logbook import Outcome, Publish, log_event
from services.notifier.texts import Line, LongLine, Paragraph, SmallJson
from shared.contracts.problems import NotFound, Unprocessable
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Cursors, Limit, page_of
from shared.platform.tenancy import tenant_reading, tenant_writing

CLOCK_TOLERANCE = timedelta(minutes=5)  # how far ahead of ours a reporter's clock may be
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST_EVENTS = 20

_CURSORS = Cursors[UUID](UUID)

State = Literal["open", "acknowledged", "resolved", "muted", "reopened"]


class ReportedFile(BaseModel):
    """The file in which the error was."""

    model_config = ConfigDict(extra="forbid")

    path: LongLine
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    size: Annotated[int, Field(ge=0, description="Bytes.")] | None = None
    rows: Annotated[int, Field(ge=0)] | None = None


class NewInvestigationEvent(BaseModel):
    model_config = ConfigDict(extra="forbid")

    event_id: Line | None = Field(
        None, description="Unique within the tenant: the same again counts once. Also as `Idempotency-Key`."
    )
    occurred_at: AwareDatetime | None = Field(
        None, ge=EARLIEST, description="With an offset; now, if not given."
    )
    supplier: Line | None = None
    stage: Line = Field(description="Where it happened: `load_mail`, `load_ftp`, `consolidate`, `process`, …")
    reason: Line = Field(description="What happened, as a code.")
    severity: Severity = "error"
    summary: Paragraph | None = Field(
        None, description="For people. Numbers, ids and paths in it do not matter for the grouping."
    )
    file: ReportedFile | None = None
    extra: SmallJson | None = Field(None, description="Any JSON up to 16 KiB, kept as it is.")


class LoggedEvent(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    event_id: str
    investigation_id: UUID
    outcome: Outcome
    first_seen: datetime
    count: int = Field(description="Events in the investigation.")


class Investigation(BaseModel):
    """Errors that belong together: one supplier, stage, reason and kind of detail."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    state: State
    supplier: str | None
    stage: str
    reason: str
    severity: Severity = Field(description="The highest of its events.")
    summary: str = Field(description="Of the event that opened it.")
    count: int = Field(validation_alias="event_count")
    first_seen: datetime
    last_seen: datetime
    opened_at: datetime


class InvestigationPage(BaseModel):
    items: list[Investigation]
    next_cursor: str | None


class InvestigationEvent(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    event_id: str
    occurred_at: datetime
    received_at: datetime
    supplier: str | None
    stage: str
    reason: str
    severity: Severity
    summary: str | None
    file: dict[str, Any] | None
    extra: dict[str, Any] | None


class InvestigationWithEvents(Investigation):
    events: list[InvestigationEvent] = Field(description=f"The latest {LATEST_EVENTS}, the newest first.")


def investigations_router(
    engine: AsyncEngine, authenticator: Authenticator, *, publish: Publish
) -> APIRouter:
    """Log an event; list and get investigations."""
    routes = APIRouter(tags=["investigations"])
    Reader = Annotated[Principal, Depends(authenticator.require("investigations:read"))]  # noqa: N806 - a type
    Writer = Annotated[Principal, Depends(authenticator.require("investigations:write"))]  # noqa: N806 - a type

    @routes.post(
        "/investigation-events",
        status_code=202,
        operation_id="log_investigation_event",
        summary="Log an error of a pipeline; it joins the investigation it belongs to, or opens one",
        responses=problem_responses(401, 403, 409, 422),
    )
    async def log(
        caller: Writer, new: NewInvestigationEvent, idempotency_key: Annotated[Line | None, Header()] = None
    ) -> LoggedEvent:
        reported = _reported(new, idempotency_key, datetime.now(UTC))
        async with tenant_writing(engine, caller.tenant) as connection:
            logged = await log_event(connection, caller.tenant, reported, publish)
        return LoggedEvent.model_validate(logged)

    @routes.get(
        "/investigations",
        operation_id="list_investigations",
        summary="Investigations, the newest first",
        responses=problem_responses(401, 403, 422),
    )
    async def list_all(
        caller: Reader,
        equal: Annotated[dict[str, str], Depends(_filters)],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> InvestigationPage:
        before = _CURSORS.decode("investigations", cursor)
        async with tenant_reading(engine, caller.tenant) as connection:
            rows = await repository.list_investigations(
                connection, caller.tenant, equal=equal, limit=limit, before=before
            )
        page, last = page_of(rows, limit)
        return InvestigationPage(
            items=[Investigation.model_validate(row) for row in page],
            next_cursor=last and _CURSORS.encode("investigations", last.id),
        )

    @routes.get(
        "/investigations/{investigation_id}",
        operation_id="get_investigation",
        summary="One investigation with its latest events",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def get(caller: Reader, investigation_id: UUID) -> InvestigationWithEvents:
        async with tenant_reading(engine, caller.tenant) as connection:
            row = await repository.investigation(connection, caller.tenant, investigation_id)
            if row is None:
                raise NotFound("investigation_not_found", f"there is no investigation {investigation_id}")
            events = await repository.latest_events(connection, investigation_id, limit=LATEST_EVENTS)
        shown = [InvestigationEvent.model_validate(event) for event in events]
        return InvestigationWithEvents.model_validate({**row._mapping, "events": shown})

    return routes


def _filters(
    state: Annotated[State | None, Query()] = None,
    stage: Annotated[Line | None, Query()] = None,
    reason: Annotated[Line | None, Query()] = None,
    supplier: Annotated[Line | None, Query()] = None,
) -> dict[str, str]:
    """Only investigations that are equal in each that is given."""
    given = {"state": state, "stage": stage, "reason": reason, "supplier": supplier}
    return {name: value for name, value in given.items() if value is not None}


def _reported(new: NewInvestigationEvent, idempotency_key: str | None, now: datetime) -> Reported:
    """The event as it is logged.

    Raises:
        Unprocessable: `occurred_in_future`; or `event_id_ambiguous`, body and header name different ids.
    """
    if new.occurred_at and new.occurred_at > now + CLOCK_TOLERANCE:
        raise Unprocessable(
            "occurred_in_future",
            f"`occurred_at` is more than 5 minutes ahead of our clock, which says {now.isoformat()}",
        )
    if new.event_id and idempotency_key and new.event_id != idempotency_key:
        raise Unprocessable(
            "event_id_ambiguous", "`event_id` and the header Idempotency-Key differ", hint="send one of them"
        )
    sent = new.model_dump(mode="json", exclude={"event_id"}, exclude_none=True)
    return Reported(
        event_id=new.event_id or idempotency_key or str(uuid4()),
        occurred_at=new.occurred_at or now,
        supplier=new.supplier,
        stage=new.stage,
        reason=new.reason,
        severity=new.severity,
        summary=new.summary,
        detail=new.summary or "",
        digest=digest_of(sent),
        file=sent.get("file"),
        extra=new.extra,
    )
