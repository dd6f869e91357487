"""The processor as it runs, on the bus: from `import.uploaded` to `import.completed`."""

import asyncpg
import pytest

from services.processor.app import build
from services.processor.consumer import subscriptions
from shared.contracts.events import event_from, event_of
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from shared.platform.logs import trace_id_of
from shared.platform.objects import Objects
from shared.platform.service import Stopping, compose
from tests.processor.conftest import HEADERS

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ROWS = 40_000  # more than one slice of the smallest size that the setting allows


@pytest.fixture
def small_slices(environment, monkeypatch):
    monkeypatch.setenv("PENSTOCK_SLICE_BYTES", str(2 * 1024**2))
    return environment


@pytest.fixture
async def running(small_slices, mill):
    mill.objects = Objects(small_slices["PENSTOCK_STORE_URL"])
    app = compose([build(Stopping())])
    async with app.router.lifespan_context(app):
        yield mill


@pytest.fixture
async def publish(database_url):
    engine = engine_for(database_url, "upload", pool_size=2)
    bus = Bus("upload", database_url=database_url)

    async def publish_one(event):
        async with engine.begin() as connection:
            await bus.publish(connection, event)

    yield publish_one
    await engine.dispose()


def big_file() -> str:
    rows = (f"SKU-{number},Product number {number},{'x' * 40}" for number in range(ROWS))
    return "\n".join([HEADERS["products"], *rows, ""])


def uploaded_event(uploaded, **options):
    return event_of(uploaded, tenant="acme", subject=uploaded.import_id, service="upload", **options)


async def outbox(database_url, queue, event_type):
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("SELECT payload FROM bus.outbox WHERE queue = $1", queue)
    finally:
        await connection.close()
    return [event for row in rows if (event := event_from(row["payload"])).type == event_type]


async def test_an_uploaded_file_is_loaded_slice_by_slice_and_its_end_told(running, publish, soon):
    uploaded = await running.upload(big_file(), dataset="products")
    await publish(uploaded_event(uploaded, traceparent=TRACEPARENT))

    async def is_done():
        return await running.database.fetchval("SELECT status = 'completed' FROM processor.imports")

    await soon(is_done)
    work = await running.work(uploaded.import_id)
    assert work["slice"] > 1
    assert work["rows_inserted"] == ROWS
    for queue in ("results.imports", "notifier.events"):
        [ended] = await outbox(running.database_url, queue, "import.completed")
        assert (ended.tenant, ended.data.rows_inserted) == ("acme", ROWS)
        assert trace_id_of(ended.traceparent) == trace_id_of(TRACEPARENT)


async def test_an_upload_told_twice_is_taken_on_once(mill):
    consumer, _ = subscriptions(mill.engine, mill.bus, mill.pipeline())
    uploaded = await mill.upload(f"{HEADERS['products']}\nA,Bolt,\n", dataset="products")
    event = uploaded_event(uploaded)
    for _ in range(2):
        await consumer.handlers["import.uploaded"](event)
    [asked] = await mill.events("slice.process")
    assert asked.data.slice == 0
    await consumer.handlers["slice.process"](asked)
    await consumer.handlers["import.uploaded"](uploaded_event(uploaded))  # under another id
    assert (await mill.work(uploaded.import_id))["status"] == "completed"
    assert await mill.database.fetchval("SELECT count(*) FROM data.products") == 1


async def test_an_upload_that_cannot_be_taken_on_ends_as_failed(mill):
    consumer, _ = subscriptions(mill.engine, mill.bus, mill.pipeline())
    uploaded = await mill.upload(f"{HEADERS['products']}\nA,Bolt,\n", dataset="products")
    await consumer.on_exhausted(uploaded_event(uploaded), ValueError("anything"))
    [failed] = await mill.events("import.failed")
    assert failed.data.error_code == "processing_failed"
    assert (await mill.work(uploaded.import_id))["status"] == "failed"
