"""What only RabbitMQ can do wrong: routing, dead letters of the broker, consumers that it has cancelled."""

import asyncio

import aio_pika
import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, DisconnectionError

from penstock.local.processes import free_port
from shared.contracts.topology import DEAD_EXCHANGE, EXCHANGE, PROCESSOR_IMPORTS, QUEUES, Queue
from shared.platform.bus.letters import collect
from shared.platform.database import engine_for
from tests.bus.conftest import until, waiting


@pytest.fixture
def bus_url(rabbit_url) -> str:
    return rabbit_url


@pytest.fixture
async def channel(rabbit_url):
    connection = await aio_pika.connect(rabbit_url)
    yield await connection.channel()
    await connection.close()


async def ignore(_):
    pass


async def test_every_start_declares_the_whole_topology(station, channel):
    for queue in QUEUES:
        declared = await channel.declare_queue(queue.name, passive=True)
        assert declared.declaration_result.message_count == 0
        await channel.declare_queue(queue.dead_letter_queue, passive=True)


async def test_an_unroutable_message_is_an_error_and_is_kept(station, channel):
    seen = []

    async def handle(event):
        seen.append(event.data.slice)

    queue = await channel.get_queue(PROCESSOR_IMPORTS.name)
    await queue.unbind(EXCHANGE, routing_key="slice.process")
    await station.publish(1)
    await asyncio.sleep(1.5)  # the relay tries and is told
    assert await waiting(station.database_url) == 1
    await station.consume(handle)  # its start binds the queue again
    await until(lambda: seen == [1], seconds=20)


async def test_bytes_that_are_no_event_end_in_the_dead_letter_queue(station, channel):
    await station.consume(ignore)
    exchange = await channel.get_exchange(EXCHANGE)
    await exchange.publish(aio_pika.Message(b"{not an event"), routing_key="slice.process")
    graveyard = await channel.get_queue(PROCESSOR_IMPORTS.dead_letter_queue)
    async with asyncio.timeout(10):
        while (dead := await graveyard.get(fail=False)) is None:
            await asyncio.sleep(0.05)
    assert dead.body == b"{not an event"
    await dead.ack()


async def test_who_stops_gets_no_more_while_it_finishes_what_it_has(station):
    """The library would take messages and drop them until the last one in hand has ended."""
    queue = Queue("processor.imports", PROCESSOR_IMPORTS.types, workers=3)
    begun, go_on, seen = asyncio.Event(), asyncio.Event(), []

    async def holding(event):
        begun.set()
        await go_on.wait()

    async def handle(event):
        seen.append(event.data.slice)

    leaving = await station.consume(holding, queue=queue, stop_seconds=60)
    await station.publish(1)
    await begun.wait()
    stopping = asyncio.create_task(leaving.stop())
    await station.consume(handle, queue=queue)
    await station.publish(*range(2, 12))
    await until(lambda: sorted(seen) == list(range(2, 12)), seconds=30)
    assert not stopping.done()
    go_on.set()
    await stopping


async def test_messages_are_persistent_and_say_what_they_are(station, channel):
    queue = await channel.declare_queue("", exclusive=True)
    await queue.bind(EXCHANGE, routing_key="#")
    [event] = await station.publish(1)
    async with asyncio.timeout(10):
        while (message := await queue.get(fail=False)) is None:
            await asyncio.sleep(0.05)
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.content_type == "application/cloudevents+json"
    assert message.message_id == str(event.id)
    assert message.routing_key == "slice.process"
    await message.ack()


async def test_a_consumer_that_the_broker_cancelled_is_not_ready(station, channel):
    queue = Queue("test.cancelled", frozenset({"slice.process"}))
    bus = await station.consume(ignore, queue=queue)
    assert all(check.ok for check in await bus.checks())
    await channel.queue_delete(queue.name)
    async with asyncio.timeout(10):
        while all(check.ok for check in await bus.checks()):
            await asyncio.sleep(0.1)
    [bad] = [check for check in await bus.checks() if not check.ok]
    assert queue.name in bad.name


async def fails_for_postgresql(rabbit_url, engine) -> bool:
    """Whether there was something to put down, which then could not be."""
    try:
        return await collect(rabbit_url, engine) != 0
    except DisconnectionError:
        return True


async def test_dead_letters_stay_with_the_broker_until_they_are_kept(
    station, channel, database_url, rabbit_url
):
    dead = await channel.get_exchange(DEAD_EXCHANGE)
    for _ in range(3):
        await dead.publish(aio_pika.Message(b"{no event"), routing_key=PROCESSOR_IMPORTS.name)
    database = await asyncpg.connect(database_url)
    await database.execute("ALTER TABLE bus.dead_letters RENAME TO away")
    with pytest.raises(DBAPIError):
        await collect(rabbit_url, station.engine)
    await database.execute("ALTER TABLE bus.away RENAME TO dead_letters")
    away = engine_for(f"postgresql://penstock@127.0.0.1:{free_port()}/penstock", "upload", pool_size=1)
    async with asyncio.timeout(30):  # as below
        while not await fails_for_postgresql(rabbit_url, away):
            await asyncio.sleep(0.1)
    await away.dispose()
    async with asyncio.timeout(30):  # until the broker has them back
        while await collect(rabbit_url, station.engine) == 0:
            await asyncio.sleep(0.1)
    rows = await database.fetch("SELECT queue, payload, created_at FROM bus.dead_letters")
    assert [(row["queue"], row["payload"]) for row in rows] == [(PROCESSOR_IMPORTS.name, b"{no event")] * 3
    assert await collect(rabbit_url, station.engine) == 0
    await database.close()
