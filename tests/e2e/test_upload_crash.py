"""kill -9 of the upload service while files come in: what was accepted is processed, of the rest nothing is left.

A client that heard nothing sends the same again, with the same idempotency key.
"""

import asyncio
import os
import random
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import asyncpg
import httpx
import pytest

from shared.platform.database import advisory_key
from tests.e2e.stack import until

LATER = {"idempotency_key_in_progress", "service_stopping"}
HEADER = b"sku,name,description\n"
WAITS_FOR_LOCK = """
    SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE a.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted
"""
# Whoever commits an import has its answer ready, and has not sent it: the row's trigger is deferred to the commit.
HELD_COMMIT = """
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON upload.imports DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION hold()
"""


def products(name, count=200):
    lines = [f"{name}-{number},Product {number},{'words ' * 8}\n".encode() for number in range(count)]
    return HEADER + b"".join(lines)


class Uploads:
    """A client that sends files to a stack, each under its key, and may be cut off."""

    def __init__(self, stack):
        self.stack = stack
        self.process = "upload" if stack.bus_url else "all"

    async def send(self, key, content):
        return await self.stack.http.post(
            self.stack.url("/uploads"),
            params={"dataset": "products"},
            content=content,
            headers={"Content-Type": "text/csv", "Idempotency-Key": key},
        )

    async def send_until_answered(self, key, content):
        """Send it again and again, until there is an answer that is not `later`."""
        answers = []

        async def answered():
            with suppress(httpx.TransportError):
                answers.append(await self.send(key, content))
                return answers[-1].json().get("code") not in LATER
            return False

        await until(answered, 60, what=lambda: str([answer.text for answer in answers]))
        assert answers[-1].status_code == 202, answers[-1].text
        return answers[-1]

    async def restarted(self):
        self.stack.kill(self.process)
        await self.stack.started(self.process)

    def files(self):
        """All that is in the store, half-written or not, but what the processor made."""
        store = self.stack.folder / "store"
        return {path.name for folder in ("uploads", "tus") for path in (store / folder).rglob("*")}

    async def left_only(self, *import_ids):
        """Nothing but these imports is left in the store or noted, once the sweeper has come by, soon after a start."""
        keys = "SELECT count(*) FROM upload.idempotency_keys WHERE answer IS NULL"

        async def clean():
            noted = await self.stack.rows(f"SELECT (SELECT count(*) FROM upload.intakes) + ({keys})")
            return noted[0][0] == 0 and self.files() == set(import_ids)

        await until(clean, 75, what=lambda: f"{self.files()} {import_ids}")
        rows = await self.stack.rows("SELECT CAST(import_id AS text) FROM upload.imports")
        assert {row[0] for row in rows} == set(import_ids)

    async def processed_once(self, contents):
        """Every import has ended, and each record is in the table exactly once. `contents` by import ids."""
        for import_id, content in contents.items():
            done = await self.stack.finished(import_id)
            assert (done["status"], done["rows_inserted"]) == ("completed", content.count(b"\n") - 1)
        skus = [row["sku"] for row in await self.stack.rows("SELECT sku FROM data.products")]
        lines = [line for content in contents.values() for line in content.splitlines()[1:]]
        assert sorted(skus) == sorted(line.split(b",")[0].decode() for line in lines)
        assert await self.stack.rows("SELECT queue, last_exception FROM bus.dead_letters") == []


@pytest.fixture
async def uploads(new_stack):
    return Uploads(await new_stack().started())


@asynccontextmanager
async def connected(stack):
    connection = await asyncpg.connect(stack.database_url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def locked(stack, key):
    """Hold an advisory lock, and find somebody waiting for it."""
    async with connected(stack) as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", key)

        async def somebody_waits():
            return await connection.fetchval(WAITS_FOR_LOCK)

        yield somebody_waits


@pytest.mark.parametrize("megabytes", [0, 20], ids=["the first bytes", "some parts stored"])
@pytest.mark.parametrize("bus_url", ["embedded"], indirect=True)
async def test_killed_in_the_middle_of_a_body(uploads, megabytes):
    key, content = str(uuid4()), products("A")

    async def half():
        yield content
        for _ in range(megabytes):
            yield b"B,Product,\n" * (2**20 // 11)
        await asyncio.Event().wait()

    cut_off = asyncio.create_task(uploads.send(key, half()))
    await until(lambda: noted(uploads.stack), 20)
    if megabytes:
        await until(lambda: asyncio.to_thread(uploads.files), 20)
    await uploads.restarted()
    cut_off.cancel()  # it waits for its own next bytes
    await asyncio.wait([cut_off])
    await uploads.left_only()
    answer = await uploads.send_until_answered(key, content)
    await uploads.processed_once({answer.json()["id"]: content})


async def noted(stack):
    return (await stack.rows("SELECT count(*) FROM upload.intakes"))[0][0]


@pytest.mark.parametrize("bus_url", ["embedded"], indirect=True)
async def test_killed_between_store_and_database(uploads):
    key, content = str(uuid4()), products("A")
    async with locked(uploads.stack, advisory_key("penstock:uploads:acme")) as somebody_waits:
        cut_off = asyncio.create_task(uploads.send(key, content))
        await until(somebody_waits, 20)
        assert len(uploads.files()) == 1, "the file is there, its import is not"
        uploads.stack.kill(uploads.process)
    with pytest.raises(httpx.TransportError):
        await cut_off
    await uploads.stack.started(uploads.process)
    await uploads.left_only()
    answer = await uploads.send_until_answered(key, content)
    await uploads.left_only(answer.json()["id"])
    await uploads.processed_once({answer.json()["id"]: content})


@pytest.mark.parametrize("bus_url", ["embedded"], indirect=True)
async def test_killed_between_the_commit_and_the_answer(uploads):
    """The commit is under way when the process dies: PostgreSQL carries it through, nobody hears of it."""
    key, content = str(uuid4()), products("A")
    async with connected(uploads.stack) as connection:
        await connection.execute(HELD_COMMIT)
    async with locked(uploads.stack, 4711) as somebody_waits:
        cut_off = asyncio.create_task(uploads.send(key, content))
        await until(somebody_waits, 20)
        uploads.stack.kill(uploads.process)
    with pytest.raises(httpx.TransportError):
        await cut_off
    await until(lambda: registered(uploads.stack), 20)
    [[import_id]] = await uploads.stack.rows("SELECT CAST(import_id AS text) FROM upload.imports")
    await uploads.stack.started(uploads.process)
    again = await uploads.send_until_answered(key, content)
    assert again.json()["id"] == import_id
    assert again.headers["Idempotency-Replayed"] == "true"
    await uploads.left_only(import_id)
    await uploads.processed_once({import_id: content})


async def registered(stack):
    return (await stack.rows("SELECT count(*) FROM upload.imports"))[0][0]


@pytest.mark.timeout(240)
async def test_killed_again_and_again_while_files_come_in(uploads, record_property):
    """Each client sends until it is answered, small files and some that take a while, so that kills fall anywhere."""
    seed = int(os.environ.get("PENSTOCK_TEST_SEED", random.SystemRandom().randrange(10**6)))
    record_property("seed", seed)
    chance = random.Random(seed)
    accepted = {}
    over = asyncio.Event()

    async def client(name):
        count = 0
        while not over.is_set():
            content = products(f"{name}-{count}", chance.choice([5, 200, 20_000]))
            answer = await uploads.send_until_answered(str(uuid4()), content)
            accepted[answer.json()["id"]] = content
            count += 1
            await asyncio.sleep(chance.uniform(0, 0.3))  # and that there are not too many

    clients = [asyncio.create_task(client(name)) for name in "ABCD"]
    for _ in range(5):
        await asyncio.sleep(chance.uniform(0.05, 1))
        await uploads.restarted()
    over.set()
    await asyncio.gather(*clients)
    assert len(accepted) >= len(clients)
    await uploads.left_only(*accepted)
    await uploads.processed_once(accepted)
