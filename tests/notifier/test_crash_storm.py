"""Two notifiers: killed at any time they lose nothing, and left alone they send nothing twice.

PENSTOCK_TEST_STORM_ROUNDS=100 for a longer storm, PENSTOCK_TEST_SEED for the same again.
"""

import asyncio
import logging
import os
import random

import pytest

from shared.platform.bus import Bus
from shared.platform.database import engine_for
from tests.notifier.crashes import Scene, nursery_open
from tests.notifier.given import completed
from tests.notifier.receiver import Answer, receiving

ROUNDS = int(os.environ.get("PENSTOCK_TEST_STORM_ROUNDS", "1"))
EVENTS = 60  # in a round
KILLS = 6
EVENTS_LEFT_ALONE = 500
ENDPOINTS = 4
FAILING_SHARE = 0.1
LONGEST_WAIT = 0.4  # seconds until the next kill

pytestmark = pytest.mark.timeout(120 + 60 * ROUNDS)


@pytest.fixture(scope="module")
async def nursery():
    async with nursery_open() as nursery:
        yield nursery


@pytest.fixture(params=["embedded", "rabbitmq"])
def bus_url(request):
    return None if request.param == "embedded" else request.getfixturevalue("rabbit_url")


@pytest.fixture
async def scene(nursery, environment, database, tmp_path, bus_url):
    # So that a delivery which fails now and then has succeeded within seconds.
    settings = {"PENSTOCK_WEBHOOK_RETRY_SCALE": "0.001"} | ({"PENSTOCK_BUS_URL": bus_url} if bus_url else {})
    async with receiving() as receiver:
        scene = Scene(nursery, environment | settings, database, receiver, tmp_path / "notifier.log")
        for _ in range(ENDPOINTS):
            await scene.endpoint("import.*")
        yield scene
        await scene.close()


@pytest.fixture
async def publish(database_url, bus_url):
    """Publishes as the processor does, on either transport."""
    engine = engine_for(database_url, "processor", pool_size=2)
    bus = Bus("processor", database_url=database_url, bus_url=bus_url)
    await bus.start()

    async def publish_all(*events):
        async with engine.begin() as connection:
            for event in events:
                await bus.publish(connection, event)

    yield publish_all
    await bus.stop()
    await engine.dispose()


async def test_killed_at_any_time_two_notifiers_lose_nothing(scene, publish, record_property):
    seed = int(os.environ.get("PENSTOCK_TEST_SEED", random.SystemRandom().randrange(10**6)))
    logging.getLogger(__name__).warning("PENSTOCK_TEST_SEED=%d", seed)  # shown with a failure
    chance = random.Random(seed)
    scene.receiver.decide = lambda _: Answer(
        500 if chance.random() < FAILING_SHARE else 200, stall=chance.choice([0, 0, 0.02])
    )
    for number in range(1, ROUNDS + 1):
        async with asyncio.TaskGroup() as together:
            together.create_task(come(publish, chance))
            together.create_task(rage(scene, chance))
        await scene.settled(number * EVENTS * ENDPOINTS)
        for notifier in list(scene.running):
            await scene.kill(notifier)
    twice = await scene.nothing_is_lost()
    record_property("storm", f"{ROUNDS} rounds, {scene.kills} kills, {twice} sent twice")
    logging.getLogger(__name__).warning(
        "%d kills, %d deliveries, %d sent twice", scene.kills, ROUNDS * EVENTS * ENDPOINTS, twice
    )
    assert scene.kills == ROUNDS * (KILLS + 2)


async def come(publish, chance):
    for _ in range(EVENTS):
        await publish(completed())
        await asyncio.sleep(chance.uniform(0, KILLS * LONGEST_WAIT / EVENTS))


async def rage(scene, chance):
    """Kill one of two again and again; at last both, as one that comes back alone takes over what they had at once."""
    for _ in range(2):
        await scene.start()
    for number in range(KILLS):
        await asyncio.sleep(chance.uniform(0, LONGEST_WAIT))
        victim = chance.choice(scene.running)
        await scene.kill(victim)
        if number < KILLS - 2:
            await scene.start()
    for _ in range(2):
        await scene.start()


@pytest.mark.parametrize("bus_url", ["embedded"], indirect=True)
async def test_left_alone_two_notifiers_send_each_delivery_once(scene, publish):
    scene.receiver.then = Answer(stall=0.01)  # so that lanes are full
    for _ in range(2):
        await scene.ready(await scene.start())
    await publish(*(completed() for _ in range(EVENTS_LEFT_ALONE)))
    owners = set()
    while len(owners) < 2:
        rows = await scene.database.fetch("SELECT DISTINCT lease_owner FROM notifier.deliveries")
        owners |= {row["lease_owner"] for row in rows} - {None}
    await scene.settled(EVENTS_LEFT_ALONE * ENDPOINTS)
    assert await scene.nothing_is_lost() == 0
    assert set(scene.requests().values()) == {1}
