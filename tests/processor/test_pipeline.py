"""A file's way through its slices: every record once, every fault in its place, wherever the cuts are."""

from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from services.processor import job, slices
from services.processor.pipeline import MAX_TRIES
from shared.contracts.events import ImportUploaded, event_of
from tests.processor.conftest import HEADERS, command

HEADER = HEADERS["books"]
ISBNS = ["3522177509", "0306406152", "080442957X", "9791090636071", "0198526636", "0136091814"]
CANONICAL = [
    "9783522177504",
    "9780306406157",
    "9780804429573",
    "9791090636071",
    "9780198526630",
    "9780136091813",
]

SLICES = [1, 7, 64, 200, 1 << 20]


def good(number: int, *, title: str = "Title") -> str:
    return f"{title},Author,{ISBNS[number]},2000"


def counts(work) -> dict[str, int]:
    names = ("processed", "inserted", "updated", "unchanged", "duplicate", "rejected")
    return {name: work[f"rows_{name}"] for name in names if work[f"rows_{name}"]}


def numbered_products(start: int, stop: int, name: str = "Bolt") -> str:
    return "\n".join([HEADERS["products"], *(f"SKU-{number},{name},x" for number in range(start, stop)), ""])


@pytest.mark.parametrize("slice_bytes", SLICES)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "bom"])
async def test_every_row_error_has_its_exact_place(mill, slice_bytes, end, start):
    """The places are counted here from the pieces that the file is put together of."""
    pieces = [
        (start + HEADER, None),
        (good(0), None),
        ("Bad year,Author,0306406152,soon", "not_an_integer"),
        ("", None),
        (f'"Two{end}lines,{end}and ""quotes""",Author,0306406152,1', "below_minimum"),
        (f'"Three{end}{end}lines",Author,0306406152,2000', None),
        ("Zürich über alles,Äuthor,123,2000", "isbn_invalid"),
        ("", None),
        ("short,record", "missing_cell"),
        (good(0, title="Again"), "duplicate_key"),
        (good(2), None),
        (",Author,080442957X,2000,,extra", "extra_cell"),
    ]
    import_id = await mill.take_on(end.join(piece for piece, _ in pieces) + end)
    work = await mill.finish(import_id, mill.pipeline(slice_bytes=slice_bytes))
    found = [
        (error["row_number"], error["line_number"], error["byte_offset"], error["code"], error["raw_data"])
        for error in await mill.errors(import_id)
    ]
    assert found == expected_places(pieces, end)
    assert counts(work) == {"processed": 9, "inserted": 3, "duplicate": 1, "rejected": 5}
    assert [book["isbn"] for book in await mill.records()] == sorted(CANONICAL[:3])


def expected_places(pieces, end):
    row, line, offset, places = -1, 1, 0, []
    for piece, code in pieces:
        row += bool(piece)
        if code:
            places.append((row, line, offset, code, piece))
        line += 1 + piece.count(end)
        offset += len((piece + end).encode())
    return places


async def test_what_a_row_error_tells(mill):
    import_id = await mill.take_on(f"{HEADER}\n{good(0)}\nMomo,Ende,3522177500,x\n{good(0)}\n")
    await mill.finish(import_id)
    checksum, year, duplicate = await mill.errors(import_id)
    assert (checksum["ordinal"], checksum["column_name"], checksum["value"]) == (0, "isbn", "3522177500")
    assert (year["ordinal"], year["column_name"], year["value"]) == (1, "publication_year", "x")
    assert year["hint"] == "use digits only"
    assert duplicate["message"] == "ISBN 9783522177504 is already there: record 1 of this file has it"
    assert {error["tenant"] for error in (checksum, year, duplicate)} == {"acme"}


async def test_a_duplicate_names_the_import_that_brought_the_record(mill):
    first = await mill.take_on(f"{HEADER}\n{good(1)}\n{good(0)}\n")
    await mill.finish(first)
    second = await mill.take_on(f"{HEADER}\n{good(0)}\n")
    await mill.finish(second)
    [error] = await mill.errors(second)
    assert error["message"] == f"ISBN 9783522177504 is already there: record 2 of import {first} brought it"


@pytest.mark.parametrize("slice_bytes", SLICES)
async def test_the_receipt_is_the_same_wherever_the_cuts_are(mill, slice_bytes):
    await mill.load(numbered_products(0, 4), dataset="products")
    rows = ["SKU-0,Bolt,x", "SKU-1,Nut,x", "sku-1,Nut,y", ",Nut,x", "SKU-9,New,", "SKU-9,New,", "SKU-1,Nut,x"]
    import_id = await mill.take_on("\n".join([HEADERS["products"], *rows]), dataset="products")
    await mill.finish(import_id, mill.pipeline(slice_bytes=slice_bytes))
    receipt = await mill.database.fetchrow(
        "SELECT rows_read, rows_inserted, rows_updated, rows_unchanged, rows_duplicate, rows_rejected"
        " FROM processor.receipts WHERE import_id = $1",
        import_id,
    )
    assert tuple(receipt) == (7, 1, 1, 1, 3, 1)
    assert [(row["sku"], row["name"], row["row_number"]) for row in await mill.records("products")] == [
        ("SKU-0", "Bolt", 1),
        ("SKU-1", "Nut", 7),
        ("SKU-2", "Bolt", 3),
        ("SKU-3", "Bolt", 4),
        ("SKU-9", "New", 6),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"{HEADER}\n", {}),
        (HEADER, {}),
        (f"{HEADER}\n\n\n\n", {}),
        (f"{HEADER}\n{good(0)}", {"processed": 1, "inserted": 1}),
        (f"{HEADER}\r\n{good(0)}\r\n{good(1)}\r\n", {"processed": 2, "inserted": 2}),
        (f"\ufeff{HEADER}\n{good(0)}\n", {"processed": 1, "inserted": 1}),
        (f"\n\n{HEADER}\n\n{good(0)}\n\n\n{good(1)}\n\n", {"processed": 2, "inserted": 2}),
        (f"{HEADER}\nx\ny\n,,,\n", {"processed": 3, "rejected": 3}),
        (f'{HEADER}\n{good(0)}\n"open,Author,{ISBNS[1]},2000\n', {"processed": 2, "inserted": 1, "rejected": 1}),
        (f"{HEADER}\n{good(0)}\n\0{good(1)}\n{good(2)}\n", {"processed": 3, "inserted": 2, "rejected": 1}),
    ],
    ids=["header only", "header without end", "only blank lines", "no end", "crlf", "bom", "blank lines", "all bad", "open quote", "nul"],
)  # fmt: skip
@pytest.mark.parametrize("slice_bytes", [16, 1 << 20])
async def test_files_at_the_edge(mill, content, expected, slice_bytes):
    import_id = await mill.take_on(content)
    work = await mill.finish(import_id, mill.pipeline(slice_bytes=slice_bytes))
    assert (work["status"], counts(work)) == ("completed", expected)
    [ended] = await mill.events("import.completed")
    assert ended.data.rows_processed == expected.get("processed", 0)
    assert await mill.database.fetchval("SELECT rows_read FROM processor.receipts") == expected.get(
        "processed", 0
    )


@pytest.mark.parametrize("slice_bytes", SLICES)
async def test_a_header_that_comes_again_is_no_record(mill, slice_bytes):
    content = "sku,name,note\nA,Bolt,x\n\ufeffsku, name ,note\nB,Nut,x\nsku,Real,note\n"
    positions = {"columns": {"sku": 0, "name": 1}, "column_count": 3, "header": ("sku", "name", "note")}
    import_id = await mill.take_on(content, dataset="products", **positions)
    work = await mill.finish(import_id, mill.pipeline(slice_bytes=slice_bytes))
    assert [row["sku"] for row in await mill.records("products")] == ["A", "B", "sku"]
    [error] = await mill.errors(import_id)
    assert (error["code"], error["row_number"], work["rows_rejected"]) == ("header_repeated", 2, 1)


async def test_windows_1252_is_stored_and_reported_as_it_was_meant(mill):
    import_id = await mill.take_on(
        f"{HEADER}\nBücher,Äuthor,{ISBNS[0]},2000\nÜber,ß,1,2000\n".encode("cp1252")
    )
    await mill.finish(import_id)
    assert [book["title"] for book in await mill.records()] == ["Bücher"]
    [error] = await mill.errors(import_id)
    assert error["raw_data"] == "Über,ß,1,2000"


async def test_the_next_slice_is_asked_for_in_the_same_transaction(mill):
    import_id = await mill.take_on("\n".join([HEADER, *map(good, range(3))]))
    await mill.pipeline(slice_bytes=80).process(command(import_id, 0))
    [asked] = await mill.events("slice.process")
    assert (asked.data.slice, asked.tenant, asked.subject) == (1, "acme", str(import_id))
    assert (await mill.work(import_id))["slice"] == 1


async def test_a_slice_asked_for_twice_is_done_once(mill):
    import_id = await mill.take_on("\n".join([HEADER, *map(good, range(6))]))
    pipeline = mill.pipeline(slice_bytes=80)
    await pipeline.process(command(import_id, 0))
    before, events = await mill.work(import_id), await mill.events()
    await pipeline.process(command(import_id, 0))
    assert await mill.work(import_id) == before
    assert await mill.events() == events


async def test_a_command_for_an_import_that_has_ended_or_is_unknown_does_nothing(mill):
    import_id = await mill.take_on(f"{HEADER}\n{good(0)}\n")
    ended, events = await mill.finish(import_id), await mill.events()
    pipeline = mill.pipeline()
    for stale in (command(import_id, 0), command(import_id, ended["slice"]), command(uuid4(), 0)):
        await pipeline.process(stale)
    assert await mill.work(import_id) == ended
    assert await mill.events() == events


async def test_the_end_is_told_with_the_balance(mill):
    import_id = await mill.take_on(f"{HEADER}\n{good(0)}\nbad\n")
    work = await mill.finish(import_id)
    [ended] = await mill.events("import.completed")
    assert ended.tenant == "acme"
    assert (ended.data.rows_processed, ended.data.rows_inserted, ended.data.rows_rejected) == (2, 1, 1)
    assert ended.data.processing_started_at == work["started_at"]
    assert ended.data.processing_completed_at == work["finished_at"]
    assert (ended.data.source, ended.data.file_name) == ("partner", "file.csv")


@pytest.mark.parametrize("left", [0, 1, 2, 10])
async def test_a_file_that_lost_its_end_fails_the_import_and_keeps_its_counts(mill, left):
    content = "\n".join([HEADER, *map(good, range(6))])
    import_id = await mill.take_on(content)
    pipeline = mill.pipeline(slice_bytes=80)
    done = await mill.begin(import_id, pipeline)
    stored = Path(mill.store, "uploads", str(import_id))
    stored.write_bytes(content.encode()[: done["byte_offset"] + left])
    work = await mill.finish(import_id, pipeline, most=3)
    assert (work["status"], work["error_code"]) == ("failed", "file_truncated")
    [failed] = await mill.events("import.failed")
    assert failed.data.rows_inserted == done["rows_inserted"] > 0


async def test_a_record_longer_than_many_slices_is_read(mill):
    long = "x" * 900
    work = await mill.load(
        f'{HEADER}\n{good(0)}\n"{long}\n",Author,{ISBNS[1]},2000\n{good(2)}\n', mill.pipeline(slice_bytes=50)
    )
    assert counts(work) == {"processed": 3, "inserted": 3}
    assert [book["title"] for book in await mill.records()] == [long, "Title", "Title"]


async def test_a_line_that_never_ends_is_one_row_error(mill):
    import_id = await mill.take_on(f"{HEADER}\n{good(0)}\n{'x' * 1_200_000}\n{good(1)}\n")
    work = await mill.finish(import_id, mill.pipeline(slice_bytes=100_000), most=10)
    assert counts(work) == {"processed": 3, "inserted": 2, "rejected": 1}
    [error] = await mill.errors(import_id)
    assert (error["code"], error["row_number"]) == ("record_too_large", 2)
    assert len(error["raw_data"]) == 4000


async def test_the_end_of_a_record_is_not_sought_for_ever(mill, monkeypatch):
    monkeypatch.setattr(job, "RECORD_SOUGHT_BYTES", 2000)
    content = f"{HEADER}\n{good(0)}\n{good(1)}\n{'x' * 10_000}\n"
    work = await mill.load(content, mill.pipeline(slice_bytes=500))
    assert (work["error_code"], counts(work)) == ("record_endless", {"processed": 1, "inserted": 1})


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_a_slice_of_very_many_records_is_divided(mill, monkeypatch, most):
    monkeypatch.setattr(slices, "RECORDS_A_SLICE", most)
    import_id = await mill.take_on("\n".join([HEADER, "bad", *map(good, range(4)), "bad", "", "worse"]))
    work = await mill.finish(import_id, mill.pipeline(slice_bytes=1 << 20))
    assert counts(work) == {"processed": 7, "inserted": 4, "rejected": 3}
    found = [
        (error["row_number"], error["line_number"], error["raw_data"])
        for error in await mill.errors(import_id)
    ]
    assert found == [(1, 2, "bad"), (6, 7, "bad"), (7, 9, "worse")]


async def test_a_slice_that_ends_its_process_again_and_again_fails_the_import(mill):
    import_id = await mill.take_on(f"{HEADER}\n{good(0)}\n")
    await mill.database.execute("UPDATE processor.imports SET tries = $1", MAX_TRIES)
    work = await mill.finish(import_id)
    assert (work["status"], work["error_code"]) == ("failed", "slice_fatal")


async def test_tries_are_counted_for_each_slice_anew(mill):
    import_id = await mill.take_on("\n".join([HEADER, *map(good, range(6))]))
    work = await mill.finish(import_id, mill.pipeline(slice_bytes=80))
    assert (work["status"], work["tries"]) == ("completed", 0)


async def test_a_process_that_starts_asks_again_for_what_is_unfinished(mill):
    content = "\n".join([HEADER, *map(good, range(6))])
    ended, begun, fresh = [await mill.take_on(content, tenant=tenant) for tenant in ("one", "two", "three")]
    await mill.finish(ended)
    pipeline = mill.pipeline(slice_bytes=80)
    await pipeline.process(command(begun, 0))
    await mill.database.execute("TRUNCATE bus.outbox")
    await pipeline.resume()
    asked = {
        event.data.import_id: (event.data.slice, event.tenant) for event in await mill.events("slice.process")
    }
    assert asked == {begun: (1, "two"), fresh: (0, "three")}


async def test_giving_up_tells_the_sender(mill):
    import_id = await mill.take_on("\n".join([HEADER, *map(good, range(6))]))
    pipeline = mill.pipeline(slice_bytes=80)
    done = await mill.begin(import_id, pipeline)
    await pipeline.give_up(command(import_id, done["commanded"]), ValueError("secret of ours"))
    [failed] = await mill.events("import.failed")
    assert failed.data.error_code == "processing_failed"
    assert failed.data.rows_processed == done["rows_processed"] > 0
    assert "secret" not in failed.data.error_message
    await pipeline.process(command(import_id, done["commanded"]))
    assert (await mill.work(import_id))["rows_processed"] == done["rows_processed"]


async def test_giving_up_twice_tells_it_once(mill):
    import_id = await mill.take_on(f"{HEADER}\n{good(0)}\n")
    pipeline = mill.pipeline()
    for _ in range(2):
        await pipeline.give_up(command(import_id, 0), ValueError())
    assert len(await mill.events("import.failed")) == 1


async def test_giving_up_after_the_end_changes_nothing(mill):
    import_id = await mill.take_on(f"{HEADER}\n{good(0)}\n")
    ended = await mill.finish(import_id)
    await mill.pipeline().give_up(command(import_id, 0), ValueError())
    assert await mill.work(import_id) == ended
    assert await mill.events("import.failed") == []


async def test_giving_up_an_import_that_was_never_taken_on_tells_the_sender_too(mill):
    uploaded: ImportUploaded = await mill.upload(f"{HEADER}\n{good(0)}\n")
    event = event_of(uploaded, tenant="acme", subject=uploaded.import_id, service="upload")
    await mill.pipeline().give_up(event, ValueError())
    [failed] = await mill.events("import.failed")
    assert (failed.tenant, failed.data.import_id) == ("acme", uploaded.import_id)
    assert failed.data.processing_started_at is None


@pytest.mark.parametrize("kept", [0, 1, 3, 4, 100])
@pytest.mark.parametrize("slice_bytes", [30, 1 << 20])
async def test_row_errors_are_kept_up_to_the_limit_and_counted_beyond_it(mill, kept, slice_bytes):
    rows = ["bad", ",Author,1,x", good(0), good(0), "worse", good(0)]
    import_id = await mill.take_on("\n".join([HEADER, *rows]))
    work = await mill.finish(import_id, mill.pipeline(slice_bytes=slice_bytes, row_errors_kept=kept))
    assert counts(work) == {"processed": 6, "inserted": 1, "duplicate": 2, "rejected": 3}
    everything = 7  # the second record has three faults
    assert len(await mill.errors(import_id)) == work["row_errors_kept"] == min(kept, everything)


@pytest.mark.parametrize("table", ["processor.receipts", "processor.imports"])
async def test_the_database_refuses_a_balance_that_is_wrong(mill, table):
    import_id = await mill.take_on(f"{HEADER}\n{good(0)}\nbad\n")
    await mill.finish(import_id)
    for column in ("rows_inserted", "rows_rejected", "rows_duplicate"):
        with pytest.raises(asyncpg.CheckViolationError):
            await mill.database.execute(f"UPDATE {table} SET {column} = {column} + 1")


async def test_a_receipt_with_a_wrong_balance_cannot_be_written(mill):
    with pytest.raises(asyncpg.CheckViolationError, match="receipts_balance"):
        await mill.database.execute(
            "INSERT INTO processor.receipts (import_id, tenant, dataset, dataset_version, file_name, file_size,"
            " sha256, dialect, rows_read, rows_inserted, rows_rejected, started_at, completed_at)"
            " VALUES (gen_random_uuid(), 'acme', 'books', 1, 'f', 1, 'x', '{}', 10, 8, 1, now(), now())"
        )


async def test_tenants_load_the_same_file_apart(mill):
    for tenant in ("one", "two"):
        work = await mill.load(f"{HEADER}\n{good(0)}\n", tenant=tenant)
        assert counts(work) == {"processed": 1, "inserted": 1}
        assert [book["key"] for book in await mill.records(tenant=tenant)] == [CANONICAL[0]]
