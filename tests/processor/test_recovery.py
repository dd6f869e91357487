"""What keeps one bad file, or one bad moment, from harming more than itself."""

import asyncio
import tracemalloc

import pytest

from services.processor import slices
from services.processor.pipeline import MAX_TRIES
from services.processor.slices import SliceReader, Source
from shared.contracts.datasets import datasets
from shared.contracts.dialect import Dialect
from shared.contracts.events import SliceProcess
from shared.reading.batch import Checkpoint
from tests.processor.conftest import HEADERS, command
from tests.processor.test_leases import GatedObjects, products


async def test_a_column_that_a_file_does_not_bring_stays_as_it_is(mill):
    await mill.load("sku,name,description\nA,Bolt,strong\nB,Nut,small\n", dataset="products")
    positions = {"columns": {"sku": 0, "name": 1}, "column_count": 2}
    done = await mill.load("sku,name\nA,Bolt M5\nB,Nut\nC,Washer\n", dataset="products", **positions)
    assert (done["rows_inserted"], done["rows_updated"], done["rows_unchanged"]) == (1, 1, 1)
    assert [(row["sku"], row["name"], row["description"]) for row in await mill.records("products")] == [
        ("A", "Bolt M5", "strong"),
        ("B", "Nut", "small"),
        ("C", "Washer", None),
    ]


async def test_a_slice_is_bounded_in_records_too(mill, monkeypatch):
    monkeypatch.setattr(slices, "RECORDS_A_SLICE", 3)
    monkeypatch.setattr("shared.reading.records.PIECE_BYTES", 64)
    content = "sku,name\n" + "".join(f"{number},n\n" for number in range(200))
    positions = {"columns": {"sku": 0, "name": 1}, "column_count": 2}
    done = await mill.load(content, mill.pipeline(slice_bytes=10_000), dataset="products", **positions)
    assert (done["rows_processed"], done["rows_inserted"]) == (200, 200)
    assert done["slice"] > 5, "64 bytes have some ten records, so there must be many slices"
    assert [
        row["row_number"] for row in sorted(await mill.records("products"), key=lambda row: row["row_number"])
    ] == list(range(1, 201))


async def test_nothing_is_loaded_after_the_import_has_failed(mill):
    import_id = await mill.take_on(products(), dataset="products")
    mill.objects = GatedObjects(f"file://{mill.store}")
    pipeline = mill.pipeline()
    in_hand = asyncio.create_task(pipeline.process(command(import_id, 0)))
    await mill.objects.asked.wait()
    await pipeline.give_up(command(import_id, 0), ValueError("enough"))
    mill.objects.open.set()
    await in_hand
    assert await mill.records("products") == []
    assert [event.type for event in await mill.events()] == ["import.failed"]
    assert (await mill.work(import_id))["status"] == "failed"


async def test_a_slice_that_keeps_ending_its_processor_fails_its_import(mill):
    import_id = await mill.take_on(products(), dataset="products")
    await mill.database.execute("UPDATE processor.imports SET tries = $1", MAX_TRIES)
    await mill.pipeline().process(command(import_id, 0))
    work = await mill.work(import_id)
    assert (work["status"], work["error_code"]) == ("failed", "slice_fatal")


async def test_a_slice_that_went_well_is_forgiven_its_tries(mill):
    import_id = await mill.take_on(products(), dataset="products")
    await mill.database.execute("UPDATE processor.imports SET tries = $1", MAX_TRIES - 1)
    await mill.pipeline().process(command(import_id, 0))
    assert (await mill.work(import_id))["tries"] == 0


@pytest.mark.parametrize("done", [0, 2])
async def test_a_start_asks_again_for_what_is_unfinished(mill, done):
    unfinished = await mill.take_on(products(), dataset="products")
    await mill.load("sku,name,description\nA,Bolt,x\n", dataset="products")
    pipeline = mill.pipeline()
    for number in range(done):
        await pipeline.process(command(unfinished, number))
    await mill.database.execute("TRUNCATE bus.outbox")  # the broker has lost everything
    await pipeline.resume()
    assert [event.data for event in await mill.events()] == [SliceProcess(import_id=unfinished, slice=done)]


def test_memory_of_bad_records_is_bounded_in_the_first_slice_too():
    """Every record is bad."""
    source = Source(
        dataset=datasets()["books"],
        dialect=Dialect(),
        columns={"title": 0, "author": 1, "isbn": 2, "publication_year": 3},
        width=4,
        header=("title", "author", "isbn", "publication_year"),
        date_order=None,
    )
    block = HEADERS["books"].encode() + b"\n" + b"\0,a\n" * 150_000
    reader = SliceReader(source, Checkpoint(), errors_wanted=10, date_orders=None)
    tracemalloc.start()
    reader.feed(block, at_end=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reader.slice.rejected == 150_000
    assert peak < 64 * 1024**2  # one window of the shortest records takes half of it
