"""Edits in the processor: checked as records of files are, exact to the last moment, right beside imports."""

import asyncio
import json
import random
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from services.processor.editing import editor
from services.processor.editing.consumer import editing_subscription
from services.processor.editing.editor import Editor
from services.processor.editing.values import checked, values_in
from services.processor.repository import load_key
from shared.contracts.datasets import datasets
from shared.contracts.dialect import Dialect
from shared.contracts.events import (
    RecordCreate,
    RecordDelete,
    RecordPatch,
    RecordReplace,
    RecordsDeleteAll,
)
from shared.contracts.problems import Unprocessable
from shared.contracts.record_edits import edit_locks
from shared.contracts.topology import PROCESSOR_RECORDS
from shared.platform.bus import Bus
from shared.platform.database import advisory_key
from tests.processor.editing import asking, command_of
from tests.processor.given import balance, written
from tests.processor.test_leases import work_off
from tests.processor.test_side_by_side import processes

BOLT = {"sku": "WBH-1", "name": "Bolt", "price": "149.90", "stock_quantity": 25}
PRODUCTS = datasets()["products"]
KEYS = 30
WAITS_FOR_A_LOCK = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
async def ask(mill):
    async with asking(mill) as asker:
        yield asker


async def edits(mill):
    rows = await mill.database.fetch("SELECT * FROM processor.edits ORDER BY edited_at")
    return [(row["action"], row["key"], row["records"], row["requested_by"]) for row in rows]


# What may be written.


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({}, {"sku": "value_missing", "name": "value_missing"}),
        ({"sku": " ", "name": "x"}, {"sku": "value_missing"}),
        ({"sku": "s" * 256, "name": "x"}, {"sku": "value_too_long"}),
        ({"sku": "1.5E+12", "name": "x"}, {"sku": "spreadsheet_number"}),
        ({"sku": "s", "name": "x", "price": "-1"}, {"price": "below_minimum"}),
        ({"sku": "s", "name": "x", "price": "0.00001"}, {"price": "number_too_precise"}),
        ({"sku": "s", "name": "x", "price": "1E-999999999"}, {"price": "not_a_number"}),
        ({"sku": "s", "name": "x", "stock_quantity": 10**18}, {"stock_quantity": "above_maximum"}),
        ({"sku": "s", "name": "x\0"}, {"name": "character_forbidden"}),
    ],
)
def test_what_no_file_may_bring_no_edit_may_either(values, codes):
    with pytest.raises(Unprocessable) as raised:
        checked(PRODUCTS, values)
    assert raised.value.code == "record_invalid"
    assert {error["field"]: error["code"] for error in raised.value.extra["errors"]} == codes


def test_values_are_stored_as_those_of_a_file():
    columns = {
        "sku": " Wbh-1 ",
        "name": "Caf\N{LATIN SMALL LETTER E}\N{COMBINING ACUTE ACCENT}",
        "price": "1E2",
    }
    made = checked(PRODUCTS, columns | {"active": False})
    assert made.key == "wbh-1"
    assert dict(made.columns) == {
        "sku": "Wbh-1",
        "name": "Café",
        "description": None,
        "price": "100",
        "stock_quantity": None,
        "active": "f",
    }
    assert checked(PRODUCTS, {"sku": "s", "name": "n", "active": None}).columns["active"] == "t"
    row = json.dumps({"sku": "s", "name": "n", "description": None, "stock_quantity": 3, "active": True})
    assert values_in(PRODUCTS, row[:-1] + ', "price": 12345678901234.5678}')["price"] == "12345678901234.5678"


# What edits do.


async def test_the_life_of_a_record(mill, ask):
    created = await ask(RecordCreate, values=BOLT)
    assert (created.outcome, created.record["key"], created.record["active"]) == ("created", "wbh-1", True)
    assert (await ask(RecordCreate, values=BOLT | {"sku": "wbh-1"})).code == "record_exists"
    renamed = await ask(RecordReplace, key="wbh-1", values={"sku": "wbh-1", "name": "Nut", "active": False})
    assert renamed.outcome == "updated"
    assert (renamed.record["sku"], renamed.record["price"], renamed.record["active"]) == (
        "wbh-1",
        None,
        False,
    )
    patched = await ask(RecordPatch, key="wbh-1", values={"price": "3.50", "active": None})
    assert (patched.record["name"], patched.record["price"], patched.record["active"]) == ("Nut", 3.5, True)
    same = await ask(RecordPatch, key="wbh-1", values={"price": "3.5000"})
    assert (same.outcome, same.etag, same.record) == ("unchanged", patched.etag, patched.record)
    assert (await ask(RecordPatch, key="wbh-1", values={"sku": "other"})).code == "record_key_differs"
    assert (await ask(RecordPatch, key="wbh-1", values={"name": ""})).code == "record_invalid"
    assert (await ask(RecordDelete, key="wbh-1")).outcome == "deleted"
    for kind, values in (
        (RecordDelete, {}),
        (RecordPatch, {"values": {}}),
        (RecordReplace, {"values": BOLT}),
    ):
        assert (await ask(kind, key="wbh-1", if_match=("*",), **values)).code == "record_not_found"
    assert len({created.etag, renamed.etag, patched.etag}) == 3
    one = ("wbh-1", 1, "ann")
    assert await edits(mill) == [("created", *one), ("updated", *one), ("updated", *one), ("deleted", *one)]
    before = await mill.database.fetchval("SELECT before FROM processor.edits WHERE action = 'deleted'")
    assert json.loads(before)["name"] == "Nut"
    told = [event.data for event in await mill.events("records.changed", "records.deleted")]
    assert [(one.created, one.updated) for one in told[:3]] == [(1, 0), (0, 1), (0, 1)]
    assert (told[3].deleted, told[3].whole_dataset) == (1, False)
    assert {one.record_id for one in told} == {"wbh-1"}


@pytest.mark.parametrize("kind", [RecordReplace, RecordPatch, RecordDelete])
async def test_a_record_that_was_changed_meanwhile_is_left_alone(mill, ask, kind):
    values = {} if kind is RecordDelete else {"values": BOLT | {"name": "mine"}}
    seen = (await ask(RecordCreate, values=BOLT)).etag
    imported = await mill.load(b"sku,name\nWBH-1,Bolt\n", dataset="products")
    assert imported["rows_unchanged"] == 1
    imported = await mill.load(b"sku,name\nWBH-1,Screw\n", dataset="products")
    assert imported["rows_updated"] == 1
    refused = await ask(kind, key="wbh-1", if_match=(seen,), **values)
    assert refused.code == "record_changed"
    now = refused.problem["etag"].strip('"')
    assert (await ask(kind, key="wbh-1", if_match=(), **values)).code == "record_changed"
    assert (await ask(kind, key="wbh-1", if_match=(seen, now), **values)).outcome in {"updated", "deleted"}


async def test_books_keep_their_isbn_whatever_its_spelling(ask):
    momo = {"title": "Momo", "author": "Ende", "isbn": "3-522-17750-9", "publication_year": 1973}
    created = await ask(RecordCreate, dataset="books", values=momo)
    assert created.record["isbn"] == created.record["key"] == "9783522177504"
    again = await ask(RecordCreate, dataset="books", values=momo | {"isbn": "9783522177504"})
    assert (again.code, again.problem["links"]["record"]) == (
        "record_exists",
        "/api/v1/records/books/9783522177504",
    )


async def test_an_edit_of_a_dataset_that_is_not_edited_is_an_error(mill, ask):
    with pytest.raises(LookupError):
        await ask(RecordsDeleteAll, dataset="sales")


async def test_all_of_one_tenants_dataset_is_deleted_and_nothing_else(mill, ask):
    for tenant in ("acme", "other"):
        await mill.load(b"sku,name\na,A\nb,B\n", dataset="products", tenant=tenant)
    await mill.load("title,author,isbn,publication_year\nMomo,Ende,9783522177504,1973\n")
    assert (await ask(RecordsDeleteAll)).deleted == 2
    assert (await ask(RecordsDeleteAll)).deleted == 0
    left = [len(await mill.records("products", tenant=tenant)) for tenant in ("acme", "other")]
    assert (left, len(await mill.records("books"))) == ([0, 2], 1)
    [told] = await mill.events("records.deleted")
    assert (told.tenant, told.data.deleted, told.data.whole_dataset) == ("acme", 2, True)
    assert await edits(mill) == [("all_deleted", None, 2, "ann")]


# What an import tells.


async def test_an_import_tells_of_each_slice_that_changed_records(mill):
    import_id = await mill.take_on(products("n", 30), dataset="products", dialect=Dialect())
    await mill.finish(import_id, mill.pipeline(slice_bytes=100))
    told = [event.data for event in await mill.events("records.changed")]
    assert {event.import_id for event in told} == {import_id}
    assert sum(event.created for event in told) == 30
    kept = await mill.database.fetch(
        "SELECT DISTINCT slice FROM processor.changes WHERE import_id = $1", import_id
    )
    assert len(told) > 1
    assert {event.slice for event in told} == {row["slice"] for row in kept}
    await mill.load(products("n", 30), dataset="products", dialect=Dialect())
    assert len(await mill.events("records.changed")) == len(told)


@pytest.mark.parametrize(("options", "count"), [({"dry_run": True}, 0), ({"atomic": True}, 1)])
async def test_what_is_loaded_at_the_end_is_told_then(mill, options, count):
    pipeline = mill.pipeline(slice_bytes=100)
    await mill.load(products("n", 30), pipeline, dataset="products", dialect=Dialect(), options=options)
    told = [event.data for event in await mill.events("records.changed")]
    assert [event.created for event in told] == [30] * count


# Exactly when somebody waits.


async def test_a_command_that_nobody_waits_for_does_nothing(mill, ask):
    command = command_of(RecordCreate, values=BOLT)
    await ask.editor.handle(command)
    assert await mill.records("products") == await edits(mill) == []
    assert await ask.reply(command.data.edit_id) is None


async def test_a_command_that_comes_twice_is_done_once(mill, ask):
    await ask(RecordCreate, values=BOLT)
    command = command_of(RecordPatch, key="wbh-1", values={"stock_quantity": 7})
    async with ask.waiting_for(command.data.edit_id):
        await asyncio.gather(*(ask.editor.handle(command) for _ in range(4)))
        assert (await ask.reply(command.data.edit_id)).outcome == "updated"
        await ask.editor.handle(command)
    await ask.editor.handle(command)
    assert [action for action, *_ in await edits(mill)] == ["created", "updated"]
    assert len(await mill.events("records.changed")) == 2


async def test_replies_are_forgotten_when_nobody_can_wait_for_them_any_more(mill, ask):
    old, new = uuid4(), uuid4()
    for edit_id, ago in ((old, "61 min"), (new, "59 min")):
        await mill.database.execute(
            "INSERT INTO processor.replies (edit_id, tenant, outcome, replied_at)"
            f" VALUES ($1, 'acme', 'deleted', now() - interval '{ago}')",
            edit_id,
        )
    await mill.pipeline().tidy()
    assert (await ask.reply(old), bool(await ask.reply(new))) == (None, True)


@pytest.mark.parametrize("how", ["unlocked", "killed"])
async def test_an_edit_is_undone_if_its_asker_leaves_while_it_is_made(mill, ask, soon, how):
    """It waits for a row that somebody else has, and has done all but commit when nobody waits any more."""
    await ask(RecordCreate, values=BOLT)
    command = command_of(RecordPatch, key="wbh-1", values={"name": "late"})
    key = advisory_key(edit_locks(command.data.edit_id).asked)
    asker, other = [await asyncpg.connect(mill.database_url) for _ in range(2)]
    await asker.execute("SELECT pg_advisory_lock($1)", key)
    async with row_held(other):
        editing = asyncio.create_task(ask.hear(command))
        await soon(lambda: mill.database.fetchval(WAITS_FOR_A_LOCK))
        if how == "killed":
            asker.terminate()
        else:
            await asker.execute("SELECT pg_advisory_unlock($1)", key)
        await soon(lambda: other.fetchval("SELECT pg_try_advisory_xact_lock_shared($1)", key))
    await editing
    [record] = await mill.records("products")
    assert record["name"] == "Bolt"
    assert await ask.reply(command.data.edit_id) is None
    assert len(await mill.events("records.changed")) == 1
    await asker.close()
    await other.close()


async def test_a_record_that_an_import_has_for_long_is_told_to_be_busy(mill, ask, monkeypatch):
    monkeypatch.setattr(editor, "WAITING_SECONDS", 0.1)
    monkeypatch.setattr(editor, "WAITING_FOR_SLICES_SECONDS", 0.1)
    monkeypatch.setattr(editor, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(editor, "IN_LINE_SECONDS", 0.1)
    await ask(RecordCreate, values=BOLT)
    other = await asyncpg.connect(mill.database_url)
    async with row_held(other):
        await other.execute("SELECT pg_advisory_xact_lock($1)", load_key("acme", "products"))
        for kind, data in ((RecordDelete, {"key": "wbh-1"}), (RecordsDeleteAll, {})):
            assert (await ask(kind, **data)).code == "records_busy"
    assert (await ask(RecordsDeleteAll)).deleted == 1
    await other.close()


async def test_who_waits_for_an_import_keeps_no_other_tenant_waiting(mill, ask, soon):
    """More than there are workers want all of one tenant's records deleted, while an import is being loaded."""
    importing = await asyncpg.connect(mill.database_url)
    await importing.execute("SELECT pg_advisory_lock($1)", load_key("acme", "products"))
    bus = Bus("processor", database_url=mill.database_url)
    bus.subscribe(editing_subscription(Editor(mill.engine, bus)))
    await bus.start()
    deletions = [command_of(RecordsDeleteAll) for _ in range(PROCESSOR_RECORDS.workers + 1)]
    other = command_of(RecordCreate, "other", values=BOLT)
    async with AsyncExitStack() as askers:
        for command in (*deletions, other):
            await askers.enter_async_context(ask.waiting_for(command.data.edit_id))
            async with mill.engine.begin() as connection:
                await bus.publish(connection, command)
        await soon(lambda: ask.reply(other.data.edit_id))
        assert [await ask.reply(command.data.edit_id) for command in deletions] == [None] * len(deletions)
        await importing.close()
        await soon(lambda: ask.reply(deletions[-1].data.edit_id))
    await bus.stop()


async def test_to_delete_all_keeps_its_place_behind_several_imports(mill, ask, monkeypatch):
    """Two imports load slices in turn: whoever is in line for less than one never comes to its front."""
    monkeypatch.setattr(editor, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(editor, "WAITING_FOR_SLICES_SECONDS", 3.0)
    await ask(RecordCreate, values=BOLT)
    importing = [await asyncpg.connect(mill.database_url) for _ in "ab"]

    async def load(session):
        while True:
            async with session.transaction():
                await session.execute("SELECT pg_advisory_xact_lock($1)", load_key("acme", "products"))
                await session.execute("SELECT pg_sleep(0.2)")

    loading = [asyncio.create_task(load(session)) for session in importing]
    await asyncio.sleep(0.3)
    assert (await ask(RecordsDeleteAll)).deleted == 1
    for task in loading:
        task.cancel()
    await asyncio.gather(*loading, return_exceptions=True)
    for session in importing:
        await session.close()


@asynccontextmanager
async def row_held(session):
    """The tenant's product is locked by a transaction of `session`, which ends with the block."""
    transaction = session.transaction()
    await transaction.start()
    await session.execute("SELECT FROM data.products WHERE tenant = 'acme' FOR UPDATE")
    yield
    await transaction.rollback()


# Beside imports.


@pytest.mark.usefixtures("observers")
async def test_edits_beside_imports_of_the_same_records(mill):
    """What the imports count, and what the edits were answered, adds up to the records that there are."""
    imports = [
        await mill.take_on(products(f"n{turn}", KEYS), dataset="products", dialect=Dialect())
        for turn in range(3)
    ]
    stop = asyncio.Event()
    editors = [asyncio.create_task(hammered(mill, stop, seed)) for seed in range(3)]
    async with processes(mill, len(imports)) as pipelines:
        await asyncio.gather(
            *(work_off(mill, one, pipeline) for one, pipeline in zip(imports, pipelines, strict=True))
        )
    stop.set()
    outcomes = sum([await one for one in editors], Counter())
    done = [await mill.work(import_id) for import_id in imports]
    assert {work["status"] for work in done} == {"completed"}
    assert all(sum(balance(work).values()) == KEYS for work in done)
    made = sum(work["rows_inserted"] for work in done) + outcomes["created"]
    assert made - outcomes["deleted"] == len(await mill.records("products"))
    assert min(outcomes[name] for name in ("created", "updated", "deleted")) > 0
    told = await mill.events("records.changed", "records.deleted")
    assert sum(one.data.created for one in told if one.type == "records.changed") == made
    assert sum(one.data.deleted for one in told if one.type == "records.deleted") == outcomes["deleted"]
    kept = await mill.database.fetchval("SELECT sum(records) FROM processor.edits")
    assert kept == outcomes["created"] + outcomes["updated"] + outcomes["deleted"]


@pytest.mark.parametrize("rows", ["1,c\n2,e\n2,g\n", "1,c\n2,e\n"])
async def test_a_record_that_is_deleted_while_a_slice_merges_it_counts_as_created(mill, soon, rows):
    """In receipt, event, and what is kept of it alike; with a key that comes twice, and without."""
    await mill.load("sku,name\n1,a\n", dataset="products")
    deleting = await asyncpg.connect(mill.database_url)
    transaction = deleting.transaction()
    await transaction.start()
    await deleting.execute("DELETE FROM data.products WHERE key = '1'")
    import_id = await mill.take_on(f"sku,name\n{rows}", dataset="products")
    merging = asyncio.create_task(mill.finish(import_id, mill.pipeline(slice_bytes=1 << 20)))
    await soon(lambda: deleting.fetchval(WAITS_FOR_A_LOCK))
    await transaction.commit()
    work = await merging
    assert (work["rows_inserted"], work["rows_updated"]) == (2, 0)
    assert sum(balance(work).values()) == work["rows_processed"] == rows.count("\n")
    assert [change.kind for change in await mill.changes(import_id)] == ["created", "created"]
    told = (await mill.events("records.changed"))[-1].data
    assert (told.created, told.updated) == (2, 0)
    await deleting.close()


async def hammered(mill, stop, seed):
    """Somebody edits records in a random order until told to stop; counts what became of it."""
    chance, outcomes = random.Random(seed), Counter()
    async with asking(mill) as ask:
        while not stop.is_set():
            key = f"s{chance.randrange(KEYS)}"
            match chance.randrange(20):
                case 0:
                    reply = await ask(RecordsDeleteAll)
                    outcomes["deleted"] += reply.deleted
                case number if number < 6:
                    reply = await ask(RecordDelete, key=key)
                case number if number < 12:
                    reply = await ask(RecordPatch, key=key, values={"name": f"edit {chance.random()}"})
                case _:
                    reply = await ask(RecordCreate, values={"sku": key, "name": "edited"})
            outcomes[reply.outcome] += 1
    return outcomes


def products(name, count):
    return written(("sku", "name"), [(f"s{number}", name) for number in range(count)])
