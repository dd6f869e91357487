"""HTTP: what the datasets are."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from services.results.datasets import queries
from services.results.datasets.resources import DatasetPage
from shared.contracts.datasets import Dataset, datasets
from shared.platform.auth import Authenticator
from shared.platform.edge import problem_responses


async def _declared(dataset: Annotated[str, Path(description="As `GET /datasets` names it")]) -> Dataset:
    return queries.find_dataset(dataset)


Declared = Annotated[Dataset, Depends(_declared)]

_CSV: dict[int | str, dict[str, Any]] = {
    200: {"description": "CSV (RFC 4180)", "content": {"text/csv": {"schema": {"type": "string"}}}}
}


def datasets_router(auth: Authenticator) -> APIRouter:
    """`/datasets`: the declarations and their template files. They are nobody's data: whoever has a token may see them."""
    router = APIRouter(prefix="/api/v1/datasets", tags=["datasets"], dependencies=[Depends(auth.caller)])

    @router.get(
        "",
        summary="What kinds of file there are",
        response_model_exclude_none=True,
        responses=problem_responses(401),
    )
    async def list_datasets() -> DatasetPage:
        return DatasetPage(items=list(datasets().values()))

    @router.get(
        "/{dataset}",
        summary="The declaration of a dataset (Table Schema)",
        response_model_exclude_none=True,
        responses=problem_responses(401, 404, 422),
    )
    async def get_dataset(declared: Declared) -> Dataset:
        return declared

    @router.get(
        "/{dataset}/template.csv",
        summary="A file to begin with: the header and one example record",
        response_class=Response,
        responses=_CSV | problem_responses(401, 404, 422),
    )
    async def get_template(declared: Declared) -> Response:
        disposition = f'attachment; filename="{declared.name}.csv"'
        return Response(
            queries.template_csv(declared),
            media_type="text/csv",
            headers={"Content-Disposition": disposition},
        )

    return router
