"""The verb of records: answer what a dataset holds. All for one tenant."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.records import repository, statements
from services.results.records.candidates import is_frequent, lone_words
from services.results.records.filters import filters_of
from services.results.records.ordering import Order, Pages, Position, order_of
from services.results.records.resources import ShownRecord, page_content
from services.results.records.statements import Listed, Part
from services.results.tables import AnyRow
from shared.contracts.datasets import Dataset
from shared.contracts.problems import NotFound
from shared.contracts.record_keys import record_key
from shared.platform.paging import HowTotal, page_of, total_of

Query = Sequence[tuple[str, str]]  # the query parameters of a request, as they came


@dataclass(frozen=True)
class AskedPage:
    """A page that a request asks for, whose parameters were understood."""

    listed: Listed
    pages: Pages
    after: Position | None
    limit: int


def listed_of(dataset: Dataset, tenant: str, query: Query, *, paged: bool = True) -> Listed:
    """The records that a request asks for, a page of them or all.

    Raises:
        Unprocessable: `filter_unknown`, `filter_invalid`, `sort_invalid`.
    """
    return Listed(dataset, tenant, filters_of(dataset, query, paged=paged), order_of(dataset, query))


def asked_page(listed: Listed, query: Query, *, cursor: str | None, limit: int) -> AskedPage:
    """The page of them.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    pages = Pages(listed.dataset, query, listed.order)
    return AskedPage(listed, pages, pages.position(cursor), limit)


async def list_records(connection: AsyncConnection, asked: AskedPage, *, total: HowTotal | None) -> str:
    """The page as JSON text."""
    page, last = page_of(await _rows(connection, asked), asked.limit)
    is_all = asked.after is None and last is None
    counted = len(page) if is_all and total else await _total(connection, asked.listed, total)
    cursor = None if last is None else asked.pages.cursor((last.place, last.key))
    return page_content([row.shown for row in page], cursor, counted)


async def _rows(connection: AsyncConnection, asked: AskedPage) -> list[AnyRow]:
    """One row more than the page has, if there is one: first records with a value to sort by, then those without."""
    rows: list[AnyRow] = []
    by_words = await _is_by_words(connection, asked)
    if not by_words and (statements.walks_words(asked.listed) or statements.walks_all(asked.listed)):
        await repository.walk(connection)
    after = asked.after
    for part in _parts(asked.listed.order, after):
        limit = asked.limit + 1 - len(rows)
        if limit:
            statement = statements.page(asked.listed, part=part, after=after, limit=limit, by_words=by_words)
            rows += await repository.rows_of(connection, statement)
        after = None
    return rows


async def _is_by_words(connection: AsyncConnection, asked: AskedPage) -> bool:
    """Whether to let the index of words gather what may match: not where that is much, and the page is met on a walk."""
    if not statements.is_by_words(asked.listed):
        return False
    explained = statements.candidates_shares(asked.listed)
    records, found, gathered = await repository.planned(connection, explained)
    lone = lone_words(asked.listed.dataset, asked.listed.filters)
    return not is_frequent(records=records, found=found, gathered=gathered, wanted=asked.limit, lone=lone)


def _parts(order: Order, after: Position | None) -> Sequence[Part]:
    if order.column is None or not order.column.nullable:
        return ("valued",)
    return ("valueless",) if after is not None and after[0] is None else ("valued", "valueless")


async def _total(connection: AsyncConnection, listed: Listed, how: HowTotal | None) -> int | None:
    return await total_of(connection, repository.counted(statements.count(listed)), how)


async def get_record(
    connection: AsyncConnection, tenant: str, dataset: Dataset, record_id: str
) -> ShownRecord:
    """One record by its id.

    Raises:
        NotFound: `record_not_found`.
    """
    key = record_key(dataset, record_id)
    row = await repository.row_of(connection, statements.one(dataset, tenant, key))
    if row is None:
        raise NotFound(
            "record_not_found",
            f"dataset {dataset.name!r} has no record {record_id!r}",
            hint=f"the id is what `id` says in GET /api/v1/records/{dataset.name}",
        )
    return ShownRecord(row.shown, row.etag)
