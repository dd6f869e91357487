"""The SQL that merges events into the read model of imports, in whatever order they come.

An event counts by what it is about, never by when it arrives: a later run of the import before an earlier one, within a
run its end before its progress, and of that the furthest. State and counts are compared each by itself: what ends a run
may tell fewer records than its progress did, as those that waited to be loaded were not.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, or_, tuple_
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.tables import (
    COUNTS,
    FACTS,
    imports,
)
from shared.contracts.events import (
    Counts,
    ImportCancelled,
    ImportCompleted,
    ImportFailed,
    ImportProgressed,
    ImportResumed,
    ImportUploaded,
)

Ended = ImportCompleted | ImportFailed | ImportCancelled

_KEY = ("tenant", "import_id")
_PENDING, _PROCESSING, _ENDED = range(3)  # phases of a run
_phase = case(
    (imports.c.status == "pending", _PENDING), (imports.c.status == "processing", _PROCESSING), else_=_ENDED
)
# The version before this one ends imports without a rank: while both run, the state says it as well.
_counts_rank = case((_phase == _ENDED, 2 * imports.c.run + 1), else_=imports.c.counts_rank)


async def add_uploaded(connection: AsyncConnection, tenant: str, event: ImportUploaded) -> None:
    """Know the file; how far it is stays as later events may have told already."""
    values = {name: getattr(event, name) for name in FACTS if name != "dry_run"}
    values["dry_run"] = event.options.dry_run
    row = _row(tenant, event, status="pending", **values)
    await connection.execute(row.on_conflict_do_update(index_elements=_KEY, set_=_excluded(row, values)))


async def add_progress(
    connection: AsyncConnection, tenant: str, event: ImportProgressed, at: datetime
) -> None:
    """Move the import forward to what was true `at`; never backwards, and never once its run has ended."""
    further = _is_further(event.run, event)
    state = _state(event, "processing")
    counts = _counts(event, rank=2 * event.run)
    # `import.resumed` may come before the work has begun again, and then does not know when that was.
    times = {"processing_started_at": event.processing_started_at, "progressed_at": at}
    row = _row(tenant, event, **state | counts | times)
    update = (
        _where(_is_newer(event.run, _PROCESSING), row, state)
        | _where(further, row, counts)
        | _where(imports.c.run <= event.run, row, times)
    )
    newer = or_(_is_newer(event.run, _PROCESSING), further)
    await connection.execute(row.on_conflict_do_update(index_elements=_KEY, set_=update, where=newer))


async def add_resumed(connection: AsyncConnection, tenant: str, event: ImportResumed) -> None:
    """Let the import go on in its new run, with the counts that it begins with."""
    state = _state(event, "processing") | {"progressed_at": None}
    newer = _is_newer(event.run, _PROCESSING)
    if (
        event.counts is None
    ):  # told by the version before this one: those of the run before stand until this one tells
        row = _row(tenant, event, **state)
        update = _excluded(row, state)
    else:
        counts = _counts(event.counts, rank=2 * event.run)
        row = _row(tenant, event, **state, **counts)
        further = _is_further(event.run, event.counts)
        update = _where(newer, row, state) | _where(further, row, counts)
        newer = or_(newer, further)
    await connection.execute(row.on_conflict_do_update(index_elements=_KEY, set_=update, where=newer))


async def add_completed(connection: AsyncConnection, tenant: str, event: ImportCompleted) -> None:
    """End the run; one that has ended already stays as it is."""
    await _end(connection, tenant, event, status="completed")


async def add_failed(connection: AsyncConnection, tenant: str, event: ImportFailed) -> None:
    """End the run with its reason; one that has ended already stays as it is."""
    reason = {"error_code": event.error_code, "error_message": event.error_message}
    await _end(connection, tenant, event, status="failed", **reason)


async def add_cancelled(connection: AsyncConnection, tenant: str, event: ImportCancelled) -> None:
    """End the run as somebody asked; one that has ended already stays as it is."""
    await _end(connection, tenant, event, status="cancelled")


async def _end(connection: AsyncConnection, tenant: str, event: Ended, status: str, **reason: str) -> None:
    final = _counts_rank < 2 * event.run + 1
    # Progress that arrives after the end leaves no trace, so progress before it must not leave one either.
    state = _state(event, status, processing_completed_at=event.processing_completed_at, **reason)
    state["progressed_at"] = None
    counts = _counts(event, rank=2 * event.run + 1)
    row = _row(tenant, event, **state, **counts)
    update = _where(_is_newer(event.run, _ENDED), row, state) | _where(final, row, counts)
    newer = or_(_is_newer(event.run, _ENDED), final)
    await connection.execute(row.on_conflict_do_update(index_elements=_KEY, set_=update, where=newer))


def _is_newer(run: int, phase: int) -> ColumnElement[bool]:
    return tuple_(imports.c.run, _phase) < (run, phase)


def _is_further(run: int, counts: Counts) -> ColumnElement[bool]:
    return tuple_(_counts_rank, imports.c.rows_processed) < (2 * run, counts.rows_processed)


def _state(event: ImportProgressed | ImportResumed | Ended, status: str, **ended: Any) -> dict[str, Any]:
    never_ended = dict.fromkeys(("processing_completed_at", "error_code", "error_message"))
    began = {"processing_started_at": event.processing_started_at}
    return {"run": event.run, "status": status} | began | never_ended | ended


def _counts(event: Counts, *, rank: int) -> dict[str, Any]:
    return {name: getattr(event, name) for name in COUNTS} | {"counts_rank": rank}


def _row(
    tenant: str, event: ImportUploaded | ImportProgressed | ImportResumed | Ended, **values: Any
) -> Insert:
    return insert(imports).values(tenant=tenant, import_id=event.import_id, dataset=event.dataset, **values)


def _excluded(row: Insert, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.excluded[name] for name in values}


def _where(condition: ColumnElement[bool], row: Insert, values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of `values` taken from `row` where `condition` holds, else as they are."""
    return {name: case((condition, row.excluded[name]), else_=imports.c[name]) for name in values}
