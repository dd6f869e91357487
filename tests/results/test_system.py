"""How the installation is, told to its administrators: processes and queues, on either transport."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import httpx
import pytest

from shared.contracts.topology import EXCHANGE, PROCESSOR_IMPORTS, QUEUES, SERVICES
from shared.platform.bus import Bus, RetryPolicy
from shared.platform.database import engine_for
from tests.bus.conftest import Station
from tests.results.given import headers

# A message of nobody's process, due `$2` seconds from now, taken `$3` seconds ago or not at all.
MESSAGE = """
    INSERT INTO bus.outbox (queue, payload, next_attempt_at, acquired_at, acquired_token)
    SELECT $1, '', now() + make_interval(secs => $2), now() - make_interval(secs => $3),
        CASE WHEN $3::float8 IS NOT NULL THEN gen_random_uuid() END
"""
ONCE = RetryPolicy(max_attempts=1)
PATIENCE_SECONDS = 60  # a broker that starts again on a loaded machine
IN_A_MINUTE = RetryPolicy(first_delay=60, jitter=0)


@pytest.fixture(params=["embedded", "rabbitmq"])
def environment(environment, request, monkeypatch):
    """The environment of the service under test, on either transport."""
    if request.param == "rabbitmq":
        environment["PENSTOCK_BUS_URL"] = request.getfixturevalue("rabbit_url")
        monkeypatch.setenv("PENSTOCK_BUS_URL", environment["PENSTOCK_BUS_URL"])
    return environment


@pytest.fixture
def on_rabbitmq(environment) -> bool:
    return "PENSTOCK_BUS_URL" in environment


@pytest.fixture
async def station(environment):
    """A process of `upload` that publishes, and any number of `processor`."""
    url, bus_url = environment["PENSTOCK_DATABASE_URL"], environment.get("PENSTOCK_BUS_URL")
    made = Station(
        url, bus_url, engine_for(url, "upload", pool_size=2), Bus("upload", database_url=url, bus_url=bus_url)
    )
    await made.publisher.start()
    yield made
    for bus in [*made.consumers, made.publisher]:
        await bus.stop()
    await made.engine.dispose()


@pytest.fixture
def ask(results) -> Callable[..., Awaitable[httpx.Response]]:
    async def ask(*scopes: str) -> httpx.Response:
        return await results.client.get("/api/v1/system", headers=headers(results.secret, "acme", *scopes))

    return ask


@pytest.fixture
def system(ask) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def system() -> dict[str, Any]:
        response = await ask("admin")
        assert response.status_code == 200, response.text
        return dict(response.json())

    return system


@pytest.fixture
def queue_once(system):
    """What is said of the queue of imports, once it is so."""

    async def queue_once(**wanted: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not found or wanted != {name: found[name] for name in wanted}:
                    await asyncio.sleep(0.02)
                    [found] = [
                        one for one in (await system())["queues"] if one["name"] == PROCESSOR_IMPORTS.name
                    ]
        except TimeoutError:
            raise AssertionError(f"not {wanted}: {found}") from None
        return found

    return queue_once


async def fail(_):
    raise ZeroDivisionError


async def nothing_to_relay(system):
    """What RabbitMQ has confirmed leaves the outbox a little later."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await system())["outbox"]["waiting"]:
            await asyncio.sleep(0.02)


async def test_every_service_and_queue_is_there_also_where_nothing_is(system, on_rabbitmq):
    found = await system()
    assert found["transport"] == ("rabbitmq" if on_rabbitmq else "embedded")
    assert found["database_version"].split(".")[0].isdigit()
    assert found["version"][0].isdigit()
    assert [(one["name"], one["processes"]) for one in found["services"]] == [
        (name, int(name == "results")) for name in SERVICES
    ]
    assert [(one["name"], one["service"]) for one in found["queues"]] == [
        (queue.name, queue.service) for queue in QUEUES
    ]
    for one in found["queues"]:
        assert one["waiting"] == one["scheduled"] == one["dead_letters"] == 0, one
        assert one["oldest_seconds"] is None
        assert one["in_hand"] == (None if on_rabbitmq else 0)
        assert one["consumers"] == (int(one["service"] == "results") if on_rabbitmq else None)
    assert found["outbox"] == {"waiting": 0, "oldest_seconds": None}
    assert found["detail"] is None


async def test_only_administrators_are_told(ask):
    refused = await ask("imports:read", "records:read", "investigations:admin", "webhooks:admin")
    assert (refused.status_code, refused.json()["required_scope"]) == (403, "admin")


async def test_processes_are_counted_while_they_live(system, station):
    async def processes(service: str) -> int:
        return {one["name"]: one["processes"] for one in (await system())["services"]}[service]

    first, second = [await station.consume(fail) for _ in range(2)]
    assert await processes("processor") == 2
    for bus, left in ((first, 1), (second, 0)):
        await bus.stop()
        async with asyncio.timeout(5):
            while await processes("processor") != left:
                await asyncio.sleep(0.02)
    assert await processes("upload") == 1


async def test_what_nobody_takes_waits(queue_once, system, station, on_rabbitmq):
    await station.publish(1, 2, 3)
    found = await queue_once(waiting=3)
    assert (found["scheduled"], found["dead_letters"]) == (0, 0)
    if on_rabbitmq:
        assert found["oldest_seconds"] is None
    else:
        await asyncio.sleep(0.2)
        later = await queue_once(waiting=3)
        assert later["oldest_seconds"] >= found["oldest_seconds"] + 0.2
    await nothing_to_relay(system)


async def test_what_a_consumer_has_taken_does_not_wait(queue_once, station, on_rabbitmq):
    may_end = asyncio.Event()

    async def hold(_):
        await may_end.wait()

    await station.consume(hold)
    await station.publish(*range(6))
    workers = PROCESSOR_IMPORTS.workers
    # From PostgreSQL, a process takes as many as it has workers ahead of them.
    taken = workers if on_rabbitmq else 2 * workers
    found = await queue_once(waiting=6 - taken, in_hand=None if on_rabbitmq else taken)
    assert found["consumers"] == (1 if on_rabbitmq else None)
    may_end.set()
    await queue_once(waiting=0, in_hand=None if on_rabbitmq else 0, oldest_seconds=None)


async def test_what_failed_does_not_wait_before_its_next_attempt_is_due(queue_once, station):
    await station.consume(fail, retry=IN_A_MINUTE)
    await station.publish(1)
    found = await queue_once(scheduled=1)
    assert (found["waiting"], found["oldest_seconds"], found["dead_letters"]) == (0, None, 0)


async def test_what_failed_for_the_last_time_is_a_dead_letter(queue_once, station):
    await station.consume(fail, retry=ONCE)
    await station.publish(1, 2)
    found = await queue_once(dead_letters=2)
    assert (found["waiting"], found["scheduled"]) == (0, 0)


async def test_consumers_are_behind_by_the_time_for_which_the_first_one_has_been_due(queue_once, database):
    for due_in in (-100, -10, 3600):
        await database.connection.execute(MESSAGE, PROCESSOR_IMPORTS.name, due_in, None)
    found = await queue_once(waiting=2, scheduled=1)
    assert 100 <= found["oldest_seconds"] < 130


@pytest.mark.parametrize("environment", ["embedded"], indirect=True)
async def test_a_message_whose_lease_has_run_out_waits_again(queue_once, database):
    for due_in, taken in ((-50, 5.0), (-20, 40.0)):
        await database.connection.execute(MESSAGE, PROCESSOR_IMPORTS.name, due_in, taken)
    found = await queue_once(waiting=1, in_hand=1)
    assert 20 <= found["oldest_seconds"] < 50


@pytest.mark.parametrize("environment", ["rabbitmq"], indirect=True)
async def test_what_the_broker_itself_gave_up_is_a_dead_letter_too(queue_once, station):
    await station.consume(fail)
    async with await aio_pika.connect(station.bus_url) as connection:
        exchange = await (await connection.channel()).get_exchange(EXCHANGE)
        await exchange.publish(aio_pika.Message(b"{not an event"), routing_key="slice.process")
    await queue_once(waiting=0, dead_letters=1)


@pytest.mark.parametrize("environment", ["rabbitmq"], indirect=True)
async def test_a_broker_that_is_away_costs_its_numbers_and_nothing_else(
    queue_once, system, station, database, broker
):
    await database.connection.execute(MESSAGE, PROCESSOR_IMPORTS.name, 3600, None)
    broker.kill()
    await station.publish(1)
    unknown = dict.fromkeys(("waiting", "in_hand", "oldest_seconds", "dead_letters", "consumers"))
    await queue_once(scheduled=1, **unknown)
    found = await system()
    assert "RabbitMQ" in found["detail"]
    assert {one["name"]: one["processes"] for one in found["services"]}["upload"] == 1
    assert found["outbox"]["waiting"] == 1
    await asyncio.sleep(0.2)
    # Not of the relay's next attempt, which is at most 5 s away.
    assert (await system())["outbox"]["oldest_seconds"] >= found["outbox"]["oldest_seconds"] + 0.2
    await asyncio.to_thread(broker.start)
    found = await queue_once(waiting=1, scheduled=1)
    # RabbitMQ may dead-letter once more, after it was killed, what a test before has had rejected.
    assert found["dead_letters"] is not None
    await nothing_to_relay(system)
    assert (await system())["detail"] is None
