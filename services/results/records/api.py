"""HTTP: the records of every dataset."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.datasets.api import Declared
from services.results.records import queries
from services.results.records.resources import Record, RecordPage
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, StorableText
from shared.platform.tenancy import tenant_reading


def records_router(engine: AsyncEngine, auth: Authenticator) -> APIRouter:
    """`/records/{dataset}`: list and get."""
    router = APIRouter(prefix="/records", tags=["records"])
    reader = Depends(auth.require("records:read"))

    @router.get(
        "/{dataset}",
        summary="List the records of a dataset, by key",
        responses=problem_responses(401, 403, 404, 422, 503),
    )
    async def list_records(
        caller: Annotated[Principal, reader],
        declared: Declared,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> RecordPage:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await queries.list_records(connection, caller.tenant, declared, cursor=cursor, limit=limit)

    @router.get(
        "/{dataset}/{record_id:path}",
        summary="One record",
        responses=problem_responses(401, 403, 404, 422, 503),
    )
    async def get_record(
        caller: Annotated[Principal, reader],
        declared: Declared,
        record_id: Annotated[StorableText, Path(description="The record's `id`; may contain `/`")],
    ) -> Record:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await queries.get_record(connection, caller.tenant, declared, record_id)

    return router
