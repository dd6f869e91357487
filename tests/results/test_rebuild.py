"""The read model rebuilt from what upload and processor have on record is the one that their events have built."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.imports.rebuild import Rebuilt, rebuild
from shared.contracts.events import AnyEvent
from tests.results.given import NOON, Database, cancelled, completed, failed, progressed, resumed, uploaded

Happen = Callable[..., Awaitable[None]]
Events = Callable[[UUID], list[AnyEvent]]

LATER = NOON + timedelta(seconds=9)
FAILURE = {"error_code": "file_unreadable", "error_message": "the file ends inside a quoted field"}

# What the processor has on record (None: nothing yet), and what was told on the way there.
CASES: dict[str, tuple[dict[str, Any] | None, Events]] = {
    "uploaded": (None, lambda i: [uploaded(i)]),
    "waiting": ({}, lambda i: [uploaded(i)]),
    "claimed": ({"started_at": NOON}, lambda i: [uploaded(i), progressed(i, 0)]),
    "under way": (
        {"started_at": NOON, "rows_processed": 30, "rows_inserted": 30},
        lambda i: [uploaded(i), progressed(i, 10), progressed(i, 30)],
    ),
    "atomic, under way": (
        {"started_at": NOON, "rows_processed": 30, "rows_staged": 28, "rows_rejected": 2},
        lambda i: [uploaded(i), progressed(i, 30, rows_inserted=0, rows_rejected=2)],
    ),
    "completed": (
        {
            "status": "completed", "started_at": NOON, "finished_at": LATER,
            "rows_processed": 100, "rows_inserted": 97, "rows_rejected": 3,
        },
        lambda i: [uploaded(i), progressed(i, 30), completed(i)],
    ),
    "failed with records that wait": (
        {
            "status": "failed", "started_at": NOON, "finished_at": LATER, **FAILURE,
            "rows_processed": 40, "rows_staged": 38, "rows_rejected": 2,
        },
        lambda i: [
            uploaded(i), progressed(i, 40, rows_inserted=0, rows_rejected=2),
            failed(i, rows_processed=2, rows_inserted=0, rows_rejected=2),
        ],
    ),
    "cancelled before it began": (
        {"status": "cancelled", "finished_at": LATER},
        lambda i: [uploaded(i), cancelled(i, processing_started_at=None, rows_processed=0, rows_inserted=0, rows_rejected=0)],
    ),
    "told to go on": (
        {"started_at": NOON, "run": 2, "rows_processed": 40, "rows_inserted": 40},
        lambda i: [
            uploaded(i), failed(i),
            resumed(i, 2, processing_started_at=NOON, counts={"rows_processed": 40, "rows_inserted": 40}),
        ],
    ),
    "told to go on before it ever began": (
        {"run": 2},
        lambda i: [
            uploaded(i), failed(i, processing_started_at=None, rows_processed=0, rows_inserted=0),
            resumed(i, 2, processing_started_at=NOON, counts={}),
        ],
    ),
    "completed in its third run": (
        {
            "status": "completed", "started_at": NOON, "finished_at": LATER, "run": 3,
            "rows_processed": 100, "rows_inserted": 97, "rows_rejected": 3,
        },
        lambda i: [uploaded(i), failed(i), resumed(i, 2, counts={}), completed(i, run=3)],
    ),
}  # fmt: skip


async def have(database: Database, happen: Happen, *names: str, tenant: str = "acme") -> list[UUID]:
    """Imports as in CASES: on record, and told."""
    made = []
    for name in names:
        record, events = CASES[name]
        import_id = await database.uploaded_import(tenant=tenant, uploaded_at=NOON)
        if record is not None:
            times = {"uploaded_at": NOON, "source": "partner"}
            await database.work(import_id, tenant=tenant, **times | record)
        await happen(*(event.model_copy(update={"tenant": tenant}) for event in events(import_id)))
        made.append(import_id)
    return made


async def read_model(database: Database) -> dict[UUID, dict[str, Any]]:
    rows = await database.connection.fetch("SELECT * FROM results.imports")
    told_by_time = {"changed_at", "progressed_at"}
    return {
        row["import_id"]: {name: value for name, value in row.items() if name not in told_by_time}
        for row in rows
    }


async def rebuilt(engine: AsyncEngine, tenant: str | None = None) -> Rebuilt:
    async with engine.begin() as connection:
        return await rebuild(connection, tenant)


async def test_it_is_what_the_events_have_built(
    engine: AsyncEngine, database: Database, happen: Happen
) -> None:
    await have(database, happen, *CASES)
    built = await read_model(database)
    assert len(built) == len(CASES)
    assert await rebuilt(engine) == Rebuilt(len(CASES), lacked=0, mended=0, forgotten=0)

    await database.connection.execute(
        "UPDATE results.imports SET status = 'processing', run = 7, counts_rank = 99, rows_inserted = 9,"
        " file_name = 'x', error_code = 'x', processing_completed_at = NULL, uploaded_at = NULL"
    )
    assert await rebuilt(engine) == Rebuilt(len(CASES), lacked=0, mended=len(CASES), forgotten=0)
    assert await read_model(database) == built

    await database.connection.execute("TRUNCATE results.imports")
    await happen(progressed(uuid4(), 10))  # of an import that nobody knows
    assert await rebuilt(engine) == Rebuilt(len(CASES), lacked=len(CASES), mended=0, forgotten=1)
    assert await read_model(database) == built


@pytest.mark.parametrize(
    "late",
    [
        lambda i: [progressed(i, 20), uploaded(i)],  # old news
        lambda i: [progressed(i, 60), completed(i)],
        lambda i: [failed(i), resumed(i, 2), progressed(i, 50, run=2)],
    ],
)
async def test_events_that_come_meanwhile_and_afterwards_are_merged_as_ever(
    engine: AsyncEngine, database: Database, happen: Happen, late: Events
) -> None:
    mended, untouched = await have(database, happen, "under way", "under way")
    await database.connection.execute(
        "UPDATE results.imports SET counts_rank = 0, rows_processed = 0, status = 'pending' WHERE import_id = $1",
        mended,
    )
    async with engine.begin() as connection:
        await rebuild(connection, None)
        events = [event for import_id in (mended, untouched) for event in late(import_id)]
        meanwhile = asyncio.create_task(happen(*events))
        await asyncio.wait([meanwhile], timeout=0.2)
        assert not meanwhile.done(), "it waits, and so cannot be overwritten by what was read before it"
    await meanwhile
    one, other = (await read_model(database)).values()
    assert {**one, "import_id": None} == {**other, "import_id": None}


async def test_one_tenant_is_rebuilt_and_no_other(
    engine: AsyncEngine, database: Database, happen: Happen
) -> None:
    [ours] = await have(database, happen, "completed")
    [theirs] = await have(database, happen, "completed", tenant="other")
    await happen(progressed(uuid4(), 1), progressed(uuid4(), 1, tenant="other"))
    await database.connection.execute("UPDATE results.imports SET rows_inserted = 0")
    assert await rebuilt(engine, "acme") == Rebuilt(1, lacked=0, mended=1, forgotten=1)
    found = await read_model(database)
    assert (found[ours]["rows_inserted"], found[theirs]["rows_inserted"]) == (97, 0)
    assert len(found) == 3


async def test_whoever_reads_need_not_wait(engine: AsyncEngine, database: Database, happen: Happen) -> None:
    await have(database, happen, "completed")
    async with engine.begin() as connection:
        await rebuild(connection, None)
        assert len(await read_model(database)) == 1
