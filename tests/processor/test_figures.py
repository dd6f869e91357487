"""The processor's figures agree with its books."""

from datetime import timedelta

import pytest

from services.processor.figures import OUTCOMES, read_imports
from shared.platform.telemetry.figures import IMPORTS, RECORDS, ROW_ERRORS, SLICE_SECONDS
from tests.processor.given import balance

BOOKS = """title,author,isbn,publication_year
One,Jürgen Groß,978-3-522-17750-4,1999
Twice,Ann O'Nym,3-522-17750-9,2001
Wrong digit,B. Ooks,978-3-522-17750-9,2001
Too few,cells
,No Title,0-306-40615-2,1980
,No Title and no number,978-3-522-17750-9,198x
Good one,Last Author,0-306-40615-2,1980
"""
PRODUCTS = "sku,name,price\na,n,1\nb,n,2\nA,m,3\nc,,4\nb,n,2\nd,n,x\n"


def counted(dataset: str) -> dict[str, float]:
    """What all counters of a dataset say, of all that this process has done so far."""
    return {
        f"{sample.name} {label}": sample.value
        for figure in (IMPORTS, RECORDS, ROW_ERRORS, SLICE_SECONDS)
        for family in figure.collect()
        for sample in family.samples
        if sample.labels["dataset"] == dataset and not sample.name.endswith(("_bucket", "_sum"))
        for label in [" ".join(value for name, value in sample.labels.items() if name != "dataset")]
    }


def risen(before: dict[str, float], dataset: str, name: str) -> dict[str, float]:
    """By how much the series of a counter have, by their label; those that have not are left out."""
    return {
        key.removeprefix(name).strip(): value - before.get(key, 0)
        for key, value in counted(dataset).items()
        if key.startswith(f"{name} ") and value != before.get(key, 0)
    }


@pytest.mark.parametrize(
    ("options", "slice_bytes"),
    [({}, 30), ({}, 1 << 20), ({"atomic": True}, 30), ({"dry_run": True}, 30)],
    ids=str,
)
@pytest.mark.parametrize(("dataset", "content"), [("books", BOOKS), ("products", PRODUCTS)])
async def test_an_import_is_counted_as_its_receipt_says(mill, dataset, content, slice_bytes, options):
    before = counted(dataset)
    import_id = await mill.take_on(content, dataset=dataset, options=options)
    work = await mill.finish(import_id, mill.pipeline(slice_bytes=slice_bytes))
    assert work["status"] == "completed"
    assert risen(before, dataset, "penstock_imports_total") == {"completed": 1}
    done = {outcome: count for outcome, count in balance(work).items() if count}
    assert risen(before, dataset, "penstock_records_total") == done
    assert set(done) <= set(OUTCOMES)
    kept = await mill.database.fetch(
        "SELECT code, count(*) FROM processor.row_errors WHERE import_id = $1 GROUP BY code", import_id
    )
    assert risen(before, dataset, "penstock_row_errors_total") == dict(map(tuple, kept))
    assert risen(before, dataset, "penstock_slice_seconds_count") == {"": work["slice"]}


async def test_row_errors_that_are_not_kept_are_counted_too(mill):
    before = counted("books")
    content = "title,author,isbn,publication_year\n" + "No,Number,x,1999\n" * 20
    work = await mill.finish(await mill.take_on(content), mill.pipeline(row_errors_kept=3))
    assert work["row_errors_kept"] == 3
    assert sum(risen(before, "books", "penstock_row_errors_total").values()) == 20


async def test_an_import_that_fails_or_is_cancelled_is_counted_as_that(mill):
    before = counted("books")
    await mill.finish(await mill.take_on(BOOKS, options={"max_rejected": 0}))
    await mill.cancel(await mill.take_on(BOOKS))
    assert risen(before, "books", "penstock_imports_total") == {"failed": 1, "cancelled": 1}


async def figures(mill) -> dict[str, float]:
    async with mill.engine.connect() as connection:
        return {
            " ".join(sample.labels) or "oldest": sample.value for sample in await read_imports(connection)
        }


async def test_what_has_not_ended_is_shown_with_for_how_long_it_stands_still(mill):
    assert await figures(mill) == {"pending": 0, "processing": 0, "oldest": 0}
    pipeline = mill.pipeline(slice_bytes=60)
    going_on = await mill.take_on(BOOKS)
    await mill.begin(going_on, pipeline)
    waiting = await mill.take_on(BOOKS)
    aged = "UPDATE processor.imports SET moved_at = now() - $2::interval WHERE import_id = $1"
    await mill.database.execute(aged, going_on, timedelta(hours=2))
    await mill.database.execute(aged, waiting, timedelta(hours=1))
    found = await figures(mill)
    assert (found["pending"], found["processing"]) == (1, 1)
    assert 7200 <= found["oldest"] < 7200 + 600
    await mill.finish(going_on, pipeline)
    assert 3600 <= (await figures(mill))["oldest"] < 3600 + 600
    await mill.finish(waiting, pipeline)
    assert await figures(mill) == {"pending": 0, "processing": 0, "oldest": 0}


async def test_an_import_that_is_taken_up_again_moves_from_then_on(mill):
    import_id = await mill.take_on(BOOKS)
    await mill.database.execute(
        "UPDATE processor.imports SET status = 'failed', error_code = 'store_unavailable', error_message = '',"
        " finished_at = now(), moved_at = now() - interval '1 day' WHERE import_id = $1",
        import_id,
    )
    await mill.retry(import_id)
    found = await figures(mill)
    assert found["pending"] == 1
    assert found["oldest"] < 3600
