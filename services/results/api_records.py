"""HTTP: the records of every dataset, and what the datasets are."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results import queries
from services.results.resources import DatasetPage, Record, RecordPage
from shared.contracts.datasets import Dataset, datasets
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, StorableText
from shared.platform.tenancy import tenant_reading


async def _declared(dataset: Annotated[str, Path(description="As `GET /datasets` names it")]) -> Dataset:
    return queries.find_dataset(dataset)


Declared = Annotated[Dataset, Depends(_declared)]

_CSV: dict[int | str, dict[str, Any]] = {
    200: {"description": "CSV (RFC 4180)", "content": {"text/csv": {"schema": {"type": "string"}}}}
}


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


def datasets_router(auth: Authenticator) -> APIRouter:
    """`/datasets`: the declarations and their template files."""
    router = APIRouter(
        prefix="/datasets", tags=["datasets"], dependencies=[Depends(auth.require("imports:read"))]
    )

    @router.get(
        "",
        summary="What kinds of file there are",
        response_model_exclude_none=True,
        responses=problem_responses(401, 403),
    )
    async def list_datasets() -> DatasetPage:
        return DatasetPage(items=list(datasets().values()))

    @router.get(
        "/{dataset}",
        summary="The declaration of a dataset (Table Schema)",
        response_model_exclude_none=True,
        responses=problem_responses(401, 403, 404, 422),
    )
    async def get_dataset(declared: Declared) -> Dataset:
        return declared

    @router.get(
        "/{dataset}/template.csv",
        summary="A file to begin with: the header and one example record",
        response_class=Response,
        responses=_CSV | problem_responses(401, 403, 404, 422),
    )
    async def get_template(declared: Declared) -> Response:
        disposition = f'attachment; filename="{declared.name}.csv"'
        return Response(
            queries.template_csv(declared),
            media_type="text/csv",
            headers={"Content-Disposition": disposition},
        )

    return router
