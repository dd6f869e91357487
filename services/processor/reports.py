"""The events that tell how an import stands, made from its row. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from services.processor.profile import profile_of
from services.processor.repository import Work
from shared.contracts.events import (
    COUNTS,
    Counts,
    ImportCancelled,
    ImportCompleted,
    ImportFailed,
    ImportProgressed,
    ImportResumed,
    RecordsChanged,
)


def progressed(work: Work) -> ImportProgressed:
    """How far it is."""
    return ImportProgressed(
        import_id=work.import_id,
        dataset=work.dataset,
        bytes_processed=work.byte_offset,
        file_size=work.file_size,
        rows_detected=work.rows_detected,
        processing_started_at=work.started_at,
        **_counts(work),
    )


def changed(before: Work, after: Work, beside: Mapping[str, Counter[str]]) -> Iterator[RecordsChanged]:
    """What a step of the import, from `before` to `after` it, changed: its own dataset first, each that it did change.

    Args:
        beside: As `loading.Loaded` has it.
    """
    if before.options.get("dry_run", False):
        return
    created = after.rows_inserted - before.rows_inserted
    updated = after.rows_updated - before.rows_updated
    for dataset, kinds in {before.dataset: Counter(created=created, updated=updated), **beside}.items():
        if kinds.total():
            yield RecordsChanged(
                dataset=dataset,
                created=kinds["created"],
                updated=kinds["updated"],
                import_id=before.import_id,
                slice=before.slice,
            )


def resumed(work: Work) -> ImportResumed:
    """That it goes on."""
    return ImportResumed(
        import_id=work.import_id,
        dataset=work.dataset,
        run=work.run,
        processing_started_at=work.started_at or work.uploaded_at,
        counts=Counts(**{name: getattr(work, name) for name in COUNTS}),
    )


def completed(work: Work) -> ImportCompleted:
    """That it is done."""
    return ImportCompleted(
        dry_run=work.options.get("dry_run", False), profile=profile_of(work.profile), **_ended(work)
    )


def failed(work: Work) -> ImportFailed:
    """That it has failed, and why."""
    return ImportFailed(
        dry_run=work.options.get("dry_run", False),
        error_code=work.error_code,
        error_message=work.error_message,
        **_ended(work),
    )


def cancelled(work: Work) -> ImportCancelled:
    """That it was ended on request."""
    return ImportCancelled(**_ended(work))


def _counts(work: Work) -> dict[str, Any]:
    return {name: getattr(work, name) for name in (*COUNTS, "run")}


def _ended(work: Work) -> dict[str, Any]:
    # Records that wait to be loaded are none of the five counts: they were not processed.
    return _counts(work) | {
        "rows_processed": work.rows_processed - work.rows_staged,
        "import_id": work.import_id,
        "dataset": work.dataset,
        "source": work.source,
        "file_name": work.file_name,
        "processing_started_at": work.started_at,
        "processing_completed_at": work.finished_at,
    }
