"""Cancel and retry: when an import ends on request, and how a failed one goes on."""

import asyncio
from uuid import uuid4

import pytest

from services.processor.consumer import subscriptions
from tests.processor.conftest import HEADERS, cancel_command, command, retry_command
from tests.processor.given import balance
from tests.processor.test_leases import GatedObjects, books, expire, lease, products


async def ends_of(mill):
    return await mill.events("import.completed", "import.failed", "import.cancelled")


async def begun(mill, content, dataset="products", *, records=3, slice_bytes=60):
    import_id = await mill.take_on(content, dataset=dataset)
    pipeline = mill.pipeline(slice_bytes=slice_bytes)
    await mill.begin(import_id, pipeline, records=records)
    return import_id, pipeline


async def test_cancel_ends_an_import_between_two_slices_at_once(mill):
    import_id, pipeline = await begun(mill, products())
    before = await mill.work(import_id)
    await mill.cancel(import_id, pipeline)
    work = await mill.work(import_id)
    assert (work["status"], work["lease_owner"]) == ("cancelled", None)
    assert balance(work)["inserted"] == before["rows_inserted"] == len(await mill.records("products")) >= 3
    [told] = await ends_of(mill)
    assert (told.type, told.tenant, told.subject) == ("import.cancelled", "acme", str(import_id))
    assert (told.data.rows_processed, told.data.rows_inserted) == (work["rows_processed"],) * 2
    assert told.data.processing_completed_at == work["finished_at"]
    await pipeline.process(command(import_id, before["commanded"]))
    assert await mill.work(import_id) == work


async def test_cancel_stops_the_import_in_hand_with_the_slice_in_hand(mill):
    mill.objects = GatedObjects(f"file://{mill.store}")
    import_id = await mill.take_on(products(), dataset="products")
    pipeline = mill.pipeline(slice_bytes=60, run_seconds=60)
    in_hand = asyncio.create_task(pipeline.process(command(import_id, 0)))
    await mill.objects.asked.wait()
    await mill.cancel(import_id, pipeline)
    assert (await mill.work(import_id))["status"] == "processing"
    mill.objects.open.set()
    await in_hand
    work = await mill.work(import_id)
    assert (work["status"], work["slice"]) == ("cancelled", 1)
    assert balance(work)["inserted"] == len(await mill.records("products"))
    assert [event.type for event in await mill.events()] == ["records.changed", "import.cancelled"]


async def test_cancel_of_an_import_that_waits_leaves_nothing_to_do(mill):
    import_id = await mill.take_on(products(), dataset="products")
    pipeline = mill.pipeline()
    await mill.cancel(import_id, pipeline)
    await pipeline.process(command(import_id, 0))
    [told] = await ends_of(mill)
    assert (told.data.rows_processed, told.data.processing_started_at) == (0, None)
    assert await mill.records("products") == []


async def test_cancel_of_an_import_whose_processor_died_ends_it_at_once(mill, another_process):
    import_id = await mill.take_on(products(), dataset="products")
    await lease(mill, import_id, another_process)
    await mill.cancel(import_id)
    assert (await mill.work(import_id))["status"] == "processing", "the other one is alive, and will see it"
    await expire(mill, import_id)
    await mill.cancel(import_id)
    assert (await mill.work(import_id))["status"] == "cancelled"


async def test_cancel_twice_is_told_once(mill):
    import_id, pipeline = await begun(mill, products())
    for _ in range(2):
        await mill.cancel(import_id, pipeline)
    assert len(await ends_of(mill)) == 1


@pytest.mark.parametrize("end", ["completed", "failed"])
async def test_cancel_of_an_import_that_has_ended_changes_nothing(mill, end):
    import_id = await mill.take_on(products(), dataset="products")
    pipeline = mill.pipeline()
    if end == "failed":
        await pipeline.give_up(command(import_id, 0), ValueError())
    ended = await mill.finish(import_id, pipeline)
    events = await mill.events()
    await mill.cancel(import_id, pipeline)
    assert (await mill.work(import_id), await mill.events()) == (ended, events)
    assert ended["status"] == end


async def test_cancel_that_is_heard_before_its_import_ends_it_as_it_is_taken_on(mill):
    said = await mill.upload(products(), dataset="products")
    other = await mill.upload(products(), dataset="products")
    await mill.cancel(said.import_id)
    for uploaded in (said, other):
        await mill.hear_uploaded(uploaded)

    work = await mill.work(said.import_id)
    assert (work["status"], work["started_at"], work["rows_processed"]) == ("cancelled", None, 0)
    assert (await mill.work(other.import_id))["status"] == "processing", "it was not meant"
    assert [event.subject for event in await ends_of(mill)] == [str(said.import_id)]
    assert [event.subject for event in await mill.events("slice.process")] == [str(other.import_id)]
    assert await mill.database.fetch("SELECT FROM processor.early_cancels") == []


async def test_cancel_and_its_import_heard_at_once_end_it(mill):
    """Whichever is first: neither misses the other."""
    for _ in range(20):
        said = await mill.upload(products(), dataset="products")
        await asyncio.gather(mill.cancel(said.import_id), mill.hear_uploaded(said))
        assert (await mill.work(said.import_id))["status"] == "cancelled"
    assert len(await ends_of(mill)) == 20


async def test_cancel_of_an_import_that_never_comes_is_forgotten(mill):
    gone, recent = uuid4(), uuid4()
    for import_id in (gone, recent):
        await mill.cancel(import_id)
    await mill.database.execute(
        "UPDATE processor.early_cancels SET heard_at = now() - interval '31 days' WHERE import_id = $1", gone
    )
    await mill.pipeline().tidy()
    assert await mill.database.fetch("SELECT import_id FROM processor.early_cancels") == [(recent,)]


async def test_cancel_keeps_what_it_knows_of_duplicates(mill):
    """Loading has found them, their error file is still to be written: that is done before the end."""
    twice = books() + books().partition("\n")[2]
    import_id, pipeline = await begun(mill, twice, "books", records=50)
    found = (await mill.work(import_id))["rows_duplicate"]
    await mill.cancel(import_id, pipeline)
    work = await mill.finish(import_id, pipeline)
    assert work["status"] == "cancelled"
    assert 0 < found == work["rows_duplicate"] < 40
    assert balance(work)["inserted"] == len(await mill.records()) == 40
    error_file = (await mill.error_file(import_id)).decode().splitlines()
    assert len(error_file) == 1 + found == 1 + len(await mill.errors(import_id))
    assert len(await ends_of(mill)) == 1
    assert await mill.database.fetchval("SELECT count(*) FROM processor.duplicates") == 0


async def test_cancel_after_the_last_record_was_loaded_comes_too_late(mill):
    twice = books() + books().partition("\n")[2]
    import_id = await mill.take_on(twice)
    pipeline = mill.pipeline(slice_bytes=1 << 20)
    await pipeline.process(command(import_id, 0))
    assert (await mill.work(import_id))["phase"] == "filing"
    await mill.cancel(import_id, pipeline)
    assert (await mill.finish(import_id, pipeline))["status"] == "completed"
    assert [event.type for event in await ends_of(mill)] == ["import.completed"]


async def test_retry_goes_on_at_the_checkpoint_as_the_next_run(mill):
    import_id, pipeline = await begun(mill, products())
    stopped = await mill.work(import_id)
    await pipeline.give_up(command(import_id, stopped["commanded"]), ValueError())
    await mill.database.execute("TRUNCATE bus.outbox")
    await mill.retry(import_id, pipeline)
    resumed, asked = await mill.events()
    assert (resumed.type, resumed.data.run, resumed.data.import_id) == ("import.resumed", 2, import_id)
    assert resumed.data.processing_started_at == stopped["started_at"]
    assert (asked.type, asked.data.slice) == ("slice.process", stopped["slice"])
    going_on = await mill.work(import_id)
    same = ("byte_offset", "rows_processed", "rows_inserted", "slice", "started_at")
    assert [going_on[name] for name in same] == [stopped[name] for name in same]
    assert (going_on["error_code"], going_on["error_message"], going_on["finished_at"]) == (None, None, None)
    work = await mill.finish(import_id, pipeline)
    assert balance(work) == {"inserted": 40, "updated": 0, "unchanged": 0, "duplicate": 0, "rejected": 0}
    [completed] = await mill.events("import.completed")
    assert (completed.data.run, completed.data.rows_inserted) == (2, 40)
    assert await mill.database.fetchval("SELECT run FROM processor.receipts") == 2


async def test_each_failure_tells_its_run(mill):
    import_id, pipeline = await begun(mill, products())
    for _ in range(3):
        await pipeline.give_up(command(import_id, (await mill.work(import_id))["commanded"]), ValueError())
        await mill.retry(import_id, pipeline)
    assert [event.data.run for event in await mill.events("import.failed")] == [1, 2, 3]
    assert [event.data.run for event in await mill.events("import.resumed")] == [2, 3, 4]


async def test_a_run_that_was_given_up_does_not_come_back_with_its_command(mill):
    """A command of the run before that is still under way does no slice twice."""
    import_id, pipeline = await begun(mill, products())
    stale = command(import_id, (await mill.work(import_id))["commanded"])
    await pipeline.give_up(stale, ValueError())
    await mill.retry(import_id, pipeline)
    for _ in range(3):
        await pipeline.process(stale)
    assert (await mill.finish(import_id, pipeline))["rows_inserted"] == 40
    assert sorted(row["row_number"] for row in await mill.records("products")) == list(range(1, 41))


@pytest.mark.parametrize("state", ["processing", "completed", "cancelled"])
async def test_retry_of_an_import_that_has_not_failed_does_nothing(mill, state):
    import_id, pipeline = await begun(mill, products())
    if state == "completed":
        await mill.finish(import_id, pipeline)
    if state == "cancelled":
        await mill.cancel(import_id, pipeline)
    before, events = await mill.work(import_id), await mill.events()
    assert before["status"] == state
    await mill.retry(import_id, pipeline)
    assert (await mill.work(import_id), await mill.events()) == (before, events)


async def test_retry_of_an_unknown_import_does_nothing(mill):
    await mill.retry(uuid4())
    assert await mill.events() == []


async def test_a_retried_import_can_be_cancelled_though_it_was_before_it_failed(mill, another_process):
    """The wish belongs to the run that it was said of."""
    import_id = await mill.take_on(products(), dataset="products")
    await lease(mill, import_id, another_process)
    pipeline = mill.pipeline()
    await mill.cancel(import_id, pipeline)
    await pipeline.give_up(command(import_id, 0), ValueError())
    await mill.retry(import_id, pipeline)
    assert (await mill.finish(import_id, pipeline))["status"] == "completed"


@pytest.mark.parametrize("kind", [cancel_command, retry_command])
async def test_giving_up_a_command_does_not_end_the_import(mill, kind):
    import_id = await mill.take_on(f"{HEADERS['products']}\nA,Bolt,\n", dataset="products")
    await mill.pipeline().give_up(kind(import_id), ValueError())
    assert (await mill.work(import_id))["status"] == "processing"


async def test_a_command_delivered_twice_leaves_the_run_behind_it_alone(mill):
    import_id, pipeline = await begun(mill, products())
    _, commands = subscriptions(mill.engine, mill.bus, pipeline)
    again, over = retry_command(import_id), cancel_command(import_id)
    await pipeline.give_up(command(import_id, (await mill.work(import_id))["commanded"]), ValueError())
    await commands.handlers["import.cancel"](over)
    for _ in range(2):
        await commands.handlers["import.retry"](again)
        await commands.handlers["import.cancel"](over)
        work = await mill.work(import_id)
        assert (work["status"], work["run"]) == ("processing", 2)
    await pipeline.give_up(command(import_id, work["commanded"]), ValueError())
    await commands.handlers["import.retry"](again)
    work = await mill.work(import_id)
    assert (work["status"], work["run"]) == ("failed", 2)
