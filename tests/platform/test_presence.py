"""Who is alive, and whose messages may be freed."""

import asyncio

import asyncpg
import pytest

from shared.platform.database import connect_raw, engine_for
from shared.platform.presence import Presence, count_processes, is_alive

LEASED = """
    INSERT INTO bus.outbox (queue, payload, acquired_at, acquired_token)
    VALUES ($1, '', now(), gen_random_uuid())
"""


@pytest.fixture
async def admin(database_url):
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def alive(database_url: str, instance: int) -> bool:
    engine = engine_for(database_url, "processor", pool_size=1)
    async with engine.begin() as connection:
        found = await is_alive(connection, instance)
    await engine.dispose()
    return found


async def processes(database_url: str) -> dict[str, int]:
    engine = engine_for(database_url, "results", pool_size=1)
    async with engine.connect() as connection:
        found = await count_processes(connection, ["upload", "processor"])
    await engine.dispose()
    return found


async def leased(admin) -> list[str]:
    return [
        row["queue"]
        for row in await admin.fetch("SELECT queue FROM bus.outbox WHERE acquired_at IS NOT NULL")
    ]


async def test_a_process_is_alive_from_its_start_to_its_end(database_url):
    presence = Presence(database_url, "processor")
    assert not await alive(database_url, presence.instance)
    await presence.start([])
    assert await alive(database_url, presence.instance)
    await presence.stop()
    async with asyncio.timeout(5):
        while await alive(database_url, presence.instance):
            await asyncio.sleep(0.01)


async def test_the_processes_of_each_service_are_counted(database_url, admin):
    first, second = Presence(database_url, "processor"), Presence(database_url, "processor")
    alone = Presence(database_url, "upload")
    for presence in (first, second, alone):
        await presence.start([])
    # Of the same database, but nothing of ours: by one number, and by two.
    await admin.execute("SELECT pg_advisory_lock_shared(1), pg_advisory_lock_shared(1, 2)")
    assert await processes(database_url) == {"upload": 1, "processor": 2}
    for presence, left in ((first, 1), (second, 0)):
        await presence.stop()
        async with asyncio.timeout(5):
            while (await processes(database_url))["processor"] != left:
                await asyncio.sleep(0.01)
    assert (await processes(database_url))["upload"] == 1
    await alone.stop()


async def test_processes_on_another_database_are_not_counted(database_url, empty_database):
    elsewhere = Presence(empty_database, "upload")
    elsewhere._connection = await connect_raw(empty_database)
    await elsewhere._lock(elsewhere._connection)
    assert await processes(database_url) == {"upload": 0, "processor": 0}
    await elsewhere.stop()


async def test_the_first_process_frees_what_its_service_had_leased_and_nothing_else(database_url, admin):
    await admin.execute(LEASED, "processor.imports")
    await admin.execute(LEASED, "results.imports")
    presence = Presence(database_url, "processor")
    await presence.start(["processor.imports"])
    assert await leased(admin) == ["results.imports"]
    await presence.stop()


async def test_a_second_process_frees_nothing(database_url, admin):
    first, second = Presence(database_url, "processor"), Presence(database_url, "processor")
    await first.start(["processor.imports"])
    await admin.execute(LEASED, "processor.imports")
    await second.start(["processor.imports"])
    assert await leased(admin) == ["processor.imports"]
    await first.stop()
    await second.stop()


async def test_processes_that_start_at_once_all_start(database_url):
    processes = [Presence(database_url, "processor") for _ in range(5)]
    await asyncio.gather(*(process.start(["processor.imports"]) for process in processes))
    assert all([await alive(database_url, process.instance) for process in processes])
    await asyncio.gather(*(process.stop() for process in processes))


async def test_a_lost_connection_is_made_anew_under_the_same_instance(database_url, admin):
    presence = Presence(database_url, "processor")
    await presence.start([])
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    async with asyncio.timeout(20):
        while not await alive(database_url, presence.instance):
            await asyncio.sleep(0.1)
    await presence.stop()
