"""Database, broker and store away for a while, frozen or killed, under load: nothing lost, nothing twice, back by itself.

`make test` freezes each for some seconds; with PENSTOCK_TEST_DEPLOY=yes each is away for a minute, in both ways.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import new_database
from tests.e2e.away import (
    ROWS,
    Bus,
    Database,
    Needed,
    Senders,
    failing,
    parent_of_backends,
    sending,
    store,
)
from tests.e2e.stack import Stack, emptied, own_server, until
from tests.notifier.receiver import Receiver, receiving

pytestmark = pytest.mark.timeout(600)
log = logging.getLogger(__name__)

MINUTE = 60.0
LARGE = 30_000  # records of a file that is under way meanwhile
# Messages and deliveries that were in hand come back when their leases end; those that failed again and again, later still.
TELL_SECONDS = 240.0
SETTINGS = {"PENSTOCK_SLICE_BYTES": str(2 * 1024**2), "PENSTOCK_WEBHOOK_RETRY_SCALE": "0.01"}
# What a client may hear: of the database, the store, the time a request may take; of its own request before, which goes on.
CLEAR = {
    "database_unavailable",
    "store_unavailable",
    "request_timeout",
    "idempotency_key_in_progress",
}


@dataclass
class World:
    stack: Stack
    needed: Mapping[str, Needed]
    receiver: Receiver


@asynccontextmanager
async def running(folder: Path, database: Database, url: str, broker: Any) -> AsyncIterator[World]:
    bus_url = await emptied(broker.url)
    with store(folder) as files:
        async with receiving() as receiver:
            stack = Stack(folder, url, bus_url, SETTINGS | files.settings)
            try:
                await stack.started()
                await stack.webhook(receiver.url, "import.*")
                yield World(stack, {"database": database, "broker": Bus(broker), "store": files}, receiver)
            finally:
                await stack.close()


async def test_each_frozen_for_a_moment(postgres_url, template_database, broker, tmp_path):
    if not Path("/proc/self/task").exists() or "PENSTOCK_TEST_DATABASE_URL" in os.environ:
        pytest.skip("a server is frozen by its processes, which are found in this machine's /proc")
    async with new_database(postgres_url, template_database) as url:
        database = Database(await parent_of_backends(url))
        async with running(tmp_path, database, url, broker) as world:
            for name in world.needed:
                await endured(world, name, seconds=0, way="frozen")


@pytest.mark.skipif(os.environ.get("PENSTOCK_TEST_DEPLOY") != "yes", reason="takes minutes: make test-deploy")
@pytest.mark.parametrize("way", ["frozen", "killed"])
@pytest.mark.parametrize("name", ["database", "broker", "store"])
async def test_away_for_a_minute(name, way, broker, tmp_path):
    async with own_server() as server:
        database = Database(server.running.pid, server)
        async with running(tmp_path, database, server.url, broker) as world:
            await endured(world, name, seconds=MINUTE, way=way)


async def endured(world: World, name: str, *, seconds: float, way: str) -> None:
    """Have a server be away until every service that needs it has said so, and for `seconds` at least."""
    stack, needed = world.stack, world.needed[name]
    path = stack.folder / f"{name}-{way}-{seconds}.csv"
    lines = (f"{path.stem}-{number},Name {number},{'words ' * 12}\n" for number in range(LARGE))
    path.write_text("sku,name,description\n" + "".join(lines))
    async with sending(stack) as senders:
        await until(lambda: some_taken(senders, 3), 60)
        large = await stack.upload(path, "products")
        (needed.freeze if way == "frozen" else needed.kill)()
        began = time.monotonic()
        try:
            saying = [tells(stack, service, needed.check, began) for service in needed.services]
            told = dict(zip(needed.services, await asyncio.gather(*saying), strict=True))
            await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
            during = dict(senders.answers)
        finally:
            if way == "frozen":
                needed.thaw()
            else:
                await needed.start()
        began = time.monotonic()
        for service in stack.names:
            await stack.ready(service, seconds=90)
        back = time.monotonic() - began
        taken = len(senders.taken)
        await until(lambda: some_taken(senders, taken + 3), 90)
    log.info(
        "%s %s: told after %s, answers meanwhile %s, ready after %.1f s, an answer took %.1f s at most",
        *(name, way, told, during, back, senders.longest),
    )
    clear(senders)
    began = time.monotonic()
    await all_done_once(world, senders, large["id"])
    log.info("%d files, all done %.1f s later", len(senders.taken) + 1, time.monotonic() - began)


async def some_taken(senders: Senders, count: int) -> bool:
    return len(senders.taken) >= count


async def tells(stack: Stack, service: str, check: str, began: float) -> float:
    """After how many seconds readiness names what is away."""
    found: set[str] = set()

    async def says() -> bool:
        found.clear()
        found.update(await failing(stack, service))
        return check in found

    await until(says, 40, what=lambda: f"{service} says {found} instead of {check}\n{stack.log(service)}")
    return round(time.monotonic() - began, 1)


def clear(senders: Senders) -> None:
    """Every client was told what is away and that it may come again, or its file was taken."""
    assert set(senders.answers) - CLEAR == {"202"}
    for problem in senders.problems:
        assert problem.headers["content-type"].startswith("application/problem+json")
        assert problem.status_code in {409, 503}
        assert problem.status_code == 409 or "Retry-After" in problem.headers


async def all_done_once(world: World, senders: Senders, large: str) -> None:
    """Every file that was taken is loaded whole and once, and its end is told once; no message is dead."""
    stack = world.stack
    done = await stack.finished(large, seconds=150)
    assert (done["status"], done["rows_inserted"]) == ("completed", LARGE)
    taken = list(senders.taken.values())
    assert len(set(taken)) == len(taken)

    async def all_done() -> bool:
        query = "SELECT count(*) FROM processor.imports WHERE import_id = ANY($1) AND status = 'completed' AND rows_inserted = $2"
        return (await stack.rows(query, taken, ROWS))[0][0] == len(taken)

    await until(all_done, 150)
    [row] = await stack.rows(
        "SELECT (SELECT sum(rows_inserted)::int FROM processor.imports) AS said, count(*) AS there FROM data.products"
    )
    assert row["said"] == row["there"]
    lost = "SELECT import_id FROM upload.imports WHERE import_id NOT IN (SELECT import_id FROM processor.imports)"
    assert (
        await stack.rows(f"{lost} UNION SELECT import_id FROM processor.imports WHERE status <> 'completed'")
        == []
    )
    began = time.monotonic()
    told = [*taken, large]
    await until(lambda: all_told(world, told), TELL_SECONDS, what=lambda: stack.log("notifier"))
    log.info("all told %.1f s later", time.monotonic() - began)
    assert await stack.rows("SELECT queue, last_exception FROM bus.dead_letters") == []


async def all_told(world: World, imports: list[str]) -> bool:
    """Whether each import's end has come to the receiver, under one id."""
    ids: dict[str, set[str]] = {import_id: set() for import_id in imports}
    for received in world.receiver.received:
        for import_id in imports:
            if import_id.encode() in received.body:
                ids[import_id].add(received.headers["webhook-id"])
    assert all(len(each) <= 1 for each in ids.values())
    return all(ids.values())
