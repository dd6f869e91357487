"""The read model ends in the same state, whatever order events arrive in and however often."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.tables import imports
from shared.contracts.events import AnyEvent
from tests.results.given import NOON, cancelled, completed, failed, progressed, resumed, uploaded

SECOND_START = NOON + timedelta(minutes=1)

Happen = Callable[..., Awaitable[None]]

STORIES = {
    "completed": [
        uploaded,
        lambda i: progressed(i, 0),
        lambda i: progressed(i, 30),
        lambda i: progressed(i, 80),
        completed,
    ],
    "failed": [uploaded, lambda i: progressed(i, 40), failed],
    "failed before it began": [uploaded, lambda i: failed(i, processing_started_at=None, rows_processed=0)],
    "running": [
        uploaded,
        lambda i: progressed(i, 0),
        lambda i: progressed(i, 30),
        lambda i: progressed(i, 80),
    ],
    "cancelled": [uploaded, lambda i: progressed(i, 30), lambda i: progressed(i, 60), cancelled],
    "cancelled before it began": [
        uploaded,
        lambda i: cancelled(i, processing_started_at=None, rows_processed=0, rows_inserted=0),
    ],
    "failed and going on": [
        uploaded,
        lambda i: progressed(i, 30),
        lambda i: progressed(i, 80),
        failed,  # with less than the progress told: nothing of an atomic import was loaded
        lambda i: resumed(i, 2),
    ],
    "failed, then completed": [
        uploaded,
        lambda i: progressed(i, 80),
        failed,
        lambda i: resumed(i, 2),
        lambda i: progressed(i, 20, run=2, processing_started_at=SECOND_START),
        lambda i: progressed(i, 90, run=2, processing_started_at=SECOND_START),
        lambda i: completed(i, run=2, processing_started_at=SECOND_START),
    ],
    "failed twice, then cancelled": [
        uploaded,
        failed,
        lambda i: resumed(i, 2),
        lambda i: progressed(i, 45, run=2, processing_started_at=SECOND_START),
        lambda i: failed(i, run=2, error_code="store_away", processing_started_at=SECOND_START),
        lambda i: resumed(i, 3),
        lambda i: cancelled(i, run=3),
    ],
    "a third run under way": [
        failed,
        lambda i: resumed(i, 2),
        lambda i: failed(i, run=2, processing_started_at=SECOND_START),
        lambda i: progressed(i, 10, run=3),  # with another start than `resumed` would have told
        lambda i: resumed(i, 3),
        uploaded,
    ],
}


async def state_of(engine: AsyncEngine, import_id: UUID) -> dict[str, Any]:
    async with engine.connect() as connection:
        row = (await connection.execute(select(imports).where(imports.c.import_id == import_id))).one()
    # When an import progressed differs only with the event that told it, the last one heard; when its row changed always.
    told_by_time = {"import_id", "progressed_at", "changed_at"}
    return {name: value for name, value in row._mapping.items() if name not in told_by_time}


@dataclass
class Told:
    """One event of a history; a live one may be lost."""

    event: Callable[[UUID], AnyEvent]
    is_live: bool = False


@dataclass
class History:
    told: list[Told] = field(default_factory=list)
    has_ended: bool = False

    def add(self, event: Callable[..., AnyEvent], *, is_live: bool = False, **data: Any) -> None:
        self.told.append(Told(lambda import_id: event(import_id, **data), is_live))


@st.composite
def histories(draw: st.DrawFn) -> History:
    """What is told of one import as it goes: up to three runs, each from where the one before was left.

    Of an atomic one all records wait until the end: while it is under way they count, and if it fails they do not.
    """
    history = History()
    history.add(uploaded)
    atomic, processed = draw(st.booleans()), 0
    runs = draw(st.integers(1, 3))
    for run in range(1, runs + 1):
        of_run = {"run": run, "processing_started_at": NOON}
        if run > 1:
            history.add(resumed, run=run, processing_started_at=NOON, counts=counts(processed))
        for more in draw(st.lists(st.integers(0, 15), max_size=4)):
            processed += more
            history.add(progressed, is_live=True, rows=processed, **of_run)
        end = draw(st.sampled_from([failed, cancelled, completed, None])) if run == runs else failed
        if end is not None:
            ended = 100 if end is completed else 0 if atomic else processed
            history.add(end, **of_run, **counts(ended))
            history.has_ended = run == runs
    return history


def counts(rows: int) -> dict[str, int]:
    return {"rows_processed": rows, "rows_inserted": rows, "rows_rejected": 0}


def shown_by(state: dict[str, Any]) -> tuple[int, int, int]:
    phase = (
        ("pending", "processing").index(state["status"]) if state["processing_completed_at"] is None else 2
    )
    return state["run"], phase, state["rows_processed"]


@settings(max_examples=40)
@given(history=histories(), data=st.data())
async def test_any_order_and_repetition_ends_in_the_same_state_and_none_goes_backwards(
    engine: AsyncEngine, happen: Happen, history: History, data: st.DataObject
) -> None:
    kept = [told for told in history.told if not told.is_live or data.draw(st.booleans())]
    again = data.draw(st.lists(st.sampled_from(kept), max_size=4))
    in_order, shuffled = uuid4(), uuid4()
    # What is live may be lost; where the import has ended, that makes no difference to what is known of it.
    heard = history.told if history.has_ended else kept
    await happen(*(told.event(in_order) for told in heard))
    seen = []
    events = [told.event(shuffled) for told in kept]
    events += [told.event(shuffled) for told in again]
    for event in data.draw(st.permutations(events)):
        await happen(event)
        seen.append(shown_by(await state_of(engine, shuffled)))
    assert seen == sorted(seen)
    assert await state_of(engine, shuffled) == await state_of(engine, in_order)


@pytest.mark.parametrize("story", STORIES)
@settings(max_examples=5)
@given(data=st.data())
async def test_any_order_of_what_an_older_version_tells_ends_in_the_same_state(
    engine: AsyncEngine, happen: Happen, story: str, data: st.DataObject
) -> None:
    """Its `import.resumed` tells no counts."""
    in_order, shuffled = uuid4(), uuid4()
    await happen(*(tell(in_order) for tell in STORIES[story]))
    events = [tell(shuffled) for tell in STORIES[story]]
    await happen(*data.draw(st.permutations(events)))
    assert await state_of(engine, shuffled) == await state_of(engine, in_order)


async def test_progress_never_moves_backwards(engine: AsyncEngine, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), progressed(import_id, 80), progressed(import_id, 30))
    assert (await state_of(engine, import_id))["rows_processed"] == 80


async def test_nothing_changes_an_import_that_has_ended(engine: AsyncEngine, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), completed(import_id))
    ended = await state_of(engine, import_id)
    await happen(progressed(import_id, 100), failed(import_id), uploaded(import_id))
    assert await state_of(engine, import_id) == ended


async def test_a_failed_import_goes_on_and_what_its_first_run_still_says_is_old_news(
    engine: AsyncEngine, happen: Happen
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), failed(import_id), resumed(import_id, 2))
    state = await state_of(engine, import_id)
    assert (state["status"], state["run"], state["rows_processed"]) == ("processing", 2, 40)
    assert (state["error_code"], state["processing_completed_at"]) == (None, None)
    assert state["processing_started_at"] == SECOND_START
    await happen(progressed(import_id, 10, run=2), progressed(import_id, 80), failed(import_id))
    state = await state_of(engine, import_id)
    assert (state["status"], state["run"], state["rows_processed"]) == ("processing", 2, 10)


async def test_the_late_end_of_an_atomic_run_takes_nothing_from_the_next_one(
    engine: AsyncEngine, happen: Happen
) -> None:
    """Its records were not loaded, and so do not count at its end; they wait still, and count again in the next run."""
    import_id = uuid4()
    await happen(uploaded(import_id), progressed(import_id, 80), resumed(import_id, 2, counts=counts(80)))
    await happen(failed(import_id, **counts(0)))
    assert shown_by(await state_of(engine, import_id)) == (2, 1, 80)


async def test_the_end_that_an_older_version_wrote_stays(engine: AsyncEngine, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), completed(import_id))
    async with engine.begin() as connection:
        await connection.execute(update(imports).values(counts_rank=0))
    await happen(progressed(import_id, 99))
    assert (await state_of(engine, import_id))["rows_processed"] == 100


async def test_two_tenants_may_use_one_id(engine: AsyncEngine, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id, tenant="acme"), completed(import_id, tenant="other"))
    async with engine.connect() as connection:
        rows = await connection.execute(
            select(imports.c.tenant, imports.c.status).where(imports.c.import_id == import_id)
        )
    assert {(row.tenant, row.status) for row in rows} == {("acme", "pending"), ("other", "completed")}
