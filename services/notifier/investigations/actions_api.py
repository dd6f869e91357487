"""Routes that act on investigations."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Depends
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.investigations.actions import act
from services.notifier.investigations.deciding import Decision
from services.notifier.investigations.reading import shown, shown_one
from services.notifier.investigations.resources import (
    MOST_AT_ONCE,
    ActionNote,
    BulkAction,
    BulkOutcomes,
    Investigation,
    NewMute,
    NewNote,
    outcome_of,
)
from shared.platform.auth import Authenticator, Principal
from shared.platform.bus import Publish
from shared.platform.edge import problem_responses
from shared.platform.tenancy import tenant_writing

_PROBLEMS = problem_responses(401, 403, 404, 409, 422)
_TWICE = " The same again changes nothing, but that its note is kept."

SomeNote = Annotated[ActionNote | None, Body()]


def actions_router(engine: AsyncEngine, authenticator: Authenticator, *, publish: Publish) -> APIRouter:
    """`/investigations`: acknowledge, resolve, reopen, mute, note; one or many."""
    routes = APIRouter(prefix="/api/v1/investigations", tags=["investigations"])
    Writer = Annotated[Principal, Depends(authenticator.require("investigations:write"))]  # noqa: N806 - a type

    async def done(caller: Principal, investigation_id: UUID, decision: Decision) -> Investigation:
        async with tenant_writing(engine, caller.tenant) as connection:
            problems = await act(
                connection,
                caller.tenant,
                [investigation_id],
                decision,
                actor=caller.subject,
                publish=publish,
            )
            if problem := problems[investigation_id]:
                raise problem
            return await shown_one(connection, caller.tenant, investigation_id)

    @routes.post(
        "/actions",
        operation_id="act_on_investigations",
        summary=f"The same action for up to {MOST_AT_ONCE} investigations",
        description="One that cannot be done leaves the others as they are asked for; the answer has what became of each.",
        responses=problem_responses(401, 403, 422),
    )
    async def act_on_many(caller: Writer, asked: BulkAction) -> BulkOutcomes:
        async with tenant_writing(engine, caller.tenant) as connection:
            problems = await act(
                connection,
                caller.tenant,
                asked.ids,
                asked.decision,
                actor=caller.subject,
                publish=publish,
            )
            present = await shown(connection, caller.tenant, asked.ids)
        items = [outcome_of(each, problem, present.get(each)) for each, problem in problems.items()]
        refused = sum(problem is not None for problem in problems.values())
        return BulkOutcomes(items=items, done=len(items) - refused, refused=refused)

    @routes.post(
        "/{investigation_id}/acknowledge",
        operation_id="acknowledge_investigation",
        summary="Say that somebody takes care of it",
        description="It ends a mute, and ends itself when the investigation is resolved." + _TWICE,
        responses=_PROBLEMS,
    )
    async def acknowledge(caller: Writer, investigation_id: UUID, said: SomeNote = None) -> Investigation:
        return await done(caller, investigation_id, Decision("acknowledge", _note_of(said)))

    @routes.post(
        "/{investigation_id}/resolve",
        operation_id="resolve_investigation",
        summary="Say that all its errors are over",
        description="All that have occurred by now. An error that occurs later reopens it; one that is only heard of later"
        " does not. It ends an acknowledgement and a mute." + _TWICE,
        responses=_PROBLEMS,
    )
    async def resolve(caller: Writer, investigation_id: UUID, said: SomeNote = None) -> Investigation:
        return await done(caller, investigation_id, Decision("resolve", _note_of(said)))

    @routes.post(
        "/{investigation_id}/reopen",
        operation_id="reopen_investigation",
        summary="Say that its errors are not over, or are to be looked at again",
        description="It takes back a resolution, an acknowledgement or a mute." + _TWICE,
        responses=_PROBLEMS,
    )
    async def reopen(caller: Writer, investigation_id: UUID, said: SomeNote = None) -> Investigation:
        return await done(caller, investigation_id, Decision("reopen", _note_of(said)))

    @routes.post(
        "/{investigation_id}/mute",
        operation_id="mute_investigation",
        summary="Hear nothing of it: until a date, until so many more errors, or for good",
        description="It takes back an acknowledgement. A mute until a date ends within about a minute of it. When it has ended"
        " and there are errors, the investigation is told to be reopened." + _TWICE,
        responses=_PROBLEMS,
    )
    async def mute(
        caller: Writer, investigation_id: UUID, asked: Annotated[NewMute | None, Body()] = None
    ) -> Investigation:
        terms = asked or NewMute()
        decision = Decision("mute", terms.note, terms.until, terms.events)
        return await done(caller, investigation_id, decision)

    @routes.post(
        "/{investigation_id}/note",
        operation_id="note_investigation",
        summary="Say something of it, in whatever state it is",
        responses=_PROBLEMS,
    )
    async def note(caller: Writer, investigation_id: UUID, said: NewNote) -> Investigation:
        return await done(caller, investigation_id, Decision("note", said.note))

    return routes


def _note_of(said: ActionNote | None) -> str | None:
    return None if said is None else said.note
