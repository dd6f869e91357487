"""Imports of one tenant at the same time, each in a process of its own, beside people who edit: nothing lost or doubled."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from decimal import Decimal

import asyncpg
import pytest

from shared.contracts.dialect import Dialect
from shared.platform.bus import Bus
from tests.processor.given import balance, written
from tests.processor.test_leases import work_off

pytestmark = pytest.mark.usefixtures("observers")

KEYS = 30


@asynccontextmanager
async def processes(mill, count):
    """Pipelines as of so many processes: each with its own bus, so that each holds its own leases."""
    async with AsyncExitStack() as stack:
        pipelines = []
        for _ in range(count):
            bus = Bus("processor", database_url=mill.database_url)
            await bus.presence.start([])
            stack.push_async_callback(bus.presence.stop)
            pipelines.append(mill.pipeline(bus=bus, slice_bytes=150))
        yield pipelines


async def all_done(mill, imports):
    """Each import by a process of its own, all at once; their last states."""
    async with processes(mill, len(imports)) as pipelines:
        await asyncio.gather(
            *(work_off(mill, one, pipeline) for one, pipeline in zip(imports, pipelines, strict=True))
        )
    done = [await mill.work(import_id) for import_id in imports]
    assert {work["status"] for work in done} == {"completed"}
    return done


async def edits(mill, stop):
    """Somebody renames products in a random order, two in a transaction, until told to stop; gives how many."""
    chance, made = random.Random(3), 0
    connection = await asyncpg.connect(mill.database_url)
    while not stop.is_set():
        with suppress(asyncpg.DeadlockDetectedError):
            async with connection.transaction():
                for number in chance.sample(range(KEYS), 2):
                    await connection.execute(
                        "INSERT INTO data.products (tenant, key, sku, name) VALUES ('acme', $1, $1, 'edited')"
                        " ON CONFLICT (tenant, key) DO UPDATE SET name = 'edited', import_id = NULL",
                        f"s{number}",
                    )
            made += 1
        await asyncio.sleep(0.002)
    await connection.close()
    return made


def products(name, order=1):
    return written(("sku", "name"), [(f"s{number}", name) for number in range(KEYS)][::order])


def sales(first, count):
    rows = (
        (f"t{number}", "2024-01-01", f"s{number % KEYS}", f"c{number % 3}", 1 + number % 2, "0.1")
        for number in range(first, first + count)
    )
    columns = ("transaction_id", "sold_at", "sku", "customer_id", "quantity", "unit_price")
    return written(columns, rows)


async def take_on(mill, dataset, content):
    return await mill.take_on(content, dataset=dataset, dialect=Dialect())


async def test_four_imports_of_the_same_products(mill):
    contents = [products(f"n{turn}", 1 if turn % 2 else -1) for turn in range(4)]
    done = await all_done(mill, [await take_on(mill, "products", content) for content in contents])
    rows = await mill.records("products")
    assert len(rows) == KEYS == sum(work["rows_inserted"] for work in done)
    assert sum(work["rows_inserted"] + work["rows_updated"] for work in done) == 4 * KEYS
    written_by = {work["import_id"]: f"n{turn}" for turn, work in enumerate(done)}
    assert {(row["name"], row["import_id"]) for row in rows} <= {
        (name, import_id) for import_id, name in written_by.items()
    }
    created = [
        change.key
        for work in done
        for change in await mill.changes(work["import_id"])
        if change.kind == "created"
    ]
    assert sorted(created) == sorted(f"s{number}" for number in range(KEYS))


async def test_sales_beside_products_beside_edits(mill):
    """The second sales file repeats half of the first one's transactions."""
    stock = written(("sku", "name", "stock_quantity"), [(f"s{n}", "x", 1000) for n in range(0, KEYS, 2)])
    await mill.load(stock, mill.pipeline(slice_bytes=1 << 20), dataset="products", dialect=Dialect())
    imports = [
        await take_on(mill, "sales", sales(0, 80)),
        await take_on(mill, "sales", sales(40, 80)),
        await take_on(mill, "products", products("imported", -1)),
    ]
    stop = asyncio.Event()
    editor = asyncio.create_task(edits(mill, stop))
    done = await all_done(mill, imports)
    stop.set()
    assert await editor > 0
    assert sum(work["rows_inserted"] for work in done[:2]) == len(await mill.records("sales")) == 120
    assert sum(balance(work)["duplicate"] for work in done[:2]) == 40
    sold = Counter()
    for number in range(120):
        sold[f"s{number % KEYS}"] += 1 + number % 2
    expected = {f"s{n}": None if n % 2 else 1000 - sold[f"s{n}"] for n in range(KEYS)}
    assert {row["key"]: row["stock_quantity"] for row in await mill.records("products")} == expected
    customers = {row["key"]: (row["purchases"], row["amount"]) for row in await mill.records("customers")}
    spent = {f"c{n}": sum(1 + number % 2 for number in range(n, 120, 3)) for n in range(3)}
    assert customers == {key: (40, Decimal(pieces) / 10) for key, pieces in spent.items()}


async def test_quotes_of_two_imports_add_up(mill):
    def lines(start):
        rows = ((f"q{n % 5}", n // 5 + 1, "x", "1") for n in range(start, start + 60))
        return written(("quote_number", "line_number", "stock_code", "unit_price"), rows)

    imports = [await take_on(mill, "quotes", lines(start)) for start in (0, 30)]
    done = await all_done(mill, imports)
    assert sum(work["rows_inserted"] for work in done) == 90
    assert sum(balance(work)["unchanged"] for work in done) == 30
    totals = {
        row["key"]: (row["line_items"], row["total_price"]) for row in await mill.records("quote_totals")
    }
    assert totals == {f"q{n}": (18, 18) for n in range(5)}


async def test_tenants_do_not_wait_for_each_other(mill):
    """One tenant's load is held up by somebody's open transaction; the other's is done meanwhile."""
    other = await asyncpg.connect(mill.database_url)
    held = other.transaction()
    await held.start()
    await other.execute("INSERT INTO data.products (tenant, key, sku, name) VALUES ('acme', 's3', 's3', 'x')")
    slow = await mill.take_on(products("n"), dataset="products", dialect=Dialect())
    waiting = asyncio.create_task(mill.finish(slow))
    await asyncio.sleep(0)
    quick = await mill.load(products("n"), dataset="products", tenant="other", dialect=Dialect())
    assert quick["rows_inserted"] == KEYS
    assert not waiting.done()
    await held.commit()
    assert (await waiting)["rows_updated"] == 1
    await other.close()
