"""What every handler may rely on, the same on both transports."""

import asyncio
from contextlib import suppress
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select, text

from shared.contracts.events import Event, EventData
from shared.contracts.topology import PROCESSOR_IMPORTS
from shared.platform.bus import Later, inbox_table, once
from shared.platform.database import engine_for
from tests.bus.conftest import command, until, waiting


class Unheard(EventData):
    type = "import.unheard"


class Newer(EventData):
    type = "slice.process"
    members_that_only_a_newer_version_knows: int = 1


def unheard() -> Event:
    return Event(source="/penstock/upload", type="import.unheard", subject="x", tenant="t", data=Unheard())


async def dead_letters(url: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch("SELECT queue, payload, last_exception FROM bus.dead_letters")
    finally:
        await connection.close()


async def test_a_published_event_is_delivered_as_it_was(station):
    seen = []

    async def handle(event):
        seen.append(event)

    await station.consume(handle)
    [sent] = await station.publish(7)
    await until(lambda: seen)
    assert seen == [sent]
    await asyncio.sleep(0.3)
    assert len(seen) == 1
    assert await waiting(station.database_url) == 0


async def test_what_is_rolled_back_is_never_delivered(station):
    seen = []

    async def handle(event):
        seen.append(event.data.slice)

    await station.consume(handle)
    with suppress(ZeroDivisionError):
        async with station.engine.begin() as connection:
            await station.publisher.publish(connection, command(1))
            raise ZeroDivisionError
    await station.publish(2)
    await until(lambda: seen)
    await asyncio.sleep(0.3)
    assert seen == [2]


async def test_events_published_before_the_consumer_exists_wait_for_it(station):
    await station.publish(1, 2, 3)
    seen = []

    async def handle(event):
        seen.append(event.data.slice)

    await station.consume(handle)
    await until(lambda: len(seen) == 3)
    assert sorted(seen) == [1, 2, 3]


async def test_a_failed_event_comes_again_after_a_delay(station):
    times = []

    async def handle(_):
        times.append(asyncio.get_running_loop().time())
        if len(times) < 3:
            raise ValueError("not yet")

    await station.consume(handle)
    await station.publish(1)
    await until(lambda: len(times) == 3)
    assert times[1] - times[0] >= 0.1
    assert times[2] - times[1] >= 0.2
    await asyncio.sleep(0.5)
    assert len(times) == 3
    assert await dead_letters(station.database_url) == []


async def test_an_event_that_always_fails_is_dead_after_the_last_attempt(station):
    attempts, exhausted = [], []

    async def handle(event):
        attempts.append(event)
        raise ValueError("never")

    async def on_exhausted(event, error):
        exhausted.append((event, str(error)))

    await station.consume(handle, on_exhausted=on_exhausted)
    [sent] = await station.publish(1)
    await until(lambda: exhausted)
    assert exhausted == [(sent, "never")]
    await asyncio.sleep(0.5)
    assert len(attempts) == 3
    [dead] = await dead_letters(station.database_url)
    assert dead["queue"] == PROCESSOR_IMPORTS.name
    assert dead["payload"] == sent.to_bytes()
    assert "never" in dead["last_exception"]


async def test_one_event_that_fails_does_not_hold_up_the_others(station):
    seen = []

    async def handle(event):
        if event.data.slice == 0:
            raise ValueError("always")
        seen.append(event.data.slice)

    await station.consume(handle)
    await station.publish(0, 1, 2, 3, 4)
    await until(lambda: len(seen) == 4, seconds=3)


async def test_later_is_no_failure_however_often(station):
    calls = []

    async def handle(_):
        calls.append(1)
        if len(calls) < 6:  # twice as often as an event may fail
            raise Later(0.05)

    await station.consume(handle)
    await station.publish(1)
    await until(lambda: len(calls) == 6)
    await asyncio.sleep(0.3)
    assert await dead_letters(station.database_url) == []


async def test_waiting_uses_up_no_attempt(station):
    calls = []

    async def handle(_):
        calls.append(1)
        if len(calls) <= 4:
            raise Later(0.05)
        if len(calls) == 5:
            raise ValueError("the first real failure")

    await station.consume(handle)
    await station.publish(1)
    await until(lambda: len(calls) == 6)
    assert await dead_letters(station.database_url) == []


async def test_an_event_of_a_newer_producer_is_tried_again_and_then_kept(station):
    async def handle(_):
        raise AssertionError("nobody here knows this type")

    await station.consume(handle)
    newer = command(1).model_copy(update={"data": Newer()})
    async with station.engine.begin() as connection:
        await station.publisher.publish(connection, newer)

    async with asyncio.timeout(15):
        while not (dead := await dead_letters(station.database_url)):
            await asyncio.sleep(0.1)
    assert dead[0]["payload"] == newer.to_bytes()
    assert "EventUnknown" in dead[0]["last_exception"]


async def test_events_of_one_import_come_in_order(station):
    imports = [uuid4() for _ in range(3)]
    seen: dict[str, list[int]] = {str(subject): [] for subject in imports}
    gate = asyncio.Lock()

    async def handle(event):
        async with gate:
            seen[event.subject].append(event.data.slice)

    await station.consume(handle)
    for number in range(20):
        for subject in imports:
            await station.publish(number, subject=subject)
    await until(lambda: all(len(numbers) == 20 for numbers in seen.values()))
    assert all(numbers == sorted(numbers) for numbers in seen.values())


async def test_competing_consumers_share_the_work_and_do_nothing_twice(station):
    first, second = [], []

    async def slow_first(event):
        first.append(event.data.slice)
        await asyncio.sleep(0.02)

    async def slow_second(event):
        second.append(event.data.slice)
        await asyncio.sleep(0.02)

    await station.consume(slow_first)
    await station.consume(slow_second)
    await station.publish(*range(60))
    await until(lambda: len(first) + len(second) >= 60)
    await asyncio.sleep(0.3)
    assert sorted(first + second) == list(range(60))
    assert first
    assert second


async def test_no_more_is_in_hand_than_there_are_workers(station):
    running, most = 0, 0

    async def handle(_):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.03)
        running -= 1

    await station.consume(handle)
    await station.publish(*range(20))
    await until(lambda: most > 0 and running == 0)
    assert most <= PROCESSOR_IMPORTS.workers


async def test_an_event_that_nobody_hears_cannot_be_published(station):
    with pytest.raises(LookupError, match="no queue is bound"):
        async with station.engine.begin() as connection:
            await station.publisher.publish(connection, unheard())
    assert await waiting(station.database_url) == 0


async def test_stopping_finishes_what_is_in_hand(station):
    begun, finished = asyncio.Event(), []

    async def handle(event):
        begun.set()
        await asyncio.sleep(0.5)
        finished.append(event.data.slice)

    bus = await station.consume(handle)
    await station.publish(1)
    await begun.wait()
    await bus.stop()
    station.consumers.remove(bus)
    assert finished == [1]


async def test_once_makes_a_handler_count_an_event_once(station):
    metadata = MetaData(schema="processor")
    inbox = inbox_table(metadata)
    tally = Table("tally", metadata, Column("slice", Integer))
    engine = engine_for(station.database_url, "processor", pool_size=2)
    handled = []

    async def count(connection, event):
        await connection.execute(insert(tally).values(slice=event.data.slice))
        handled.append(event.id)
        if len(handled) == 1:
            raise ValueError("after the write")

    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE processor.tally (slice integer)"))
    await station.consume(once(engine, inbox, PROCESSOR_IMPORTS, count))
    [event] = await station.publish(5)
    await until(lambda: len(handled) == 2)
    async with station.engine.begin() as connection:  # the same event a second time
        await station.publisher.publish(connection, event)
    await station.publish(6)
    await until(lambda: len(handled) == 3)
    async with engine.connect() as connection:
        rows = (await connection.execute(select(tally.c.slice).order_by(tally.c.slice))).scalars().all()
    await engine.dispose()
    assert rows == [5, 6]


async def test_checks_are_good_while_everything_runs(station):
    async def handle(_):
        pass

    bus = await station.consume(handle)
    checks = await bus.checks()
    assert checks
    assert all(check.ok for check in checks), checks
