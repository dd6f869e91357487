"""A consumer proves that it works, by canaries on either transport; one that is deaf is not ready."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from time import monotonic
from urllib.parse import urlsplit

import aio_pika
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.contracts.events import CanarySent, event_of
from shared.contracts.topology import EXCHANGE, PROCESSOR_COMMANDS, PROCESSOR_IMPORTS, QUEUES
from shared.platform.bus import Bus, canary
from shared.platform.bus.canary import (
    CANARY_SECONDS,
    DEAF_SECONDS,
    PAUSE_SECONDS,
    STUCK_SECONDS,
    UNSENT_SECONDS,
    Pulse,
)
from shared.platform.database import engine_for
from shared.platform.telemetry.figures import CANARY_SECONDS as TOOK
from shared.platform.telemetry.figures import MESSAGES, SCRAPE_FAILURES
from tests.bus.conftest import command, until, waiting

QUEUE = PROCESSOR_IMPORTS.name


def arrived(queue: str = QUEUE) -> float:
    """How many canaries have come through the queue, in this process so far."""
    return next(
        sample.value
        for family in TOOK.collect()
        for sample in family.samples
        if sample.name.endswith("_count") and sample.labels["queue"] == queue
    )


def done(outcome: str, queue: str = QUEUE) -> float:
    return MESSAGES.labels(queue, outcome)._value.get()


@pytest.fixture
def impatient(monkeypatch):
    """Canaries at once, and again and again; deaf after 3 s."""
    TOOK.labels(QUEUE)
    monkeypatch.setattr(canary, "CANARY_SECONDS", 0.2)
    monkeypatch.setattr(canary, "PAUSE_SECONDS", 0.4)
    monkeypatch.setattr(canary, "DEAF_SECONDS", 3.0)


@asynccontextmanager
async def freezing(url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Another URL of the broker, and whether it answers there: else connections stay, and nothing comes through any more."""
    target = urlsplit(url)
    going_on, carrying = asyncio.Event(), []
    going_on.set()

    async def carry(reader, writer):
        while piece := await reader.read(65536):
            await going_on.wait()
            writer.write(piece)

    async def through(reader, writer):
        carrying.append(asyncio.current_task())
        other_reader, other_writer = await asyncio.open_connection(target.hostname, target.port)
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(carry(reader, other_writer), carry(other_reader, writer))
        for each in (writer, other_writer):
            each.close()
            with suppress(OSError):
                await each.wait_closed()

    server = await asyncio.start_server(through, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield url.replace(f":{target.port}", f":{port}"), going_on
    server.close()
    for task in carrying:
        task.cancel()
    await asyncio.gather(*carrying, return_exceptions=True)


def ready(bus: Bus) -> bool:
    """Whether the consumer's canaries say so; what the broker says of it is another check of the same name."""
    return bus._pulses[QUEUE].check().ok


async def test_canaries_go_through_the_whole_bus_and_reach_no_handler(station, impatient):
    handled = []

    async def handle(event):
        handled.append(event)

    before = arrived()
    bus = await station.consume(handle)
    await until(lambda: arrived() >= before + 2, seconds=30)
    assert handled == []
    assert all(check.ok for check in await bus.checks())
    idle = [
        sample for sample in await bus.figures() if sample.figure.name == "penstock_consumer_idle_seconds"
    ]
    assert [sample.labels for sample in idle] == [(QUEUE,)]


async def test_a_handler_that_fails_is_a_sign_of_life_and_one_that_works_long_is_no_deaf_one(
    station, impatient
):
    going_on = asyncio.Event()
    begun = []

    async def handle(event):
        begun.append(event)
        await going_on.wait()
        raise ValueError("it always fails")

    bus = await station.consume(handle)
    await station.publish(1)
    await until(lambda: begun, seconds=30)
    bus._pulses[QUEUE]._now = lambda: monotonic() + 2 * canary.DEAF_SECONDS
    assert ready(bus)
    failed = done("failed")
    going_on.set()
    await until(lambda: done("failed") > failed, seconds=30)
    assert ready(bus)


async def test_what_becomes_of_a_message_is_counted_once_for_each_attempt(station):
    async def handle(_):
        raise ValueError("it always fails")

    before = {outcome: done(outcome) for outcome in ("failed", "dead")}
    await station.consume(handle)
    await station.publish(1)
    await until(lambda: done("dead") > before["dead"], seconds=30)
    assert {outcome: done(outcome) - before[outcome] for outcome in before} == {"failed": 3, "dead": 1}


class TestOnRabbitMQ:
    @pytest.fixture
    def bus_url(self, rabbit_url):
        return rabbit_url

    async def test_a_deaf_consumer_becomes_unready_while_all_else_looks_well(self, station, impatient):
        """As FastStream #2758: connection and channel live, the queue has another consumer, this one gets nothing."""

        async def handle(_):
            pass

        deaf, other = await station.consume(handle), await station.consume(handle)
        assert ready(deaf)
        subscriber = deaf._rabbit._subscribers[QUEUE]
        channel = await subscriber._queue_obj.channel.get_underlay_channel()
        for tag in list(channel.consumers):
            await channel.basic_cancel(tag)
        before = arrived()
        await until(lambda: not ready(deaf), seconds=30)
        checks = [(check.name, check.ok) for check in await deaf.checks()]
        assert ("bus.rabbitmq", True) in checks
        assert (f"bus.subscriber.{QUEUE}", True) in checks  # the broker's view: somebody consumes
        assert (f"bus.consumer.{QUEUE}", False) in checks  # canaries know better
        assert "no canary either" in deaf._pulses[QUEUE].check().detail
        await until(lambda: ready(other), seconds=30)
        assert arrived() > before  # its canaries came to the other one

    async def test_while_the_broker_is_silent_what_has_not_reached_it_is_shown(
        self, database_url, rabbit_url
    ):
        async with freezing(rabbit_url) as (url, answering):
            bus = Bus("upload", database_url=database_url, bus_url=url, stop_seconds=1)
            await bus.start()
            well = {sample.figure.name for sample in await bus.figures()}
            answering.clear()
            engine = engine_for(database_url, "upload", pool_size=1)
            async with engine.begin() as connection:
                await bus.publish(connection, command(1))
            await asyncio.sleep(0.1)
            failures = SCRAPE_FAILURES.labels("upload.rabbitmq")._value.get()
            found = {sample.figure.name: sample for sample in await bus.figures()}
            assert well - found.keys() == {"penstock_queue_messages"}
            assert found["penstock_outbox_lag_seconds"].value >= 0.1
            assert SCRAPE_FAILURES.labels("upload.rabbitmq")._value.get() == failures + 1
            await engine.dispose()
            answering.set()
            await bus.stop()

    async def test_a_broker_that_was_silent_until_it_was_given_up_gets_what_waits(
        self, database_url, rabbit_url
    ):
        """The library then cancels whoever waits for a confirmation, which must not be the end of the relay."""
        async with freezing(rabbit_url) as (url, answering):
            bus = Bus("upload", database_url=database_url, bus_url=f"{url}?heartbeat=1", stop_seconds=1)
            await bus.start()
            connection = await bus._rabbit._broker.connect()
            first = connection.transport
            answering.clear()
            engine = engine_for(database_url, "upload", pool_size=1)
            async with engine.begin() as transaction:
                await bus.publish(transaction, command(1))
            await until(lambda: connection.transport is not first, seconds=30)
            await asyncio.sleep(0.5)
            assert await waiting(database_url) == 1
            answering.set()
            async with asyncio.timeout(30):
                while await waiting(database_url) or not all(check.ok for check in await bus.checks()):
                    await asyncio.sleep(0.1)
            await engine.dispose()
            await bus.stop()

    async def test_a_canary_goes_to_its_queue_alone(self, station, rabbit_url):
        event = event_of(
            CanarySent(queue="x"), tenant="penstock", subject=PROCESSOR_COMMANDS.name, service="upload"
        )
        connection = await aio_pika.connect(rabbit_url)
        async with connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(EXCHANGE)
            await exchange.publish(
                aio_pika.Message(event.to_bytes()), routing_key=PROCESSOR_COMMANDS.canary_key
            )
            counts = {}
            for queue in QUEUES:
                declared = await channel.declare_queue(queue.name, passive=True)
                counts[queue.name] = declared.declaration_result.message_count
        assert {name for name, count in counts.items() if count} == {PROCESSOR_COMMANDS.name}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def after(pulse: Pulse, clock: Clock, seconds: float) -> bool:
    clock.now += seconds
    return pulse.wants_canary()


def test_pauses_between_canaries_grow_and_end_with_a_sign_of_life():
    clock = Clock()
    pulse = Pulse("q", now=clock)
    assert not after(pulse, clock, CANARY_SECONDS - 1)
    assert after(pulse, clock, 1)
    assert not pulse.wants_canary()
    assert after(pulse, clock, CANARY_SECONDS)
    assert not after(pulse, clock, CANARY_SECONDS)
    assert after(pulse, clock, CANARY_SECONDS)
    for _ in range(10):
        assert not after(pulse, clock, PAUSE_SECONDS - 1)
        assert after(pulse, clock, 1)
    assert not pulse.check().ok
    with pulse.working():
        pass
    assert pulse.check().ok
    assert after(pulse, clock, CANARY_SECONDS)


def test_who_asks_for_messages_lives_though_canaries_go_on():
    clock = Clock()
    pulse = Pulse("q", now=clock)
    for _ in range(100):
        clock.now += 1
        pulse.seen()
    assert pulse.check().ok
    assert pulse.wants_canary()


class Consumers(RuleBasedStateMachine):
    """Any order of messages, signs of life and time: what is ready, and what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.pulse = Pulse("q", now=self.clock)
        self.in_hand: list[tuple[float, ExitStack]] = []
        self.alive_at = self.done_at = self.clock.now
        self.canaries: list[float] = []

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, 9.9, 10.0, 31.0, 61.0, 1800.0, 3600.0]))
    def time_passes(self, seconds):
        self.clock.now += seconds

    @precondition(lambda self: len(self.in_hand) < 3)
    @rule()
    def a_message_comes(self):
        held = ExitStack()
        held.enter_context(self.pulse.working())
        self.in_hand.append((self.clock.now, held))

    @precondition(lambda self: self.in_hand)
    @rule(which=st.integers(min_value=0, max_value=2), fails=st.booleans())
    def a_message_is_done(self, which, fails):
        _, held = self.in_hand.pop(which % len(self.in_hand))
        if fails:
            held.__exit__(ValueError, ValueError(), None)
        else:
            held.close()
        self.alive_at = self.done_at = self.clock.now
        self.canaries.clear()

    @rule()
    def it_asks_for_messages(self):
        self.pulse.seen()
        self.alive_at = self.clock.now

    @rule()
    def a_canary_may_be_sent(self):
        due = not self.busy and self.clock.now >= self.done_at + CANARY_SECONDS
        if self.canaries:
            pause = min(CANARY_SECONDS * 2 ** (len(self.canaries) - 1), PAUSE_SECONDS)
            due = due and self.clock.now >= self.canaries[-1] + pause
        assert self.pulse.wants_canary() == due
        if due:
            self.canaries.append(self.clock.now)

    @property
    def busy(self) -> bool:
        return any(self.clock.now - begun < STUCK_SECONDS for begun, _ in self.in_hand)

    @invariant()
    def ready_is_who_works_or_was_alive_lately(self):
        idle = 0.0 if self.busy else self.clock.now - self.alive_at
        assert self.pulse.idle_seconds() == pytest.approx(idle)
        assert self.pulse.check().ok == (idle < DEAF_SECONDS)
        assert self.pulse.sample().value == pytest.approx(idle)

    def teardown(self):
        for _, held in self.in_hand:
            held.close()


TestConsumers = Consumers.TestCase
TestConsumers.settings = settings(max_examples=60, stateful_step_count=40)


async def test_a_database_that_is_away_ends_no_canaries():
    clock = Clock()
    pulse = Pulse("q", now=clock)
    asked = []

    async def send(queues):
        asked.append(queues)
        raise ConnectionError("away")

    def asked_again() -> bool:
        clock.now += 1
        return len(asked) >= 3

    sending = asyncio.create_task(canary.send_canaries([pulse], send, every=0.01))
    await until(asked_again, seconds=30)
    sending.cancel()
    assert asked[:3] == [["q"]] * 3


def test_one_that_could_not_be_sent_is_not_waited_for():
    now = 0.0
    pulse = Pulse(QUEUE, now=lambda: now)
    now = 10 * PAUSE_SECONDS
    for _ in range(5):  # the database is away
        assert pulse.wants_canary()
        pulse.not_sent()
        assert not pulse.wants_canary()
        now += UNSENT_SECONDS
    assert pulse.wants_canary()
    now += UNSENT_SECONDS
    assert not pulse.wants_canary()  # that one was sent
