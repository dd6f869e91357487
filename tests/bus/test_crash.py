"""Nothing is lost when a consumer, the database's connections or the broker die."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from shared.platform.bus import Bus
from shared.platform.bus.backlog import LEASE_SECONDS
from shared.platform.bus.rabbit import RabbitTransport
from tests.bus.conftest import until, waiting

PROGRAM = Path(__file__).with_name("consumer_process.py")


@pytest.fixture
def heartbeat() -> str:
    """What a URL of RabbitMQ ends with."""
    return ""


@pytest.fixture
def hanging_consumer(station, heartbeat):
    bus_url = station.bus_url + heartbeat if station.bus_url else ""
    process = subprocess.Popen(
        [sys.executable, PROGRAM, station.database_url, bus_url],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


async def has_in_hand(station, consumer) -> None:
    """Publish slice 1, and wait until this consumer has it."""
    await station.publish(1)
    assert await asyncio.to_thread(consumer.stdout.readline) == "got 1\n"


async def close_connections(database_url):
    admin = await asyncpg.connect(database_url)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await admin.close()


async def test_what_a_killed_consumer_had_in_hand_comes_back_at_once(station, hanging_consumer):
    seen = []

    async def handle(event):
        seen.append(event.data.slice)

    await has_in_hand(station, hanging_consumer)
    hanging_consumer.send_signal(signal.SIGKILL)
    hanging_consumer.wait()
    started = time.monotonic()
    await station.consume(handle)
    await until(lambda: seen == [1], seconds=10)
    assert time.monotonic() - started < 10, "must not wait for the lease of the dead process"


@pytest.mark.parametrize("bus_url", ["rabbitmq"], indirect=True)  # the other has a lease instead
@pytest.mark.parametrize("heartbeat", ["?heartbeat=2"])
async def test_what_a_frozen_consumer_had_in_hand_goes_to_another(station, hanging_consumer, heartbeat):
    """Its connection stays open, so that only the heartbeat that it owes RabbitMQ tells."""
    seen = []

    async def handle(event):
        seen.append(event.data.slice)

    await has_in_hand(station, hanging_consumer)
    hanging_consumer.send_signal(signal.SIGSTOP)
    await station.consume(handle)
    await until(lambda: seen == [1], seconds=20)


@pytest.mark.parametrize(("query", "promised"), [("", "20"), ("?heartbeat=5", "5"), ("?name=a", "20")])
def test_a_heartbeat_is_promised_whatever_the_url_says(query, promised):
    transport = RabbitTransport(f"amqp://penstock@rabbit/%2F{query}", "processor", stop_seconds=1)
    connects_to = urlsplit(str(transport._broker._connection_kwargs["url"]))
    assert parse_qs(connects_to.query)["heartbeat"] == [promised]


async def test_broken_database_connections_are_made_anew(station):
    seen = []

    async def handle(event):
        seen.append(event.data.slice)

    await station.consume(handle)
    await station.publish(1)
    await until(lambda: seen == [1])
    await close_connections(station.database_url)
    await station.publish(2, 3)
    await until(lambda: set(seen) == {1, 2, 3}, seconds=20)


@pytest.mark.parametrize(
    "bus_url", ["rabbitmq"], indirect=True
)  # the other's broker is PostgreSQL: see above
async def test_nothing_is_lost_while_the_broker_is_away(station, broker):
    seen = []

    async def handle(event):
        seen.append(event.data.slice)

    bus = await station.consume(handle)
    await station.publish(1)
    await until(lambda: seen == [1])
    broker.kill()
    await station.publish(2, 3)
    await asyncio.sleep(1)
    assert not all(check.ok for check in await bus.checks()), "readiness must tell that the broker is away"
    assert seen == [1]
    await asyncio.to_thread(broker.start)
    await until(lambda: set(seen) >= {1, 2, 3}, seconds=60)
    await station.publish(4)
    await until(lambda: 4 in seen, seconds=30)
    async with asyncio.timeout(30):
        while not all(check.ok for check in await bus.checks()):
            await asyncio.sleep(0.2)


async def test_two_processes_of_a_service_leave_each_others_leases_alone(station):
    begun, finished = asyncio.Event(), []

    async def slow(event):
        begun.set()
        await asyncio.sleep(1.0)
        finished.append(event.data.slice)

    await station.consume(slow)
    await station.publish(1)
    await begun.wait()
    second: Bus = await station.consume(slow)  # its start must not free what the first has in hand
    await asyncio.sleep(1.5)
    assert finished == [1]
    assert all(check.ok for check in await second.checks())


@pytest.mark.parametrize("bus_url", ["embedded"], indirect=True)
async def test_a_message_ends_though_postgresql_closed_the_workers_connection_meanwhile(station):
    handled = []

    async def handle(event):
        await close_connections(station.database_url)
        handled.append(event.data.slice)

    await station.consume(handle)
    await station.publish(1)
    await until(lambda: handled)
    end = time.monotonic() + LEASE_SECONDS / 3
    while await waiting(station.database_url):
        assert time.monotonic() < end, "it waits for the end of its lease"
        await asyncio.sleep(0.1)
    assert handled == [1]
