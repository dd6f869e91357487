"""Routes that merge investigations, and split them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.investigations import merging
from services.notifier.investigations.reading import shown_one
from services.notifier.investigations.resources import Investigation, NewMerge, NewSplit
from shared.platform.auth import Authenticator, Principal
from shared.platform.bus import Publish
from shared.platform.edge import problem_responses
from shared.platform.tenancy import tenant_writing

_PROBLEMS = problem_responses(401, 403, 404, 409, 422)


def merging_router(engine: AsyncEngine, authenticator: Authenticator, *, publish: Publish) -> APIRouter:
    """`/investigations`: merge, split."""
    routes = APIRouter(prefix="/api/v1/investigations/{investigation_id}", tags=["investigations"])
    Writer = Annotated[Principal, Depends(authenticator.require("investigations:write"))]  # noqa: N806 - a type

    @routes.post(
        "/merge",
        operation_id="merge_investigation",
        summary="Make it part of another one: what belongs together is one investigation",
        description="All its errors are the other one's from then on, and those that come; what was decided about the other"
        " one holds for all of them. The answer is the other one. `split` takes it back.",
        responses=_PROBLEMS,
    )
    async def merge(caller: Writer, investigation_id: UUID, asked: NewMerge) -> Investigation:
        async with tenant_writing(engine, caller.tenant) as connection:
            await merging.merge(
                connection,
                caller.tenant,
                investigation_id,
                asked.into,
                note=asked.note,
                actor=caller.subject,
                publish=publish,
            )
            return await shown_one(connection, caller.tenant, asked.into)

    @routes.post(
        "/split",
        operation_id="split_investigation",
        summary="Make another investigation of some of its fingerprints: what does not belong together",
        description="The answer is the other one. It begins as this one has been decided about. If it has the very"
        " fingerprints that were merged from another one, it is that one again, by its old id, and as that was decided about"
        " before unless this one was since.",
        responses=_PROBLEMS,
    )
    async def split(caller: Writer, investigation_id: UUID, asked: NewSplit) -> Investigation:
        async with tenant_writing(engine, caller.tenant) as connection:
            part_id = await merging.split(
                connection,
                caller.tenant,
                investigation_id,
                asked.fingerprints,
                note=asked.note,
                actor=caller.subject,
                publish=publish,
            )
            return await shown_one(connection, caller.tenant, part_id)

    return routes
