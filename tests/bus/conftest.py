"""The bus under test, on either transport."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.events import AnyEvent, SliceProcess, event_of
from shared.contracts.topology import PROCESSOR_IMPORTS, Queue
from shared.platform.bus import Bus, Handler, RetryPolicy, Subscription
from shared.platform.database import engine_for

FAST = RetryPolicy(first_delay=0.1, max_delay=0.5, max_attempts=3, jitter=0)


@pytest.fixture(params=["embedded", "rabbitmq"])
def bus_url(request) -> str | None:
    return None if request.param == "embedded" else request.getfixturevalue("rabbit_url")


@dataclass
class Station:
    """A publisher (`upload`) and any number of consumers (`processor`) on one bus."""

    database_url: str
    bus_url: str | None
    engine: AsyncEngine
    publisher: Bus
    consumers: list[Bus] = field(default_factory=list)

    async def consume(
        self,
        handle: Handler,
        *,
        queue: Queue = PROCESSOR_IMPORTS,
        retry: RetryPolicy = FAST,
        on_exhausted=None,
        stop_seconds: float = 3,
    ) -> Bus:
        """Start one more process's worth of consumer, whose messages go to `handle`."""
        bus = Bus(
            "processor",
            database_url=self.database_url,
            bus_url=self.bus_url,
            retry=retry,
            stop_seconds=stop_seconds,
        )
        bus.subscribe(Subscription(queue, dict.fromkeys(queue.types, handle), on_exhausted))
        self.consumers.append(bus)
        await bus.start()
        return bus

    async def publish(self, *slices: int, subject: UUID | None = None) -> list[AnyEvent]:
        """Commit a command for each of `slices`, one transaction each."""
        events = [command(number, subject) for number in slices]
        for event in events:
            async with self.engine.begin() as connection:
                await self.publisher.publish(connection, event)
        return events


def command(number: int, subject: UUID | None = None) -> AnyEvent:
    subject = subject or uuid4()
    return event_of(
        SliceProcess(import_id=subject, slice=number), tenant="t", subject=subject, service="upload"
    )


@pytest.fixture
async def station(database_url, bus_url) -> AsyncIterator[Station]:
    engine = engine_for(database_url, "upload", pool_size=2)
    publisher = Bus("upload", database_url=database_url, bus_url=bus_url, stop_seconds=3)
    await publisher.start()
    made = Station(database_url, bus_url, engine, publisher)
    yield made
    for bus in [*made.consumers, publisher]:
        await bus.stop()
    await engine.dispose()


async def until(true: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until `true()` holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        await asyncio.sleep(0.01)


async def waiting(url: str) -> int:
    """How many messages are in the outbox, due or not."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT count(*) FROM bus.outbox")
    finally:
        await connection.close()
