"""Files of suppliers: what is told of one gives the same row in any order, and each counts once."""

import asyncio
import json
import random
from datetime import date, datetime, timedelta
from itertools import permutations
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from services.notifier.backfill.suppliers import Suppliers
from services.notifier.investigations.locking import lock
from services.notifier.logbook.logbook import Logbook
from services.notifier.suppliers.files import event_file, note_files
from services.notifier.suppliers.imports import note_imports
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from tests.notifier.given import DONE_AT, cancelled, completed, failed, uploaded

UTC = ZoneInfo("UTC")
SHA = "ab" * 32
HOUR = timedelta(hours=1)
SHOWN = "supplier, day, occurred_at, origin, status, stage, dataset, path, sha256, size, header, rows, rejected, profile"


@pytest.fixture
async def engine(database_url):
    engine = engine_for(database_url, "notifier", pool_size=2)
    yield engine
    await engine.dispose()


@pytest.fixture
def note(engine):
    """Notes the events of imports, in as many transactions as there are lists; answers who was released."""

    async def note(*together, zone=UTC):
        released = []

        async def release(connection, tenant, suppliers):
            released.append((tenant, *suppliers))
            return 0

        for events in together:
            async with engine.begin() as connection:
                await note_imports(connection, events, zone=zone, release=release)
        return released

    return note


def named(**changes):
    """What a pipeline's event says of a file."""
    told = {
        "tenant": "acme",
        "supplier": "acme-books",
        "stage": "load_ftp",
        "occurred_at": DONE_AT,
        "resolves": False,
        "severity": "error",
        "file": {"path": "/in/books.csv"},
        "zone": UTC,
    }
    return event_file(**told | changes)


def dealt(events):
    """The events in some order, some of them together."""
    shuffled = random.sample(events, len(events))
    cut = random.randint(0, len(events))
    return [part for part in (shuffled[:cut], shuffled[cut:]) if part]


async def test_the_events_of_an_import_give_one_row_in_any_order(note, database):
    profile = {"title": {"values": 9, "empty": 1}}
    for order in permutations(range(3)):
        import_id = uuid4()
        told = [
            uploaded(import_id=import_id, sha256=SHA, uploaded_at=DONE_AT - HOUR),
            failed(import_id=import_id, rows_processed=4, rows_rejected=1, file_name="books.csv"),
            completed(
                import_id=import_id,
                run=2,
                rows_processed=10,
                rows_inserted=6,
                rows_rejected=2,
                rows_duplicate=2,
                file_name="books.csv",
                processing_completed_at=DONE_AT + HOUR,
                profile=profile,
            ),
        ]
        await note([told[index] for index in order[:2]], [told[order[2]]])
        row = await database.fetchrow(
            f"SELECT {SHOWN} FROM notifier.supplier_files WHERE id = $1 AND import_id = $2",
            f"import:{import_id}",
            import_id,
        )
        assert json.loads(row["profile"])["title"]["values"] == 9
        assert tuple(row)[:-1] == (
            *("acme-books", date(2026, 3, 1), DONE_AT - HOUR, "import", "good", "process"),
            *("books", "books.csv", SHA, 1000, '["Title", "ISBN"]', 10, 4),
        ), order


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (uploaded(), "received"),
        (failed(rows_processed=5, rows_inserted=5), "failed"),
        (completed(rows_processed=3, rows_inserted=1, rows_rejected=2), "good"),
        (completed(dataset="products", rows_processed=3, rows_updated=1, rows_duplicate=2), "good"),
        (completed(rows_processed=3, rows_inserted=0, rows_duplicate=3), "failed"),
        (completed(rows_processed=0, rows_inserted=0), "failed"),
        (completed(dry_run=True), "uncounted"),
        (failed(dry_run=True), "uncounted"),
        (cancelled(), "uncounted"),
    ],
    ids=[
        "uploaded",
        "failed",
        "some good",
        "overwritten",
        "all known",
        "empty",
        "dry run",
        "failed dry run",
        "cancelled",
    ],
)
async def test_a_file_is_good_if_a_record_came_through(note, database, told, status):
    await note([told])
    assert await database.fetchval("SELECT status FROM notifier.supplier_files") == status


@pytest.mark.parametrize("what", [{"options": {"dry_run": True}}, {"corrects": uuid4()}])
async def test_a_dry_run_or_a_correction_is_no_file_in_any_order(note, database, what):
    for order in permutations(range(2)):
        import_id = uuid4()
        told = [uploaded(import_id=import_id, **what), failed(import_id=import_id)]
        assert await note(*[[told[index]] for index in order]) == []
        query = "SELECT status FROM notifier.supplier_files WHERE import_id = $1"
        assert await database.fetchval(query, import_id) == "uncounted"
    assert await database.fetchval("SELECT count(*) FROM notifier.suppliers") == 0


async def test_an_import_makes_its_source_known_once_and_releases_it(note, database):
    again = [uploaded(source="b"), uploaded(source="a"), uploaded(source="a"), uploaded(source=None)]
    assert await note([*again, uploaded(source="a", tenant="other")], again) == [
        ("acme", "a", "b"),
        ("other", "a"),
    ]
    rows = await database.fetch("SELECT tenant, id, name, added_by FROM notifier.suppliers ORDER BY 1, 2")
    assert [tuple(row) for row in rows] == [
        ("acme", "a", "a", "import"),
        ("acme", "b", "b", "import"),
        ("other", "a", "a", "import"),
    ]


async def test_what_events_say_of_a_file_gives_one_row_in_any_order(engine, database):
    for _ in range(25):
        path = f"/in/{uuid4()}"
        told = [
            named(
                file={
                    "path": path,
                    "rows": random.choice([None, 0, 7, 9]),
                    "size": random.choice([None, 100]),
                },
                stage=random.choice(["load_ftp", "consolidate"]),
                severity=random.choice(["info", "error"]),
                resolves=random.choice([False, False, True]),
                occurred_at=DONE_AT + timedelta(minutes=minute // 2),
            )
            for minute in range(5)
        ]
        rows = []
        for _ in range(2):
            async with engine.begin() as connection:
                for together in dealt(told):
                    await note_files(connection, together, zone=UTC)
                found = await connection.exec_driver_sql(
                    f"SELECT {SHOWN} FROM notifier.supplier_files WHERE path = $1", (path,)
                )
                rows.append([tuple(row) for row in found])
                await connection.rollback()
        assert len(rows[0]) == 1
        assert rows[0] == rows[1], told


async def test_the_last_event_that_knows_says_how_a_file_went(engine, database):
    told = [
        named(severity="info"),
        named(occurred_at=DONE_AT + HOUR),
        named(
            occurred_at=DONE_AT + 2 * HOUR,
            resolves=True,
            stage="consolidate",
            file={"path": "/in/books.csv", "rows": 9},
        ),
        named(occurred_at=DONE_AT + 3 * HOUR, severity="info", stage="airflow"),
    ]
    expected = [
        ("received", "load_ftp"),
        ("failed", "load_ftp"),
        ("good", "consolidate"),
        ("good", "consolidate"),
    ]
    for file, standing in zip(told, expected, strict=True):
        async with engine.begin() as connection:
            await note_files(connection, [file], zone=UTC)
        rows = await database.fetch("SELECT status, stage, occurred_at FROM notifier.supplier_files")
        assert [tuple(row) for row in rows] == [(*standing, DONE_AT)]


async def test_a_file_that_is_imported_and_named_by_events_counts_once(engine, note, database):
    """Whatever comes first; not that of another supplier, or of another day."""
    file = {"path": "/in/books.csv", "sha256": SHA}
    others = [named(supplier="other", file=file), named(occurred_at=DONE_AT + timedelta(days=1), file=file)]
    event, told = named(file=file), uploaded(sha256=SHA)

    async def named_now(files):
        async with engine.begin() as connection:
            await note_files(connection, files, zone=UTC)

    await named_now([event, *others])
    await note([told])
    counted = "SELECT id FROM notifier.supplier_files WHERE status <> 'uncounted'"
    expected = {f"import:{told.data.import_id}", *(other.id for other in others)}
    assert {row["id"] for row in await database.fetch(counted)} == expected
    await database.execute("TRUNCATE notifier.supplier_files")
    await note([told])
    await named_now([*others, event])
    await named_now([event])
    assert {row["id"] for row in await database.fetch(counted)} == expected


@pytest.mark.parametrize("event_first", [True, False])
async def test_a_file_that_is_imported_and_named_at_the_same_time_counts_once(
    engine, note, database, event_first
):
    event, told = named(file={"path": "/in/books.csv", "sha256": SHA}), uploaded(sha256=SHA)

    async def of_event(connection):
        await note_files(connection, [event], zone=UTC)

    async def of_import(connection):
        await note_imports(connection, [told], zone=UTC, release=lambda *_: asyncio.sleep(0, 0))

    async def noted(work):
        async with engine.begin() as connection:
            await work(connection)

    first, second = (of_event, of_import) if event_first else (of_import, of_event)
    async with engine.begin() as connection:
        await first(connection)
        other = asyncio.create_task(noted(second))
        await asyncio.sleep(0.2)
        assert not other.done()
    await other
    counted = await database.fetch("SELECT id FROM notifier.supplier_files WHERE status <> 'uncounted'")
    assert [row["id"] for row in counted] == [f"import:{told.data.import_id}"]


async def test_days_are_those_of_the_deployment(note, database):
    late = datetime.fromisoformat("2026-07-01T22:30:00+00:00")
    await note([uploaded(uploaded_at=late)], zone=ZoneInfo("Europe/Berlin"))
    await note([uploaded(uploaded_at=late)], zone=ZoneInfo("America/New_York"))
    days = [
        row["day"] for row in await database.fetch("SELECT day FROM notifier.supplier_files ORDER BY day")
    ]
    assert days == [date(2026, 7, 1), date(2026, 7, 2)]


async def test_suppliers_are_renamed_before_investigations_are_locked(engine, database, database_url):
    logbook = Logbook(Bus("notifier", database_url=database_url).publish, UTC, quota=1)
    await database.execute("INSERT INTO notifier.suppliers (tenant, id, name) VALUES ('acme', 'old', 'old')")
    async with engine.begin() as somebody:  # as a CSV file does, which changes one and adds another
        await somebody.exec_driver_sql("UPDATE notifier.suppliers SET partner = 'Mill'")
        names = {"old": "Old", "new": "New"}
        taking = asyncio.create_task(Suppliers(engine, logbook, "acme").take_over(names))
        await asyncio.sleep(0.2)
        assert not taking.done()
        await lock(somebody, "acme")
    assert await taking == {"read": 2, "added": 1, "renamed": 1}
