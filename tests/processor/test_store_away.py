"""A store that does not answer for a while, or has lost a file: what was done stays, what is left is done later."""

from contextlib import contextmanager

import pytest

from services.processor.consumer import subscriptions
from shared.platform.objects import ObjectMissing, Objects, StoreUnavailable
from tests.processor.conftest import HEADERS, command, retry_command
from tests.processor.given import balance
from tests.processor.test_leases import products
from tests.processor.test_pipeline import good

BOOKS = "\n".join([HEADERS["books"], *map(good, range(3)), "bad", good(0), good(3), "worse", good(1), ""])


class UnsteadyObjects(Objects):
    """A store that stops to answer once it has been asked `answers` times more for what `refuses` names."""

    def __init__(self, url, refuses, answers):
        super().__init__(url)
        self._refuses, self.answers = refuses, answers

    async def read(self, key, start, length):
        self._ask("read")
        return await super().read(key, start, length)

    async def put(self, key, chunks):
        self._ask("put")
        await super().put(key, chunks)

    def _ask(self, what):
        if what == self._refuses:
            if self.answers <= 0:
                raise StoreUnavailable
            self.answers -= 1


@contextmanager
def away(folder):
    hidden = folder.with_name("hidden")
    folder.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(folder)


@pytest.mark.parametrize("answers", range(5))
@pytest.mark.parametrize("what", ["read", "put"])
@pytest.mark.parametrize("run_seconds", [0, 60], ids=["a slice a command", "read ahead"])
async def test_whenever_the_store_goes_away_everything_is_done_later(mill, what, answers, run_seconds):
    import_id = await mill.take_on(BOOKS)
    mill.objects = UnsteadyObjects(f"file://{mill.store}", what, answers)
    pipeline = mill.pipeline(slice_bytes=60, run_seconds=run_seconds)
    try:
        await mill.finish(import_id, pipeline)
    except StoreUnavailable:
        stopped = await mill.work(import_id)
        assert (stopped["status"], stopped["lease_owner"]) == ("processing", None)
        assert len(await mill.records()) == balance(stopped)["inserted"]
    else:
        assert answers > 1
    mill.objects.answers = 1000
    work = await mill.finish(import_id, pipeline)
    assert balance(work) == {"inserted": 4, "updated": 0, "unchanged": 0, "duplicate": 2, "rejected": 2}
    assert len(await mill.records()) == 4
    lines = (await mill.error_file(import_id)).decode().splitlines()
    assert sorted(line.split(",")[0] for line in lines) == ["Title", "Title", "bad", "title", "worse"]


async def test_a_folder_that_comes_back_costs_nothing(mill):
    import_id = await mill.take_on(products(), dataset="products")
    pipeline = mill.pipeline(slice_bytes=100)
    before = await mill.begin(import_id, pipeline)
    with away(mill.store), pytest.raises(ObjectMissing):
        await pipeline.process(command(import_id, before["commanded"]))
    stopped = await mill.work(import_id)
    assert (stopped["status"], stopped["lease_owner"]) == ("processing", None)
    assert (await mill.finish(import_id, pipeline))["rows_inserted"] == 40
    assert await mill.events("import.failed") == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable(), "store_unavailable"),
        (ObjectMissing(), "file_missing"),
        (ConnectionResetError(), "database_unavailable"),
        (TimeoutError(), "database_unavailable"),
        (ValueError(), "processing_failed"),
    ],
)
async def test_after_the_last_attempt_it_fails_with_the_reason_and_retry_ends_it(mill, error, code):
    imports, commands = subscriptions(mill.engine, mill.bus, pipeline := mill.pipeline(slice_bytes=100))
    import_id = await mill.take_on(products(), dataset="products")
    before = await mill.begin(import_id, pipeline)
    await imports.on_exhausted(command(import_id, before["commanded"]), error)
    failed = await mill.work(import_id)
    assert (failed["status"], failed["error_code"]) == ("failed", code)
    assert failed["rows_inserted"] == before["rows_inserted"]
    await commands.handlers["import.retry"](retry_command(import_id))
    work = await mill.finish(import_id, pipeline)
    assert (work["status"], work["rows_inserted"], work["run"]) == ("completed", 40, 2)
    assert sorted(row["row_number"] for row in await mill.records("products")) == list(range(1, 41))


async def test_an_atomic_import_survives_it_too(mill):
    import_id = await mill.take_on(BOOKS, options={"atomic": True})
    pipeline = mill.pipeline(slice_bytes=60)
    await mill.begin(import_id, pipeline)
    with away(mill.store), pytest.raises(ObjectMissing):
        await mill.finish(import_id, pipeline)
    await pipeline.give_up(command(import_id, (await mill.work(import_id))["commanded"]), ObjectMissing())
    assert await mill.records() == []
    await mill.retry(import_id, pipeline)
    assert balance(await mill.finish(import_id, pipeline))["inserted"] == 4


async def test_what_the_database_refuses_is_not_tried_again(mill):
    import_id = await mill.take_on(products(), dataset="products")
    await mill.database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE numeric_value_out_of_range USING MESSAGE = 'integer out of range'; END $$;"
        " CREATE TRIGGER refuse BEFORE INSERT ON data.products FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    await mill.pipeline(slice_bytes=1 << 20).process(command(import_id, 0))
    work = await mill.work(import_id)
    assert (work["status"], work["error_code"]) == ("failed", "processing_failed")
    assert work["error_message"] == "the database refused a value: integer out of range"
    await mill.database.execute("DROP TRIGGER refuse ON data.products")
    await mill.retry(import_id)
    assert (await mill.finish(import_id))["status"] == "completed"
