"""Exports: whole, of one snapshot, and never a piece that looks like all of it."""

import asyncio
import csv
import io
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing, suppress
from decimal import Decimal
from uuid import uuid4

import pytest
import uvicorn
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import Message
from structlog.testing import capture_logs

from services.results.records import export, queries, repository, statements
from services.results.records.export import exports_at_once
from services.results.records.models import record_model
from shared.contracts.datasets import datasets
from shared.contracts.problems import Unavailable
from shared.platform.process import server_config
from shared.platform.querying import Copies
from shared.platform.settings import ProcessSettings
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
    copies = Copies(engine, at_once=1)
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
    copies = Copies(engine, at_once=1)
    first = copies.stream("acme", everything(), "lines")
    assert await anext(first)
    with pytest.raises(Unavailable, match="exports are running"):
        await anext(copies.stream("acme", everything(), "lines"))
    await first.aclose()
    async with aclosing(copies.stream("acme", everything(), "lines")) as second:
        assert await anext(second)


async def test_one_tenant_has_half_of_the_exports(engine: AsyncEngine, database: Database) -> None:
    await many(database)
    copies = Copies(engine, at_once=exports_at_once(10))
    running = [copies.stream("acme", everything(), "lines") for _ in range(2)]
    for chunks in running:
        assert await anext(chunks)
    with pytest.raises(Unavailable, match="2 exports of this tenant are running"):
        await anext(copies.stream("acme", everything(), "lines"))
    async with aclosing(copies.stream("other", everything(), "lines")) as others:
        assert await anext(others, b"") == b"", "it has no records"
    for chunks in running:
        await chunks.aclose()
    async with aclosing(copies.stream("acme", everything(), "lines")) as third:
        assert await anext(third)


def test_a_small_pool_still_has_an_export() -> None:
    assert [exports_at_once(size) for size in (1, 2, 5, 10, 20)] == [1, 1, 2, 4, 8]


async def paced(monkeypatch: pytest.MonkeyPatch, takes: Sequence[float], length: int) -> int:
    """How many of the chunks of `length` bytes got to a client that takes so many seconds for each, of 1 for 1,000 bytes."""
    monkeypatch.setattr(export, "LEAST_BYTES", 1000)
    monkeypatch.setattr(export, "PATIENCE_SECONDS", 1.0)
    taken = 0

    async def send(message: Message) -> None:
        nonlocal taken
        if message.get("body"):
            await asyncio.sleep(takes[taken])
            taken += 1

    async def chunks() -> AsyncGenerator[bytes]:
        for _ in takes[1:]:
            yield b"x" * length

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {}

    answer = export.Export(chunks(), b"x" * length, "a.csv", "text/csv")
    await answer({"type": "http", "path": "/a.csv"}, receive, send)
    return taken


async def test_a_slow_client_is_no_client_that_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers on the way take nothing for a long time, then much at once: what counts is the sum."""
    assert await paced(monkeypatch, [0.5, 0, 0, 0] * 4, 500) == 16
    with capture_logs() as logs:
        assert await paced(monkeypatch, [0.6] * 8, 100) == 1
        assert await paced(monkeypatch, [0, 0, 5], 100) == 2
    said = [line["log_level"] for line in logs if line["event"] == "export.cut_off"]
    assert said == ["info", "info"]


@asynccontextmanager
async def served(results: Results) -> AsyncIterator[int]:
    """The port of a real server, whose connections break as those of a deployment do."""
    config = server_config(results.app, ProcessSettings(), host="127.0.0.1", port=0)
    config.lifespan = "off"
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


def rest_of(connection: socket.socket) -> bytes:
    """What is still in the buffers of a connection that was broken."""
    rest = b""
    with closing(connection), suppress(ConnectionResetError):
        connection.settimeout(20)
        while piece := connection.recv(1 << 20):
            rest += piece
    return rest


async def test_a_client_that_stops_reading_is_cut_off_and_no_crash(
    results: Results, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await many(database)
    monkeypatch.setattr(export, "PATIENCE_SECONDS", 0.5)
    token = headers(results.secret)["Authorization"]
    asked = f"GET /api/v1/records/products.csv HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\r\n"
    async with served(results) as port:
        stuck = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        with capture_logs() as logs:
            for connection in stuck:
                connection.sendall(asked.encode())
            async with asyncio.timeout(20):
                while len(ours := [line for line in logs if line["event"] != "presence.lost"]) < 2:
                    await asyncio.sleep(0.05)
        answer = await results.get("/records/products.csv", sku="1")
        bodies = [await asyncio.to_thread(rest_of, connection) for connection in stuck]
    assert [(line["event"], line["log_level"]) for line in ours] == [("export.cut_off", "info")] * 2
    assert answer.status_code == 200, "their places are free"
    assert not any(body.endswith(b"0\r\n\r\n") for body in bodies)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


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
