"""The processor in figures: what imports have done, and what has not ended."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.processor.job import DUPLICATE, Step
from services.processor.repository import Work
from shared.contracts.datasets import datasets
from shared.platform.telemetry.figures import (
    IMPORT_OLDEST_SECONDS,
    IMPORTS,
    IMPORTS_OPEN,
    RECORDS,
    ROW_ERRORS,
    Sample,
)

OUTCOMES = ("inserted", "updated", "unchanged", "duplicate", "rejected")

_OPEN = text("""
    SELECT count(*) FILTER (WHERE started_at IS NULL) AS pending, count(started_at) AS processing,
        greatest(EXTRACT(epoch FROM now() - min(moved_at)), 0)::float8 AS oldest_seconds
    FROM processor.imports WHERE status = 'processing'
""")


def count_step(before: Work, after: Work, step: Step) -> None:
    """Count what a step that is committed has done with records."""
    dataset = datasets()[before.dataset]
    for outcome in OUTCOMES:
        done = getattr(after, f"rows_{outcome}") - getattr(before, f"rows_{outcome}")
        if done:
            RECORDS.labels(dataset.name, outcome).inc(done)
    for (code, _), faults in (step.slice.error_counts if step.slice else {}).items():
        ROW_ERRORS.labels(dataset.name, code).inc(faults)
    duplicates = after.rows_duplicate - before.rows_duplicate
    if duplicates and dataset.on_duplicate == "reject":
        ROW_ERRORS.labels(dataset.name, DUPLICATE).inc(duplicates)


def count_end(work: Work) -> None:
    """Count an import that has ended."""
    IMPORTS.labels(work.dataset, work.status).inc()


async def read_imports(connection: AsyncConnection) -> Sequence[Sample]:
    """How many imports have not ended, and for how long the one that stands still longest has not moved."""
    row = (await connection.execute(_OPEN)).one()
    return [
        IMPORTS_OPEN.of(row.pending, "pending"),
        IMPORTS_OPEN.of(row.processing, "processing"),
        IMPORT_OLDEST_SECONDS.of(row.oldest_seconds),
    ]
