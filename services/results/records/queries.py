"""The verb of records: answer what a dataset holds. All for one tenant."""

from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.cursors import record_cursors
from services.results.records import repository
from services.results.records.resources import Record, RecordPage, record_of
from services.results.tables import records_view
from shared.contracts.datasets import Dataset
from shared.contracts.problems import NotFound
from shared.platform.paging import page_of


async def list_records(
    connection: AsyncConnection, tenant: str, dataset: Dataset, *, cursor: str | None, limit: int
) -> RecordPage:
    """A page of a dataset's records, by key.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    this = f"records/{dataset.name}"
    after = record_cursors.decode(this, cursor)
    view = records_view(dataset)
    rows = await repository.list_records(connection, view, tenant, after=after, limit=limit + 1)
    page, last = page_of(rows, limit)
    return RecordPage(
        items=[record_of(row) for row in page],
        next_cursor=last and record_cursors.encode(this, last.key),
    )


async def get_record(connection: AsyncConnection, tenant: str, dataset: Dataset, key: str) -> Record:
    """One record by its key.

    Raises:
        NotFound: `record_not_found`.
    """
    row = await repository.find_record(connection, records_view(dataset), tenant, key)
    if row is None:
        raise NotFound(
            "record_not_found",
            f"dataset {dataset.name!r} has no record {key!r}",
            hint=f"the id is what `id` says in GET /api/v1/records/{dataset.name}",
        )
    return record_of(row)
