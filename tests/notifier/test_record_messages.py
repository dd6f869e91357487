"""Webhooks of records: what a real processor did, told to those who asked for it."""

import asyncio
import random
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from services.notifier.consumer import subscription
from services.notifier.logbook.logbook import Logbook
from services.notifier.messages import expansion
from shared.contracts.events import RecordCreate, RecordDelete, RecordPatch, RecordsDeleteAll
from shared.platform.bus import Bus, Later
from shared.platform.database import advisory_key, engine_for
from shared.platform.objects import Objects
from tests.notifier.given import cancelled, completed
from tests.notifier.receiver import receiving, until
from tests.notifier.telling import Telling, items_of
from tests.processor.conftest import Mill
from tests.processor.editing import asking
from tests.processor.given import written

CREATED, UPDATED, DELETED, DONE = "product.created", "product.updated", "product.deleted", "import.completed"
ZONE = ZoneInfo("UTC")
SMALL_SLICES = 8_000  # bytes: some 300 products


@pytest.fixture
async def mill(database_url, database, tmp_path):
    engine = engine_for(database_url, "processor", pool_size=4)
    bus = Bus("processor", database_url=database_url)
    await bus.presence.start([])
    store = tmp_path / "store"
    yield Mill(database_url, engine, database, Objects(f"file://{store}"), store, bus)
    await bus.presence.stop()
    await engine.dispose()


@pytest.fixture
async def telling(mill, database_url, database):
    engine = engine_for(database_url, "notifier", pool_size=6)
    bus = Bus("notifier", database_url=database_url)
    logbook = Logbook(bus.publish, ZONE, quota=1000)
    yield Telling(mill, subscription(engine, logbook, zone=ZONE, wake=lambda: None), database)
    await engine.dispose()


@pytest.fixture
async def ask(mill):
    async with asking(mill) as asker:
        yield asker


def products(numbers, name="n"):
    return written(("sku", "name"), ((f"S-{number}", f"{name} {number}") for number in numbers))


async def load(mill, content, *, slice_bytes=SMALL_SLICES, **options):
    return await mill.load(
        content, mill.pipeline(slice_bytes=slice_bytes), **{"dataset": "products"} | options
    )


def rows_of(payloads, event_type):
    return [item["changed_by_row"] for item in items_of(payloads, event_type)]


async def test_an_import_is_told_whole_in_order_of_the_file_and_its_end_comes_last(mill, telling):
    endpoint = await telling.endpoint("product.*", "import.*")
    await load(mill, products(range(300, 800)))
    await telling.hear_all()
    before = len(await telling.told(endpoint))

    # 300 are new, 200 have other names, 200 are as they were, 100 come again with another name; two records are bad.
    records = [*((f"S-{n}", f"n {n}") for n in range(600, 800)), *((f"s-{n}", f"m {n}") for n in range(600))]
    again = ((f"S-{n}", "again") for n in range(100))
    records = [*records[:500], ("", "no sku"), ("x" * 300, "long"), *records[500:], *again]
    work = await load(mill, written(("sku", "name"), records), slice_bytes=3000)
    assert (work["rows_inserted"], work["rows_updated"], work["rows_unchanged"]) == (300, 300, 200)
    assert work["slice"] == 4
    await telling.hear_all()

    told = (await telling.told(endpoint))[before:]
    assert [payload["type"] for payload in told[:-1]].count(DONE) == 0
    assert (told[-1]["type"], told[-1]["data"]["rows_updated"]) == (DONE, 300)
    batches = [payload["data"] for payload in told[:-1]]
    assert [batch["batch"] for batch in batches] == list(range(1, len(batches) + 1))
    first_rows = [batch["first_row"] for batch in batches]
    assert first_rows == sorted(first_rows)
    assert {batch["import_id"] for batch in batches} == {str(work["import_id"])}
    for batch in batches:
        rows = [item["changed_by_row"] for item in batch["items"]]
        assert (batch["count"], batch["first_row"], batch["last_row"]) == (len(rows), rows[0], rows[-1])

    new, changed = items_of(told, CREATED), items_of(told, UPDATED)
    assert rows_of(told, CREATED) == list(range(201, 501))
    # Behind the 300 that the file changed are the 100 that it brought a second time.
    assert rows_of(told, UPDATED) == [*range(503, 803), *range(803, 903)]
    assert [item["id"] for item in new] == [f"s-{n}" for n in range(300)]
    assert [item["id"] for item in changed] == [f"s-{n}" for n in [*range(300, 600), *range(100)]]
    assert {item["name"] for item in changed[-100:]} == {"again"}
    links = {"links": {"record": "/api/v1/records/products/s-450"}, "changed_by_row": 653}
    assert changed[150] == await telling.shown("products", "s-450") | links


async def test_whatever_events_come_and_however_often_each_change_is_told_once(mill, telling, monkeypatch):
    monkeypatch.setattr(expansion, "CHANGES_A_STEP", 2)
    monkeypatch.setattr(expansion, "STEPS_AT_ONCE", 2)
    endpoint = await telling.endpoint("product.*", "import.*")
    for seed in range(3):
        work = await load(mill, products(range(2000), f"v{seed}"), slice_bytes=16_000)
        events = [event for event in await mill.events() if event.subject == str(work["import_id"])]
        draw = random.Random(seed)
        hints = [event for event in events if event.type == "records.changed"]
        heard = draw.choices(hints, k=len(hints))  # some twice, some never
        ends = [event for event in events if event.type == DONE] * 2
        await asyncio.gather(*map(telling.hear_patiently, [*heard[:2], *ends, *heard[2:]]))

        told = [
            payload
            for payload in await telling.told(endpoint)
            if payload["data"]["import_id"] == str(work["import_id"])
        ]
        assert [payload["type"] for payload in told].count(DONE) == 1
        assert told[-1]["type"] == DONE
        assert rows_of(told, UPDATED if seed else CREATED) == list(range(1, 2001))
        assert rows_of(told, CREATED if seed else UPDATED) == []


async def test_records_are_told_while_their_import_goes_on(mill, telling):
    endpoint = await telling.endpoint(CREATED)
    import_id = await mill.take_on(products(range(1000)), dataset="products")
    pipeline = mill.pipeline(slice_bytes=SMALL_SLICES)
    await mill.begin(import_id, pipeline, records=300)
    await telling.hear_all()
    early = len(items_of(await telling.told(endpoint), CREATED))
    assert 300 <= early < 1000
    await mill.finish(import_id, pipeline)
    await telling.hear_all("records.changed")
    assert rows_of(await telling.told(endpoint), CREATED) == list(range(1, 1001))


async def test_an_import_that_is_loaded_all_at_once_is_told_in_steps(mill, telling, monkeypatch):
    """Created and updated in one slice, of which a step takes some: still in order, over both."""
    monkeypatch.setattr(expansion, "CHANGES_A_STEP", 3)
    endpoint = await telling.endpoint("product.*")
    await load(mill, products(range(0, 12_000, 3)), slice_bytes=1 << 20)
    await telling.hear_all()
    before = len(await telling.told(endpoint))
    await load(mill, products(range(12_000), "v2"), options={"atomic": True}, slice_bytes=1 << 20)
    await telling.hear_all("records.changed")
    told = (await telling.told(endpoint))[before:]
    assert rows_of(told, UPDATED) == [number + 1 for number in range(0, 12_000, 3)]
    assert rows_of(told, CREATED) == [number + 1 for number in range(12_000) if number % 3]
    first_rows = [payload["data"]["first_row"] for payload in told]
    assert first_rows == sorted(first_rows)


async def test_who_goes_on_with_an_import_is_alone_at_it(mill, telling, database):
    endpoint = await telling.endpoint("*")
    await load(mill, products(range(10)))
    [hint, *_] = [event for event in await mill.events() if event.type == "records.changed"]
    key = advisory_key(f"penstock:expansion:{hint.subject}")
    await database.execute("SELECT pg_advisory_lock($1)", key)
    with pytest.raises(Later):
        await telling.hear(hint)
    assert await telling.told(endpoint) == []
    await database.execute("SELECT pg_advisory_unlock($1)", key)
    await telling.hear(hint)
    assert rows_of(await telling.told(endpoint), CREATED) == list(range(1, 11))


async def test_a_sale_tells_of_the_product_that_it_sold(mill, telling):
    everything, products_only = (
        await telling.endpoint("*"),
        await telling.endpoint("*", datasets=["products"]),
    )
    imports = await telling.endpoint("import.*", datasets=["sales"])
    await load(mill, written(("sku", "name", "stock_quantity"), [("Old", "old", 10)]))
    await telling.hear_all()
    before = len(await telling.told(products_only))
    header = ("transaction_id", "sold_at", "sku", "quantity", "unit_price")
    sold = [("t1", "2024-01-02", "old", 3, "1.50"), ("t2", "2024-01-02", "new", 1, "2.00")]
    work = await load(mill, written(header, sold), dataset="sales")
    await telling.hear_all()

    told = (await telling.told(everything))[before:]
    assert rows_of(told, "sale.created") == [1, 2]
    [stock], [new] = items_of(told, UPDATED), items_of(told, CREATED)
    assert (stock["id"], stock["stock_quantity"], stock["changed_by_row"]) == ("old", 7, 1)
    assert stock["import_id"] != str(work["import_id"])  # who wrote it last; a sale only takes from the stock
    assert (new["id"], new["changed_by_row"]) == ("new", 2)
    assert {payload["data"]["import_id"] for payload in told} == {str(work["import_id"])}
    mine = (await telling.told(products_only))[before:]
    assert sorted(payload["type"] for payload in mine) == [CREATED, UPDATED]
    assert [payload["type"] for payload in await telling.told(imports)] == [DONE]


async def test_results_of_a_look_up_have_the_import_in_their_ids(mill, telling):
    endpoint = await telling.endpoint("stock-code.created")
    work = await load(mill, written(("stock_code",), [("a",), ("A/1",), ("a",)]), dataset="stock-codes")
    await telling.hear_all()
    items = items_of(await telling.told(endpoint), "stock-code.created")
    assert [item["id"] for item in items] == [f"{work['import_id']}~a", f"{work['import_id']}~a/1"]
    assert items[1]["links"]["record"] == f"/api/v1/records/stock-codes/{work['import_id']}~a%2F1"


async def test_nobody_asked_nothing_is_made(mill, telling, database):
    await telling.endpoint("book.*", "import.failed", "endpoint.*")
    await telling.endpoint("*", tenant="other")
    await load(mill, products(range(10)))
    await telling.hear_all()
    for table in ("messages", "deliveries"):
        assert await database.fetchval(f"SELECT count(*) FROM notifier.{table}") == 0


async def test_large_records_fill_more_bodies(mill, telling):
    endpoint = await telling.endpoint(CREATED)
    fat = "ä" * 20_000  # 40 kB
    content = written(("sku", "name", "description"), ((f"f{n}", "n", fat) for n in range(20)))
    await load(mill, content, slice_bytes=1 << 20)
    await telling.hear_all()
    told = await telling.told(endpoint)
    assert [payload["data"]["count"] for payload in told] == [6, 6, 6, 2]
    assert rows_of(told, CREATED) == list(range(1, 21))


async def test_what_was_deleted_meanwhile_is_told_as_gone(mill, telling, ask):
    endpoint = await telling.endpoint("product.*")
    await load(mill, products([1, 2]))
    await ask(RecordDelete, key="s-1")
    await ask(RecordsDeleteAll)
    await telling.hear_all()
    told = await telling.told(endpoint)
    assert items_of(told, CREATED) == [
        {"id": f"s-{number}", "changed_by_row": number, "deleted": True} for number in (1, 2)
    ]
    assert items_of(told, DELETED) == [{"id": "s-1"}]
    assert told[-1]["data"] == {
        "dataset": "products",
        "edit_id": told[-1]["data"]["edit_id"],
        "count": 1,
        "whole_dataset": True,
        "links": {"records": "/api/v1/records/products"},
        "items": [],
    }


async def test_edits_are_told_one_by_one_in_their_order(mill, telling, ask, database):
    endpoint = await telling.endpoint("product.*")
    for sku in ("A/1", "b"):
        await ask(RecordCreate, values={"sku": sku, "name": "x"})
    await ask(RecordPatch, key="a/1", values={"name": "y"})
    await ask(RecordPatch, key="a/1", values={"name": "y"})  # changes nothing, so there is nothing to tell
    await ask(RecordDelete, key="b")
    events = await telling.hear_all()
    await telling.hear(*events)
    told = await telling.told(endpoint)
    assert [payload["type"] for payload in told] == [CREATED, CREATED, UPDATED, DELETED]
    link = {"links": {"record": "/api/v1/records/products/a%2F1"}}
    assert told[2]["data"]["items"] == [await telling.shown("products", "a/1") | link]
    assert told[2]["data"].keys() == {"dataset", "edit_id", "count", "items"}
    assert told[3]["data"]["items"] == [{"id": "b"}]
    rows = await database.fetch("SELECT held FROM notifier.deliveries ORDER BY sequence")
    assert [held for (held,) in rows] == [False, False, True, True]


async def test_an_import_that_changed_nothing_is_told_by_its_end_alone(mill, telling):
    endpoint = await telling.endpoint("*")
    await load(mill, products(range(5)), options={"dry_run": True})
    await telling.hear_all()
    await telling.hear(cancelled(import_id=uuid4()), completed(import_id=uuid4()))
    told = await telling.told(endpoint)
    assert [payload["type"] for payload in told] == [DONE, "import.cancelled", DONE]


async def test_a_receiver_gets_an_import_and_the_edits_behind_it(notifier, mill, ask):
    """All the way: a processor, the notifier as it runs, and HTTP."""
    async with receiving() as receiver:
        webhook = await notifier.webhook(receiver.url, "product.*", "import.completed")
        await load(mill, products(range(1500)))
        await until(lambda: any(DONE.encode() in one.body for one in receiver.received))
        await ask(RecordPatch, key="s-7", values={"name": "seven"})
        await ask(RecordsDeleteAll)
        await until(lambda: any(b"whole_dataset" in one.body for one in receiver.received))
        await until(
            lambda: any(b'"seven"' in one.body or b'"deleted":true' in one.body for one in receiver.received)
        )
        received = list(receiver.received)
    told = [one.verified(webhook["secret"]) for one in received]
    end = [payload["type"] for payload in told].index(DONE)
    assert rows_of(told[:end], CREATED) == list(range(1, 1501))
    assert {payload["type"] for payload in told[end + 1 :]} == {UPDATED, DELETED}
    assert sorted(int(one.headers["webhook-sequence"]) for one in received) == list(range(1, len(told) + 1))
