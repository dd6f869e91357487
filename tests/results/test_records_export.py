"""Exports: whole, of one snapshot, and never a piece that looks like all of it."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from decimal import Decimal
from uuid import uuid4

import pytest
import uvicorn
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from services.results.records import queries, repository, statements
from services.results.records.models import record_model
from shared.contracts.datasets import datasets
from shared.contracts.problems import Unavailable
from shared.platform.querying import Copies, NotTaken
from shared.reading.header import match_header
from tests.results.conftest import Results
from tests.results.given import Database, headers

PRODUCTS = datasets()["products"]
STRANGE = [
    'quote " and, comma',
    "two\nlines",
    "back\\slash \\n \\.",
    "=1+1",
    "ü 漢 🙂",
    "\\.",
    "tab\tand\x02\x01",
]


async def test_a_csv_export_is_the_records_as_a_file_has_them(results: Results, database: Database) -> None:
    for number, name in enumerate(STRANGE):
        await database.product(f"S-{number}", name=name, price=Decimal("1234.50"), import_id=uuid4())
    answer = await results.get("/records/products.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="products.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert list(rows[0]) == [field.name for field in PRODUCTS.fields]
    assert [row["name"] for row in rows] == STRANGE
    assert (rows[0]["price"], rows[0]["description"], rows[0]["active"]) == ("1234.50", "", "true")


async def test_an_ndjson_export_is_the_list_without_pages(results: Results, database: Database) -> None:
    for number, name in enumerate(STRANGE):
        await database.product(f"S-{number}", name=name, price=number or None)
    await database.product("other", tenant="other")
    asked = {"sort": "-price", "active": "true"}
    answer = await results.get("/records/products.ndjson", **asked)
    lines = answer.text.splitlines()
    for line in lines:
        record_model(PRODUCTS).model_validate_json(line)
    listed = (await results.get("/records/products", **asked)).json()["items"]
    assert [json.loads(line) for line in lines] == listed
    assert len(listed) == len(STRANGE)


async def test_an_export_of_nothing(results: Results) -> None:
    assert (await results.get("/records/products.csv")).text.count("\n") == 1
    assert (await results.get("/records/products.ndjson")).text == ""


async def test_each_dataset_can_be_exported_and_imported_again(results: Results) -> None:
    for dataset in datasets().values():
        header = (await results.get(f"/records/{dataset.name}.csv")).text.strip().split(",")
        assert header == [field.name for field in dataset.fields]
        taken = match_header(header, dataset.file_fields).columns
        assert {header[position]: name for name, position in taken.items()} == {
            field.name: field.name for field in dataset.file_fields
        }
        assert (await results.get(f"/records/{dataset.name}.ndjson")).text == ""


async def test_an_export_is_one_snapshot_while_records_change(
    engine: AsyncEngine, database: Database
) -> None:
    """Price and stock of all products add up to 0, in every committed state and in none in between."""
    await database.connection.execute("""
        INSERT INTO data.products (tenant, key, sku, name, description, price, stock_quantity)
        SELECT 'acme', n::text, n, 'x', repeat('long ', 400), 0, 0 FROM generate_series(1, 5000) n
    """)
    copies = Copies(engine, at_once=1, idle_seconds=30)
    seen = set()
    for _ in range(2):
        lines = b""
        changes = 0
        async with aclosing(copies.stream("acme", everything(), "lines")) as chunks:
            async for chunk in chunks:
                lines += chunk
                if (changes := changes + 1) > 5:
                    continue
                # What is exported last is changed and committed while the first is on its way.
                await database.connection.execute("""
                    WITH one AS (UPDATE data.products SET price = price + 1 WHERE key = '1')
                    UPDATE data.products SET stock_quantity = stock_quantity - 1 WHERE key = '999'
                """)
        records = [json.loads(line) for line in lines.splitlines()]
        assert len(records) == 5000
        assert sum(int(record["price"]) + record["stock_quantity"] for record in records) == 0
        seen.add(lines)
    assert len(seen) == 2, "nothing was changed meanwhile"


def everything():
    listed = queries.listed_of(PRODUCTS, "acme", [])
    return repository.clause_of(statements.lines(listed))


async def many(database: Database) -> None:
    await database.connection.execute("""
        INSERT INTO data.products (tenant, key, sku, name, description)
        SELECT 'acme', n::text, n, 'x', repeat(md5(n::text), 100) FROM generate_series(1, 10000) n
    """)


async def test_no_more_exports_run_than_may(engine: AsyncEngine, database: Database) -> None:
    await many(database)
    copies = Copies(engine, at_once=1, idle_seconds=30)
    first = copies.stream("acme", everything(), "lines")
    assert await anext(first)
    with pytest.raises(Unavailable, match="exports are running"):
        await anext(copies.stream("acme", everything(), "lines"))
    await first.aclose()
    async with aclosing(copies.stream("acme", everything(), "lines")) as second:
        assert await anext(second)


async def begun(copies: Copies) -> AsyncGenerator[bytes]:
    """An export, as soon as there is room for one more."""
    while True:
        chunks = copies.stream("acme", everything(), "lines")
        try:
            await anext(chunks)
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            return chunks


async def test_a_client_that_stops_reading_holds_nothing(engine: AsyncEngine, database: Database) -> None:
    await many(database)
    copies = Copies(engine, at_once=1, idle_seconds=0.2)
    stuck = copies.stream("acme", everything(), "lines")
    assert await anext(stuck)
    async with asyncio.timeout(20), aclosing(await begun(copies)) as next_one:
        assert await anext(next_one)
    with pytest.raises(NotTaken):
        async for _ in stuck:
            pass


@asynccontextmanager
async def served(results: Results) -> AsyncIterator[int]:
    """The port of a real server, whose connections break as those of a deployment do."""
    config = uvicorn.Config(results.app, port=0, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def test_an_export_that_fails_in_the_middle_breaks_the_connection(
    results: Results, database: Database
) -> None:
    await many(database)
    async with served(results) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        token = headers(results.secret)["Authorization"]
        writer.write(
            f"GET /api/v1/records/products.csv HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\r\n".encode()
        )
        begin = await reader.readuntil(b"\r\n\r\n")
        assert begin.startswith(b"HTTP/1.1 200")
        await database.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'"
        )
        body = b""
        with suppress(ConnectionError), capture_logs():
            while piece := await reader.read(1 << 20):
                body += piece
        writer.close()
    assert body
    assert not body.endswith(b"0\r\n\r\n"), "it looks like all of it"
