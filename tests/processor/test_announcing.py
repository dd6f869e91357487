"""What is told live of an import's way."""

import asyncio
from contextlib import suppress

import pytest

from shared.contracts.events import event_from
from shared.platform.bus import Bus
from tests.processor.conftest import command


@pytest.fixture
async def heard(mill):
    """The live events of all services, as they arrive."""
    events: asyncio.Queue = asyncio.Queue()
    await mill.database.add_listener("penstock_live", lambda *told: events.put_nowait(told[-1]))
    return events


@pytest.fixture
async def bus(mill):
    bus = Bus("processor", database_url=mill.database_url)
    await bus.start()
    yield bus
    await bus.stop()


async def test_an_import_is_being_processed_from_its_claim_on(mill, bus, heard):
    """Not from the end of its first slice, which may be long: here it has none."""
    import_id = await mill.take_on("title,author,isbn,publication_year\nMomo,Ende,9783522177504,1973\n")
    (mill.store / "uploads" / str(import_id)).unlink()
    with suppress(Exception):
        await mill.pipeline(bus=bus).process(command(import_id, 0))
    async with asyncio.timeout(5):
        event = event_from((await heard.get()).encode())
    work = await mill.work(import_id)
    assert (event.type, event.data.import_id, event.data.rows_processed) == (
        "import.progressed",
        import_id,
        0,
    )
    assert event.data.processing_started_at == work["started_at"]
    assert heard.empty()
