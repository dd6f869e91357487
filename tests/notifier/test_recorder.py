"""Writing down what came of attempts, where that is not simple."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from services.notifier.delivery import repository
from services.notifier.delivery.attempts import Attempt
from services.notifier.delivery.lanes import Room
from services.notifier.delivery.recorder import Recorder
from services.notifier.delivery.repository import Recorded
from services.notifier.delivery.schedule import Verdict
from shared.platform.database import engine_for
from tests.notifier.rig import Rig

OWNER, ANOTHER = 4711, 4712
NOW = timedelta()
WELL = Attempt(datetime.now(UTC), 1, 204, "")


@pytest.fixture
async def writing(database_url, database):
    """Deliveries that are claimed, and who writes down what comes of them: with one call at a time."""
    rig = Rig(database_url, database)
    endpoint = await rig.endpoint("http://127.0.0.1:1024/")
    await rig.deliver(endpoint, 3)
    engine = engine_for(database_url, "notifier", pool_size=5)
    async with engine.begin() as connection:
        _, waiting = await repository.waiting(connection, NOW)
        lanes = {one.endpoint_id: (one, to) for one, to in waiting}
        claimed = await repository.claim(connection, [Room(endpoint, 3)], lanes, owner=OWNER, ahead=NOW)
    done = []

    async def write(*attempts):
        recorder = Recorder(
            engine,
            owner=OWNER,
            publish=None,
            recorded=done.append,
            given_back=done.append,
            ahead=lambda: NOW,
            scale=1.0,
        )
        for one, attempt in zip(claimed, attempts, strict=False):
            recorder.put(Recorded(one, attempt, Verdict("succeeded")))
        recorder.start()
        async with asyncio.timeout(15):
            while len(done) < len(attempts):
                await asyncio.sleep(0.01)
        await recorder.stop(1)

    yield SimpleNamespace(write=write, claimed=claimed, counts=lambda: rig.counts(endpoint))
    await engine.dispose()


async def test_an_answer_that_cannot_be_stored_keeps_no_attempt_from_being_written_down(writing, database):
    await writing.write(WELL, replace(WELL, response_body="\0"), WELL)
    assert await writing.counts() == {"succeeded": 3}
    kept = await database.fetch("SELECT response_status, response_body, error FROM notifier.attempts")
    lost = (204, None, "internal error: what came back could not be written down")
    assert sorted(map(tuple, kept), key=str) == sorted([lost, (204, "", None), (204, "", None)], key=str)


async def test_it_waits_for_who_deletes_the_endpoint_and_holds_no_delivery_meanwhile(writing, database):
    async with database.transaction():
        await database.execute("SELECT FROM notifier.endpoints FOR UPDATE")
        under_way = asyncio.create_task(writing.write(WELL, WELL, WELL))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(15):
            while not await database.fetchval(waits):
                await asyncio.sleep(0.01)
        await database.execute("SELECT FROM notifier.deliveries FOR UPDATE NOWAIT")
        await database.execute("DELETE FROM notifier.endpoints")
    await under_way


async def test_what_another_process_has_leased_meanwhile_is_its_own(writing, database):
    first, second, _ = writing.claimed
    await database.execute("UPDATE notifier.deliveries SET lease_owner = $2 WHERE id = $1", first.id, ANOTHER)
    await database.execute("UPDATE notifier.deliveries SET attempts_made = 1 WHERE id = $1", second.id)
    await writing.write(WELL, WELL, WELL)
    assert await writing.counts() == {"succeeded": 1, "pending": 2}
    assert await database.fetchval("SELECT count(*) FROM notifier.attempts") == 1
