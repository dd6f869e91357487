"""Imports of which nothing may be seen before the end: dry runs, atomic ones, and those with a limit for row errors."""

from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from services.processor import job
from shared.contracts.dialect import Dialect
from shared.contracts.events import RecordCreate, RecordDelete
from shared.platform.bus import Later
from tests.processor.conftest import HEADERS, command
from tests.processor.editing import asking
from tests.processor.given import (
    MIXED,
    SLICES,
    balance,
    contents_of,
    errors_of,
    on_real_servers,
    slice_by_slice,
    written,
)
from tests.processor.test_pipeline import good

ATOMIC, DRY = {"atomic": True}, {"dry_run": True}


def mixed_files():
    """A dataset, a file that is loaded before, and the one that is looked at."""
    return st.sampled_from(sorted(MIXED)).flatmap(
        lambda dataset: st.tuples(
            st.just(dataset), *(st.lists(MIXED[dataset][1], max_size=8) for _ in range(2))
        )
    )


async def load_rows(mill, dataset, tenant, rows, slice_bytes=1 << 20, **options):
    content = written(MIXED[dataset][0], rows)
    return await mill.load(
        content,
        mill.pipeline(slice_bytes=slice_bytes),
        dataset=dataset,
        tenant=tenant,
        dialect=Dialect(),
        options=options,
    )


async def told_of(mill, work):
    """All that an import has told of itself, but for its id and the ids of others."""
    import_id = work["import_id"]
    return balance(work), await errors_of(mill, import_id), await mill.error_counts(import_id)


@on_real_servers(30)
@given(mixed_files(), st.sampled_from(SLICES))
async def test_a_dry_run_tells_what_the_import_then_does(mill, files, slice_bytes):
    dataset, before, rows = files
    tenant = str(uuid4())
    await load_rows(mill, dataset, tenant, before)
    untouched = await contents_of(mill, dataset, tenant)
    dry = await load_rows(mill, dataset, tenant, rows, slice_bytes, **DRY)
    assert await contents_of(mill, dataset, tenant) == untouched
    assert await mill.changes(dry["import_id"]) == []
    assert await mill.stages() == []
    done = await load_rows(mill, dataset, tenant, rows, slice_bytes)
    assert await told_of(mill, dry) == await told_of(mill, done)
    assert _lines(await mill.error_file(dry["import_id"])) == _lines(await mill.error_file(done["import_id"]))


def _lines(error_file):
    return sorted(error_file.splitlines())


@on_real_servers(30)
@given(mixed_files(), st.sampled_from(SLICES))
@example(("quotes", [], [("a", "1", "x", None, "1.50"), ("A", "1", "x", None, "1.50")]), 1)
async def test_an_atomic_import_ends_as_one_in_slices_and_shows_nothing_before(mill, files, slice_bytes):
    dataset, before, rows = files
    one, other = str(uuid4()), str(uuid4())
    for tenant in (one, other):
        await load_rows(mill, dataset, tenant, before)
    untouched = await contents_of(mill, dataset, one)
    import_id = await mill.take_on(
        written(MIXED[dataset][0], rows), dataset=dataset, tenant=one, dialect=Dialect(), options=ATOMIC
    )
    async for _ in slice_by_slice(mill, import_id, mill.pipeline(slice_bytes=slice_bytes)):
        work = await mill.work(import_id)
        if work["phase"] != "filing":
            assert await contents_of(mill, dataset, one) == untouched
            assert (balance(work)["inserted"], await mill.changes(import_id)) == (0, [])
    assert await mill.stages() == []
    in_slices = await load_rows(mill, dataset, other, rows, slice_bytes)
    assert balance(await mill.work(import_id)) == balance(in_slices)
    assert await contents_of(mill, dataset, one) == await contents_of(mill, dataset, other)
    assert await mill.error_counts(import_id) == await mill.error_counts(in_slices["import_id"])


def books(*rows):
    return "\n".join([HEADERS["books"], *rows, ""])


async def begin_atomic(mill, content, **changes):
    import_id = await mill.take_on(content, options=ATOMIC, **changes)
    pipeline = mill.pipeline(slice_bytes=60)
    await mill.begin(import_id, pipeline, records=2)
    return import_id, pipeline


async def test_an_atomic_import_that_is_cancelled_leaves_nothing(mill):
    import_id, pipeline = await begin_atomic(mill, books("bad", *map(good, range(5))))
    assert len(await mill.stages()) == 1
    await mill.cancel(import_id, pipeline)
    work = await mill.work(import_id)
    assert (work["status"], work["rows_staged"]) == ("cancelled", 0)
    assert balance(work) == {"inserted": 0, "updated": 0, "unchanged": 0, "duplicate": 0, "rejected": 1}
    [told] = await mill.events("import.cancelled")
    assert (told.data.rows_processed, told.data.rows_rejected) == (1, 1)
    assert (await mill.records(), await mill.stages()) == ([], [])


async def test_an_atomic_import_that_failed_goes_on_at_its_checkpoint(mill):
    import_id, pipeline = await begin_atomic(mill, books(*map(good, range(6))))
    stopped = await mill.work(import_id)
    await pipeline.give_up(command(import_id, stopped["commanded"]), ValueError())
    [told] = await mill.events("import.failed")
    assert told.data.rows_processed == 0, "what waits to be loaded was not processed"
    assert await mill.records() == []
    await mill.retry(import_id, pipeline)
    going_on = await mill.work(import_id)
    assert (going_on["byte_offset"], going_on["rows_staged"]) == (
        stopped["byte_offset"],
        stopped["rows_staged"],
    )
    work = await mill.finish(import_id, pipeline)
    assert (work["status"], balance(work)["inserted"], work["run"]) == ("completed", 6, 2)
    assert sorted(row["row_number"] for row in await mill.records()) == [1, 2, 3, 4, 5, 6]
    assert await mill.stages() == []


async def test_an_atomic_import_whose_load_fails_shows_nothing_and_loads_later(mill):
    import_id, pipeline = await begin_atomic(mill, books(*map(good, range(6))))
    await mill.database.execute("ALTER TABLE data.books ADD CONSTRAINT no_titles CHECK (title = '')")
    with pytest.raises(DBAPIError):
        await mill.finish(import_id, pipeline)
    assert await mill.records() == []
    await mill.database.execute("ALTER TABLE data.books DROP CONSTRAINT no_titles")
    assert (await mill.finish(import_id, pipeline))["rows_inserted"] == 6


FIVE_OF_TEN = ["bad", good(0), "bad", good(1), "bad", good(2), "bad", good(3), "bad", good(4)]


@pytest.mark.parametrize("limit", [{"max_rejected": 5}, {"max_rejected_share": 0.5}, {"max_rejected": 6}])
@pytest.mark.parametrize("slice_bytes", [1, 1 << 20])
async def test_an_import_at_its_limit_is_loaded(mill, limit, slice_bytes):
    work = await mill.load(books(*FIVE_OF_TEN), mill.pipeline(slice_bytes=slice_bytes), options=limit)
    assert (work["status"], work["rows_inserted"], work["rows_rejected"]) == ("completed", 5, 5)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"max_rejected": 4}, "5 records have row errors; max_rejected allows 4"),
        ({"max_rejected": 0}, "max_rejected allows 0"),
        ({"max_rejected_share": 0.49}, "max_rejected_share allows 0.49"),
        ({"max_rejected_share": 0.0}, "max_rejected_share allows 0"),
        ({"max_rejected": 4, "dry_run": True}, "max_rejected allows 4"),
    ],
)
@pytest.mark.parametrize("slice_bytes", [1, 1 << 20])
async def test_an_import_over_its_limit_fails_with_nothing_visible(mill, limit, message, slice_bytes):
    pipeline = mill.pipeline(slice_bytes=slice_bytes)
    work = await mill.load(books(*FIVE_OF_TEN), pipeline, options=limit)
    assert (work["status"], work["error_code"]) == ("failed", "too_many_rejected")
    assert message in work["error_message"]
    [failed] = await mill.events("import.failed")
    assert failed.data.rows_processed == failed.data.rows_rejected == work["rows_rejected"] > 0
    assert (await mill.records(), await mill.changes(work["import_id"]), await mill.stages()) == ([], [], [])
    assert (await mill.error_file(work["import_id"])).count(b"bad") == work["rows_rejected"]
    await mill.retry(work["import_id"], pipeline)
    assert (await mill.work(work["import_id"]))["status"] == "failed", "it would fail in the same way"


async def test_it_stops_early_once_too_many_are_certain_and_not_before(mill):
    content = books(*["bad"] * 4, *map(good, range(6)), *["bad"] * 200)
    work = await mill.load(content, mill.pipeline(slice_bytes=1), options={"max_rejected": 4})
    assert (work["rows_rejected"], work["record_number"]) == (5, 11)
    # 211 lines: more than a tenth is certain with the 22nd, even if every line to come were a good record.
    work = await mill.load(
        content.replace(good(0), "bad"), mill.pipeline(slice_bytes=1), options={"max_rejected_share": 0.1}
    )
    assert work["rows_rejected"] == 22


@pytest.mark.parametrize(("most", "status"), [(3, "completed"), (2, "failed")])
@pytest.mark.parametrize("dry_run", [False, True])
async def test_duplicates_of_books_count_as_row_errors(mill, most, status, dry_run):
    rows = [good(0), good(0), "bad", good(1), good(0)]
    work = await mill.load(books(*rows), options={"max_rejected": most, "dry_run": dry_run})
    assert work["status"] == status
    loaded = {"completed": 0 if dry_run else 2, "failed": 0}[status]
    assert len(await mill.records()) == loaded
    if status == "failed":
        assert work["error_message"] == "3 records have row errors; max_rejected allows 2"
        # They are told all the same: which ones, how many, and in the error file.
        assert (work["rows_duplicate"], work["rows_rejected"], work["rows_inserted"]) == (2, 1, 0)
        codes = [error["code"] for error in await mill.errors(work["import_id"])]
        assert codes.count("duplicate_key") == 2
        assert await mill.database.fetchval("SELECT count(*) FROM processor.duplicates") == 0


@pytest.mark.parametrize("options", [{"max_rejected": 0}, {"max_rejected_share": 0.5, "atomic": True}])
@pytest.mark.parametrize("slice_bytes", SLICES)
async def test_a_file_of_duplicates_only_is_refused_as_well(mill, options, slice_bytes):
    content = books(good(0), good(1), good(2))
    await mill.load(content)
    work = await mill.load(content, mill.pipeline(slice_bytes=slice_bytes), options=options)
    assert (work["status"], work["error_code"]) == ("failed", "too_many_rejected")
    assert (work["rows_processed"], work["rows_duplicate"]) == (3, 3)
    assert await mill.stages() == []


async def test_a_refused_import_that_is_cancelled_ends_cancelled(mill):
    content = books(good(0), good(1))
    await mill.load(content)
    import_id = await mill.take_on(content, options={"max_rejected": 0})
    pipeline = mill.pipeline()
    while (await mill.work(import_id))["phase"] != "filing":
        await pipeline.process(command(import_id, (await mill.work(import_id))["commanded"]))
    await mill.cancel(import_id, pipeline)
    work = await mill.finish(import_id, pipeline)
    assert (work["status"], work["rows_duplicate"]) == ("cancelled", 2)


async def test_a_later_record_that_overwrites_is_no_row_error(mill):
    work = await mill.load("sku,name\na,x\na,y\na,z\n", dataset="products", options={"max_rejected": 0})
    assert (work["status"], work["rows_duplicate"]) == ("completed", 2)


async def test_no_other_import_loads_between_the_judgement_of_duplicates_and_the_load(
    mill, another_process, monkeypatch
):
    limited = await mill.take_on(books(good(0), good(1)), options={"max_rejected": 0})
    other = await mill.take_on(books(good(1), good(2)))
    intruder = mill.pipeline(bus=another_process, slice_bytes=1 << 20)
    real = job.load_all_at_once

    async def with_an_intruder(*given_, dry_run):
        loaded = await real(*given_, dry_run=dry_run)
        if dry_run:
            with pytest.raises(Later):
                await intruder.process(command(other, 0))
        return loaded

    monkeypatch.setattr(job, "load_all_at_once", with_an_intruder)
    work = await mill.finish(limited)
    assert (work["status"], work["rows_inserted"], work["rows_duplicate"]) == ("completed", 2, 0)
    assert (await mill.finish(other, intruder))["rows_duplicate"] == 1


async def test_an_edit_that_takes_a_key_behind_its_judgement_is_one_duplicate_too_many(mill, monkeypatch):
    """And one that frees it again, before it is judged anew, is none."""
    real = job.load_all_at_once
    taken = {"title": "X", "author": "Y", "isbn": good(0).split(",")[2], "publication_year": 2000}
    edits = [(RecordCreate, {"values": taken})]
    async with asking(mill) as ask:

        async def with_an_edit(*given_, dry_run):
            loaded = await real(*given_, dry_run=dry_run)
            if edits:
                kind, data = edits.pop(0)
                assert (await ask(kind, dataset="books", **data)).outcome in {"created", "deleted"}
            return loaded

        monkeypatch.setattr(job, "load_all_at_once", with_an_edit)
        work = await mill.load(books(good(0), good(1)), options={"max_rejected": 0})
        assert (work["status"], work["error_code"]) == ("failed", "too_many_rejected")
        assert (work["rows_inserted"], work["rows_duplicate"]) == (0, 1)
        [made] = await mill.records()
        assert made["title"] == "X"
        assert await mill.changes(work["import_id"]) == []
        await ask(RecordDelete, dataset="books", key=made["key"])
        edits += [(RecordCreate, {"values": taken}), (RecordDelete, {"key": made["key"]})]
        work = await mill.load(books(good(0), good(1)), options={"max_rejected": 0})
    assert (work["status"], work["rows_inserted"], work["rows_duplicate"]) == ("completed", 2, 0)
