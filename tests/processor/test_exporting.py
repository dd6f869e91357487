"""An export while a real import runs."""

import json
from contextlib import aclosing

import pytest

from services.results.records import queries, repository, statements
from shared.contracts.datasets import datasets
from shared.platform.database import engine_for
from shared.platform.querying import Copies
from tests.processor.conftest import Mill
from tests.processor.given import written

RECORDS = 500
LONG = "long " * 2000  # so that most of an export is still to be made when its first piece is there


def products(price: int) -> bytes:
    rows = ((f"s{number:05}", "x", LONG, price) for number in range(RECORDS))
    return written(("sku", "name", "description", "price"), rows)


@pytest.fixture
async def copies(database_url: str):
    engine = engine_for(database_url, "results", pool_size=1)
    yield Copies(engine, at_once=1)
    await engine.dispose()


async def test_an_export_has_what_was_committed_when_it_began(mill: Mill, copies: Copies) -> None:
    """The import writes over every record and ends, slice after slice, while the export is under way."""
    pipeline = mill.pipeline(slice_bytes=1 << 20)
    await mill.load(products(1), pipeline, dataset="products")
    second = await mill.take_on(products(2), dataset="products")
    begun = (await mill.begin(second, pipeline, records=100))["rows_processed"]
    assert 100 <= begun < RECORDS - 100

    listed = queries.listed_of(datasets()["products"], "acme", [])
    async with aclosing(
        copies.stream("acme", repository.clause_of(statements.lines(listed)), "lines")
    ) as chunks:
        exported = await anext(chunks)
        done = await mill.finish(second, pipeline)
        assert (done["status"], done["rows_updated"]) == ("completed", RECORDS)
        async for chunk in chunks:
            exported += chunk

    records = [json.loads(line) for line in exported.splitlines()]
    shown = {int(record["sku"][1:]): (record["price"], record["import_id"]) for record in records}
    assert len(records) == len(shown) == RECORDS
    new = {number for number, (price, _) in shown.items() if price == "2"}
    assert new == {number for number, (_, by) in shown.items() if by == str(second)} == set(range(begun))
