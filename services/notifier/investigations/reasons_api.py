"""Routes of the reasons of errors."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.investigations.reasons import change_reason, counts_of, list_reasons
from services.notifier.texts import Line, Paragraph
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Cursors, Limit, StorableText, page_of
from shared.platform.parameters import only_known
from shared.platform.tenancy import tenant_reading, tenant_writing

_CURSORS = Cursors[str](StorableText)


class Reason(BaseModel):
    """Why an error occurred, by a code."""

    code: str
    title: str | None
    description: str | None
    known: bool = Field(
        description="It is known everywhere. What is not was brought by an event, and is as good."
    )
    reviewed: bool = Field(description="Somebody has looked at it; what is known everywhere need not be.")
    events: int = Field(description="Errors that occurred in the last 30 days, today the last one.")
    first_seen: datetime | None = Field(description="When the first error of it occurred.")


class ReasonPage(BaseModel):
    items: list[Reason]
    next_cursor: str | None


class ReasonChange(BaseModel):
    """What to change of a reason; what is left out stays. null: as it is known everywhere, or nothing."""

    model_config = ConfigDict(extra="forbid")

    title: Line | None = None
    description: Paragraph | None = None
    reviewed: bool = False

    @property
    def changes(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


def reasons_router(engine: AsyncEngine, authenticator: Authenticator, *, zone: ZoneInfo) -> APIRouter:
    """`/investigation-reasons`: list, change."""
    routes = APIRouter(prefix="/api/v1/investigation-reasons", tags=["investigations"])
    reader = Depends(authenticator.require("investigations:read"))
    admin = Depends(authenticator.require("investigations:admin"))

    @routes.get(
        "",
        operation_id="list_investigation_reasons",
        summary="The reasons of errors, by code",
        description="Those that are known everywhere, and those that events have brought: a code that is new is taken as it"
        " is, and waits here to be reviewed.",
        responses=problem_responses(401, 403, 422),
        dependencies=[reader, Depends(only_known)],
    )
    async def list_all(
        caller: Annotated[Principal, reader],
        reviewed: Annotated[
            bool | None, Query(description="Only those that are reviewed, or are not")
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> ReasonPage:
        this = f"investigation-reasons/{reviewed}"
        after = _CURSORS.decode(this, cursor)
        async with tenant_reading(engine, caller.tenant) as connection:
            found = await list_reasons(
                connection, caller.tenant, reviewed=reviewed, after=after, limit=limit + 1
            )
            rows, last = page_of(found, limit)
            items = await shown(connection, caller.tenant, rows)
        return ReasonPage(items=items, next_cursor=last and _CURSORS.encode(this, last.code))

    async def shown(connection: AsyncConnection, tenant: str, rows: Sequence[Row[Any]]) -> list[Reason]:
        today = datetime.now(zone).date()
        counts = await counts_of(connection, tenant, [row.code for row in rows], today)
        return [_reason_of(row, counts.get(row.code)) for row in rows]

    @routes.patch(
        "/{code:path}",
        operation_id="change_investigation_reason",
        summary="Say what a reason means, or that it is reviewed",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def change(
        caller: Annotated[Principal, admin],
        code: Annotated[Line, Path(description="Of the reason, percent-encoded.")],
        new: ReasonChange,
    ) -> Reason:
        async with tenant_writing(engine, caller.tenant) as connection:
            await change_reason(connection, caller.tenant, code, new.changes)
            rows = await list_reasons(connection, caller.tenant, code=code, limit=1)
            [reason] = await shown(connection, caller.tenant, rows)
        return reason

    return routes


def _reason_of(row: Row[Any], counted: Row[Any] | None) -> Reason:
    first = [moment for moment in (row.first_seen, counted and counted.first_seen) if moment is not None]
    return Reason(
        code=row.code,
        title=row.title,
        description=row.description,
        known=row.known,
        reviewed=row.reviewed,
        events=counted.events if counted else 0,
        first_seen=min(first, default=None),
    )
