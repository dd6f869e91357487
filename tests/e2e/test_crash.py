"""kill -9 of anything, at any time, during an import: nothing is lost, nothing is done twice. On both transports."""

import asyncio
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, own_server, until
from tests.notifier.receiver import receiving

RECORDS = 200_000
SLICE = {"PENSTOCK_SLICE_BYTES": str(2 * 1024**2)}  # small, so that kills fall between and into many slices
RETRY = {"PENSTOCK_WEBHOOK_RETRY_SCALE": "0.01"}


def products(path: Path, count: int = RECORDS, *, version: str = "") -> Path:
    """`count` records with 137 faults among them: a missing name in every 1,460th."""
    with path.open("w", encoding="utf-8") as file:
        file.write("sku,name,description\n")
        for number in range(count):
            name = "" if number % 1460 == 1459 else f"Product {number}{version}"
            file.write(
                f'SKU-{number:07d},{name},"Line one of {number},\nline two: ""ünïcode"" and more text"\n'
            )
    return path


FAULTS = RECORDS // 1460


async def balanced(stack: Stack, import_id: str) -> None:
    """The import ended, its receipt balances, and the table holds each record exactly once."""
    done = await stack.finished(import_id, seconds=110)
    assert done["status"] == "completed", done
    assert done["rows_processed"] == RECORDS
    assert done["rows_inserted"] == RECORDS - FAULTS
    assert done["rows_rejected"] == FAULTS
    assert done["rows_duplicate"] == done["rows_updated"] == done["rows_unchanged"] == 0
    receipt = await stack.get(f"/imports/{import_id}/receipt")
    assert receipt["rows_read"] == RECORDS
    [row] = await stack.rows(
        "SELECT count(*) AS records, count(DISTINCT sku) AS skus, count(DISTINCT row_number) AS numbers,"
        " sum(row_number) AS total FROM data.products"
    )
    assert row["records"] == row["skus"] == row["numbers"] == RECORDS - FAULTS
    assert row["total"] == sum(range(1, RECORDS + 1)) - sum(1460 * (n + 1) for n in range(FAULTS))
    errors = await stack.rows("SELECT row_number FROM processor.row_errors WHERE import_id = $1", import_id)
    assert sorted(error["row_number"] for error in errors) == [1460 * (n + 1) for n in range(FAULTS)]


async def told_once(receiver, secret: str) -> None:
    """The end of the import reached the receiver, at least once, always under one id."""

    async def completed() -> bool:
        return any(b'"import.completed"' in received.body for received in receiver.received)

    await until(completed, 60, what=lambda: str(receiver.received))
    payloads = [(received, received.verified(secret)) for received in receiver.received]
    ids = {
        received.headers["webhook-id"]
        for received, payload in payloads
        if payload["type"] == "import.completed"
    }
    assert len(ids) == 1


async def processed(stack: Stack) -> int:
    rows = await stack.rows("SELECT coalesce(sum(rows_processed), 0) FROM processor.imports")
    return int(rows[0][0])


@pytest.mark.timeout(300)
async def test_kill_any_process_again_and_again(new_stack, tmp_path, record_property):
    stack = await new_stack(**SLICE, **RETRY).started()
    seed = int(os.environ.get("PENSTOCK_TEST_SEED", random.SystemRandom().randrange(10**6)))
    record_property("seed", seed)
    chance = random.Random(seed)
    async with receiving() as receiver:
        endpoint = await stack.webhook(receiver.url, "import.*")
        accepted = await stack.upload(products(tmp_path / "products.csv"), "products")
        for _ in range(8):
            await asyncio.sleep(chance.uniform(0.05, 0.8))
            victim = chance.choice(stack.names)
            stack.kill(victim)
            await asyncio.sleep(chance.uniform(0, 0.3))
            stack.start(victim)
            with suppress(AssertionError):  # the next kill may well come before it is ready
                await stack.ready(victim, seconds=chance.choice([0.5, 20]))
        for name in stack.names:
            await stack.ready(name)
        await balanced(stack, accepted["id"])
        await told_once(receiver, endpoint["secret"])
    dead = await stack.rows("SELECT queue, last_exception FROM bus.dead_letters")
    assert dead == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "bus_url", ["rabbitmq"], indirect=True
)  # the other's broker is PostgreSQL: the next test
async def test_kill_the_broker_in_the_middle(new_stack, tmp_path, broker):
    stack = await new_stack(**SLICE, **RETRY).started()
    async with receiving() as receiver:
        endpoint = await stack.webhook(receiver.url, "import.*")
        accepted = await stack.upload(products(tmp_path / "products.csv"), "products")
        await until(lambda: some_done(stack), 30)
        broker.kill()
        await asyncio.sleep(2)
        await asyncio.to_thread(broker.start)
        await balanced(stack, accepted["id"])
        await told_once(receiver, endpoint["secret"])


async def some_done(stack: Stack) -> bool:
    return 0 < await processed(stack) < RECORDS


@pytest.mark.timeout(300)
async def test_kill_postgres_in_the_middle(bus_url, tmp_path):
    async with own_server() as server:
        stack = Stack(tmp_path, server.url, bus_url, {**SLICE, **RETRY})
        try:
            await stack.started()
            async with receiving() as receiver:
                endpoint = await stack.webhook(receiver.url, "import.*")
                accepted = await stack.upload(products(tmp_path / "products.csv"), "products")
                await until(lambda: some_done(stack), 30)
                server.kill()
                await asyncio.sleep(1)
                await server.start()
                await balanced(stack, accepted["id"])
                await told_once(receiver, endpoint["secret"])
        finally:
            await stack.close()


async def test_stopping_finishes_the_slice_and_leaves_in_time(new_stack, tmp_path):
    stack = await new_stack(**SLICE).started()
    accepted = await stack.upload(products(tmp_path / "products.csv"), "products")
    await until(lambda: some_done(stack), 30)
    for name in sorted(stack.names, key=lambda name: name != "processor"):  # before the import ends by itself
        assert stack.stop(name) < 10
    left = await stack.rows("SELECT status, lease_owner FROM processor.imports")
    assert [tuple(row) for row in left] == [("processing", None)], "no slice may be left in hand"
    await stack.started()
    await balanced(stack, accepted["id"])


@pytest.mark.timeout(300)
async def test_memory_does_not_grow_with_the_file(new_stack, tmp_path):
    stack = await new_stack().started()
    worker = "processor" if stack.bus_url else "all"
    small = await stack.upload(products(tmp_path / "small.csv", 50_000), "products")
    await stack.finished(small["id"])
    before = stack.peak_memory(worker)
    large = await stack.upload(products(tmp_path / "large.csv", 600_000, version="b"), "products")
    assert large["file_size"] > 10 * small["file_size"]
    await stack.finished(large["id"], seconds=200)
    assert stack.peak_memory(worker) - before < 100 * 1024**2
