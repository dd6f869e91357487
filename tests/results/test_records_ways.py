"""Which way a page of records is found: along an index, so that it costs what is on it, or gathered by words."""

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.results.records import queries, repository, statements
from services.results.records.candidates import is_frequent
from services.results.records.conditions import Statement
from shared.contracts.datasets import datasets
from shared.platform.querying import tenant_querying
from tests.results.given import Database

PRODUCTS = datasets()["products"]
MANY = """
    INSERT INTO data.products (tenant, key, sku, name, price)
    SELECT 'acme', 'k-' || md5(n::text), 'K-' || md5(n::text), 'Bolt ' || n, n % 1000 FROM generate_series(1, 20000) n
"""


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The nodes of the plans of what is read from now on, as it is read."""
    seen: list[str] = []
    rows_of = repository.rows_of

    def note(plan: dict[str, Any]) -> None:
        seen.append(plan["Node Type"])
        for part in plan.get("Plans", ()):
            note(part)

    async def noting(connection: AsyncConnection, statement: Statement) -> Any:
        explained = Statement(f"EXPLAIN (FORMAT JSON) {statement.sql}", statement.parameters)
        [[[document]]] = await rows_of(connection, explained)
        note(document["Plan"])
        return await rows_of(connection, statement)

    monkeypatch.setattr(repository, "rows_of", noting)
    return seen


async def test_a_deep_page_by_what_no_index_knows_is_met_on_a_walk(
    engine: AsyncEngine, database: Database, nodes: list[str]
) -> None:
    await database.connection.execute(MANY)
    await database.connection.execute("ANALYZE data.products")
    keys = await database.connection.fetch("SELECT key FROM data.products ORDER BY key OFFSET 18000 LIMIT 1")
    query = [("price__gte", "100"), ("price__lt", "300")]
    listed = queries.listed_of(PRODUCTS, "acme", query)
    asked = queries.asked_page(listed, query, cursor=None, limit=50)
    deep = queries.AskedPage(asked.listed, asked.pages, (None, keys[0]["key"]), asked.limit)
    async with tenant_querying(engine, "acme", seconds=10) as connection:
        assert '"next_cursor":"' in await queries.list_records(connection, deep, total=None)
    assert "Index Scan" in nodes
    assert "Bitmap Heap Scan" not in nodes
    assert nodes.count("Sort") <= 1  # of what is on the page


@pytest.mark.parametrize(
    ("query", "walks"),
    [
        ([], False),
        ([("price__gt", "1")], True),
        ([("name__contains", "x")], True),
        ([("price__gt", "1"), ("sku__prefix", "a")], False),  # which an index knows
        ([("price__gt", "1"), ("sort", "-name")], False),
    ],
)
def test_what_is_walked_along_by_force(query: list[tuple[str, str]], walks: bool) -> None:
    assert statements.walks_all(queries.listed_of(PRODUCTS, "acme", query)) == walks


@pytest.mark.parametrize(
    ("found", "gathered", "lone", "frequent"),
    [
        (7000, 7000, 0, True),
        (366, 6900, 0, True),  # glass coat h
        (35, 6900, 0, False),  # glass coat zz
        (10, 10, 0, False),
        (5000, 5000, 1, False),  # what the planner says of a word of which it knows nothing
        (50_000, 50_000, 1, True),
    ],
)
def test_frequent_words_are_walked_along(found: float, gathered: float, lone: int, frequent: bool) -> None:
    assert is_frequent(records=10**6, found=found, gathered=gathered, wanted=50, lone=lone) == frequent
