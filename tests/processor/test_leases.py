"""Who may work on an import: leases, their ends, and what happens when two meet."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from services.processor import repository
from shared.platform.bus import Bus, Later
from shared.platform.objects import Objects
from tests.processor.conftest import HEADERS, command

ROWS = 40


class GatedObjects(Objects):
    """A store that answers only when told to, so that a slice can be held in the middle."""

    def __init__(self, url):
        super().__init__(url)
        self.asked, self.open = asyncio.Event(), asyncio.Event()

    async def read(self, key, start, length):
        self.asked.set()
        await self.open.wait()
        return await super().read(key, start, length)


def products(start=0, stop=ROWS, name="Bolt"):
    rows = (f"SKU-{number},{name},x" for number in range(start, stop))
    return "\n".join([HEADERS["products"], *rows, ""])


def books(order=1):
    """Books 0 to ROWS, or backwards; one record a line."""
    isbns = [f"978{number:09}" for number in range(ROWS)][::order]
    rows = (f"Title,Author,{isbn}{check_digit(isbn)},2000" for isbn in isbns)
    return "\n".join([HEADERS["books"], *rows, ""])


def check_digit(twelve):
    return -sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(twelve)) % 10


def balance(work):
    return [work[f"rows_{name}"] for name in ("processed", "inserted", "updated", "unchanged", "duplicate")]


async def lease(mill, import_id, bus, *, seconds=60.0):
    async with mill.engine.begin() as connection:
        return await repository.claim(connection, import_id, 0, owner=bus.presence.instance, seconds=seconds)


async def expire(mill, import_id):
    await mill.database.execute(
        "UPDATE processor.imports SET leased_until = now() - $2::interval WHERE import_id = $1",
        import_id,
        timedelta(seconds=1),
    )


async def is_held(mill, import_id):
    return (await mill.work(import_id))["lease_owner"] is not None


async def test_a_slice_that_a_living_process_has_in_hand_comes_later(mill, another_process):
    import_id = await mill.take_on(products(), dataset="products")
    held = await lease(mill, import_id, another_process)
    with pytest.raises(Later):
        await mill.pipeline().process(command(import_id, 0))
    assert (await mill.work(import_id))["fence"] == held.fence


async def test_a_slice_that_this_process_has_in_hand_comes_later(mill):
    objects = GatedObjects(f"file://{mill.store}")
    import_id = await mill.take_on(products(), dataset="products")
    mill.objects = objects
    pipeline = mill.pipeline(slice_bytes=1 << 20)
    first = asyncio.create_task(pipeline.process(command(import_id, 0)))
    await objects.asked.wait()
    with pytest.raises(Later):
        await pipeline.process(command(import_id, 0))
    objects.open.set()
    await first
    assert balance(await mill.work(import_id)) == [ROWS, ROWS, 0, 0, 0]


async def test_a_dead_process_is_succeeded_at_once(mill, another_process, soon):
    import_id = await mill.take_on(products(), dataset="products")
    held = await lease(mill, import_id, another_process, seconds=3600)
    await another_process.presence.stop()

    async def is_dead():
        async with mill.engine.begin() as connection:
            return not await repository.is_alive(connection, another_process.presence.instance)

    await soon(is_dead)
    work = await mill.finish(import_id)
    assert balance(work) == [ROWS, ROWS, 0, 0, 0]
    assert work["fence"] > held.fence


async def test_a_lease_that_has_expired_is_taken_over(mill, another_process):
    import_id = await mill.take_on(products(), dataset="products")
    await lease(mill, import_id, another_process)
    await expire(mill, import_id)
    assert (await mill.finish(import_id))["status"] == "completed"


async def test_who_lost_the_lease_leaves_no_trace(mill, another_process):
    """The first process is held up while it reads; another one does the import meanwhile."""
    slow = GatedObjects(f"file://{mill.store}")
    import_id = await mill.take_on(products(), dataset="products")
    quick = mill.pipeline(bus=another_process)
    mill.objects = slow
    late = asyncio.create_task(mill.pipeline().process(command(import_id, 0)))
    await slow.asked.wait()
    await expire(mill, import_id)
    done = await mill.finish(import_id, quick)
    events = await mill.events()
    slow.open.set()
    await late
    assert await mill.work(import_id) == done
    assert await mill.events() == events
    assert balance(done) == [ROWS, ROWS, 0, 0, 0]


async def test_a_lease_lost_in_the_middle_rolls_the_slice_back(mill, another_process):
    """The fence moves while the other one has its slice still open: no record, no error, no event of the loser."""
    slow = GatedObjects(f"file://{mill.store}")
    content = products() + "\nbad\n"
    import_id = await mill.take_on(content, dataset="products")
    mill.objects = slow
    late = asyncio.create_task(mill.pipeline(slice_bytes=1 << 20).process(command(import_id, 0)))
    await slow.asked.wait()
    await expire(mill, import_id)
    taken = await lease(mill, import_id, another_process)
    slow.open.set()
    await late
    assert await mill.records("products") == []
    assert await mill.errors(import_id) == []
    assert await mill.events() == []
    work = await mill.work(import_id)
    assert (work["fence"], work["lease_owner"], work["slice"]) == (
        taken.fence,
        another_process.presence.instance,
        0,
    )


async def test_a_slice_still_in_hand_when_its_import_was_given_up_leaves_no_trace(mill):
    slow = GatedObjects(f"file://{mill.store}")
    import_id = await mill.take_on(products(), dataset="products")
    mill.objects = slow
    pipeline = mill.pipeline(slice_bytes=1 << 20)
    late = asyncio.create_task(pipeline.process(command(import_id, 0)))
    await slow.asked.wait()
    await pipeline.give_up(command(import_id, 0), ValueError())
    slow.open.set()
    await late
    work = await mill.work(import_id)
    assert (work["status"], work["rows_processed"]) == ("failed", 0)
    assert await mill.records("products") == []
    assert [event.type for event in await mill.events()] == ["import.failed"]


async def test_a_failure_gives_the_lease_back(mill, another_process):
    import_id = await mill.take_on(products(), dataset="products")
    await mill.database.execute("ALTER TABLE data.products RENAME TO hidden")
    with pytest.raises(DBAPIError):
        await mill.pipeline().process(command(import_id, 0))
    assert not await is_held(mill, import_id)
    await mill.database.execute("ALTER TABLE data.hidden RENAME TO products")
    assert (await mill.finish(import_id, mill.pipeline(bus=another_process)))["status"] == "completed"


async def test_a_slice_cancelled_in_the_middle_gives_the_lease_back(mill):
    import_id = await mill.take_on(products(), dataset="products")
    mill.objects = GatedObjects(f"file://{mill.store}")
    task = asyncio.create_task(mill.pipeline().process(command(import_id, 0)))
    await mill.objects.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await is_held(mill, import_id)


async def work_off(mill, import_id, pipeline):
    """What a consumer does: each slice as it is due, later if somebody else has it."""
    while (work := await mill.work(import_id))["status"] == "processing":
        try:
            await pipeline.process(command(import_id, work["commanded"]))
        except Later:
            await asyncio.sleep(0.005)


@pytest.mark.usefixtures("observers")
@pytest.mark.parametrize("dataset", ["products", "books"])
async def test_two_processes_on_one_import_load_each_record_once(mill, another_process, dataset):
    content = {"products": products(), "books": books()}[dataset]
    import_id = await mill.take_on(f"{content}bad\n", dataset=dataset)
    await asyncio.gather(
        work_off(mill, import_id, mill.pipeline(slice_bytes=100)),
        work_off(mill, import_id, mill.pipeline(slice_bytes=100, bus=another_process)),
    )
    work = await mill.work(import_id)
    assert work["status"] == "completed"
    assert balance(work) == [ROWS + 1, ROWS, 0, 0, 0]
    assert work["rows_rejected"] == len(await mill.errors(import_id)) == 1
    assert sorted(row["row_number"] for row in await mill.records(dataset)) == list(range(1, ROWS + 1))
    assert len(await mill.events("import.completed")) == 1


@pytest.mark.usefixtures("observers")
async def test_two_imports_that_meet_in_the_same_keys_both_end_right(mill, another_process):
    rows = [f"SKU-{number},%s,x" for number in range(ROWS)]
    there = "\n".join([HEADERS["products"], *rows]) % (("One",) * ROWS)
    back = "\n".join([HEADERS["products"], *reversed(rows)]) % (("Two",) * ROWS)
    one = await mill.take_on(there, dataset="products")
    two = await mill.take_on(back, dataset="products")
    await asyncio.gather(
        work_off(mill, one, mill.pipeline(slice_bytes=300)),
        work_off(mill, two, mill.pipeline(slice_bytes=300, bus=another_process)),
    )
    found = {row["sku"]: (row["name"], row["import_id"]) for row in await mill.records("products")}
    assert len(found) == ROWS
    assert set(found.values()) <= {("One", one), ("Two", two)}
    done = [await mill.work(import_id) for import_id in (one, two)]
    assert [work["status"] for work in done] == ["completed", "completed"]
    assert sum(work["rows_inserted"] for work in done) == ROWS
    assert sum(work["rows_updated"] for work in done) == ROWS


@pytest.mark.usefixtures("observers")
async def test_two_imports_of_the_same_books_bring_each_once(mill, another_process):
    imports = [await mill.take_on(content) for content in (books(), books(-1))]
    await asyncio.gather(
        work_off(mill, imports[0], mill.pipeline(slice_bytes=300)),
        work_off(mill, imports[1], mill.pipeline(slice_bytes=300, bus=another_process)),
    )
    done = [await mill.work(import_id) for import_id in imports]
    assert [work["status"] for work in done] == ["completed", "completed"]
    assert len(await mill.records()) == ROWS == sum(work["rows_inserted"] for work in done)
    for work in done:
        holders = {row["import_id"] for row in await mill.records()}
        assert (
            work["rows_duplicate"]
            == ROWS - work["rows_inserted"]
            == len(await mill.errors(work["import_id"]))
        )
        assert holders <= set(imports)


async def test_a_key_that_somebody_else_is_inserting_is_waited_for_and_merged_anew(mill, database_url, soon):
    other = await asyncpg.connect(database_url)
    import_id = await mill.take_on(products(), dataset="products")
    transaction = other.transaction()
    await transaction.start()
    await other.execute(
        "INSERT INTO data.products (tenant, key, sku, name) VALUES ('acme', 'sku-7', 'SKU-7', 'Theirs')"
    )
    merging = asyncio.create_task(mill.pipeline(slice_bytes=1 << 20).process(command(import_id, 0)))

    async def is_waiting():
        return await mill.database.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")

    await soon(is_waiting)
    await transaction.commit()
    await merging
    assert balance(await mill.work(import_id)) == [ROWS, ROWS - 1, 1, 0, 0]
    assert {row["name"] for row in await mill.records("products")} == {"Bolt"}
    await other.close()


async def test_a_lease_whose_owner_never_appeared_holds_nobody_up(mill, database_url):
    stranger = Bus("processor", database_url=database_url)
    import_id = await mill.take_on(products(), dataset="products")
    await lease(mill, import_id, stranger, seconds=3600)
    assert (await mill.finish(import_id))["status"] == "completed"


async def asked_for(mill):
    commands = await mill.events("slice.process")
    return {(command.data.import_id, command.data.slice) for command in commands}


async def test_an_import_that_is_leased_and_in_nobodys_hands_is_asked_for_again(mill, another_process):
    mine, expired, held, _waiting = [await mill.take_on(products(), dataset="products") for _ in range(4)]
    await lease(mill, mine, mill.bus)
    await lease(mill, expired, another_process)
    await expire(mill, expired)
    await lease(mill, held, another_process)
    await mill.pipeline().remind()
    assert await asked_for(mill) == {(mine, 0), (expired, 0)}


async def test_an_import_in_hand_is_not_asked_for_again(mill):
    import_id = await mill.take_on(products(), dataset="products")
    mill.objects = GatedObjects(f"file://{mill.store}")
    pipeline = mill.pipeline()
    working = asyncio.create_task(pipeline.process(command(import_id, 0)))
    await mill.objects.asked.wait()
    await expire(mill, import_id)
    await pipeline.remind()
    assert await asked_for(mill) == set()
    mill.objects.open.set()
    await working


async def test_an_import_that_a_transaction_holds_is_not_asked_for_again(mill, another_process, database_url):
    import_id = await mill.take_on(products(), dataset="products")
    await lease(mill, import_id, another_process)
    await expire(mill, import_id)
    holder = await asyncpg.connect(database_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("SELECT FROM processor.imports FOR UPDATE")
    await mill.pipeline().remind()
    assert await asked_for(mill) == set()
    await transaction.rollback()
    await mill.pipeline().remind()
    assert await asked_for(mill) == {(import_id, 0)}
    await holder.close()
