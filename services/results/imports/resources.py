"""What the API shows of imports, made from rows. Pure: the present time is an argument."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.results.errors.resources import ErrorCount, RowError, row_error_of
from services.results.tables import AnyRow
from shared.contracts.datasets import row_errors_in
from shared.contracts.dialect import Dialect, DialectExplanation
from shared.contracts.options import ImportOptions
from shared.platform.paging import TotalCount

Status = Literal["pending", "processing", "completed", "failed", "cancelled"]
ENDED: frozenset[str] = frozenset({"completed", "failed", "cancelled"})
ERRORS_PREVIEWED = 10


class Links(BaseModel):
    """Where the rest of an import is: paths on this host."""

    self_: str = Field(serialization_alias="self")
    events: str
    errors: str
    errors_csv: str
    errors_summary: str
    file: str
    receipt: str


class Import(BaseModel):
    """One file going through, and how far it is. Counts are records."""

    id: UUID
    dataset: str
    source: str | None = Field(description="Who sent the file")
    file_name: str
    file_size: int = Field(description="Bytes")
    sha256: str
    status: Status
    dry_run: bool = Field(description="Nothing is loaded; the counts say what would be")
    run: int = Field(description="1, and one more with each retry")
    rows_detected: int = Field(description="Data records counted at upload")
    rows_processed: int = Field(
        description="The sum of the five counts that follow, and of the records that wait until all are loaded at once"
    )
    rows_inserted: int
    rows_updated: int
    rows_unchanged: int
    rows_duplicate: int
    rows_rejected: int
    percent_complete: float = Field(ge=0, le=100, description="100 only when completed")
    estimated_seconds_left: int | None = Field(description="From the speed so far; null while unknown")
    error_code: str | None = Field(description="Why the import failed, for programs")
    error_message: str | None = Field(description="Why the import failed, for people")
    uploaded_at: datetime
    processing_started_at: datetime | None
    processing_completed_at: datetime | None
    links: Links


class Remark(BaseModel):
    """What was read in one of several possible ways, or not at all."""

    code: str
    column: str | None
    count: int = Field(description="In how many places; of `further_table_at_line` the line")
    message: str


class ListedImport(Import):
    """An import with what was loaded after corrections."""

    rows_corrected: int = Field(
        description="Records with row errors that imports which correct this one have loaded since"
    )


class ImportDetail(ListedImport):
    """An import with how its file is read, what was asked of it, and what is wrong with its records."""

    errors_open: int = Field(
        description="Records with row errors that no later import has loaded; 0 when all are corrected"
    )
    corrected_by: list[UUID] = Field(description="The imports that have loaded records in place of these")
    file_removed_at: datetime | None = Field(
        description="Since when the file is gone, which the operator keeps for some days only; null: it is there"
    )
    errors_removed_at: datetime | None = Field(
        description="Since when its row errors are gone, for the same reason; their numbers stay. Null: they are there"
    )
    corrects: UUID | None = Field(description="The import whose row errors this one mends")
    options: ImportOptions = Field(description="As the upload asked")
    dialect: Dialect | None = Field(description="How the file is written")
    explanation: DialectExplanation | None = Field(description="Why it is read so")
    date_orders: dict[str, str] = Field(description="How dates such as 03/04/2024 are read, by column")
    warnings: list[Remark]
    error_counts: list[ErrorCount] = Field(description="The most frequent first")
    errors_preview: list[RowError] = Field(max_length=ERRORS_PREVIEWED)


class ImportPage(BaseModel):
    items: list[ListedImport]
    next_cursor: str | None
    total: TotalCount


def import_of(row: AnyRow, now: datetime) -> Import:
    """The import in a row of the read model."""
    return Import(**_members(row, now))


def listed_import_of(row: AnyRow, now: datetime, corrections: Mapping[UUID, int]) -> ListedImport:
    """The import in a row of the read model; `corrections` is how many of its records each later import has loaded."""
    return ListedImport(rows_corrected=sum(corrections.values()), **_members(row, now))


def import_detail_of(
    row: AnyRow,
    *,
    upload: AnyRow | None,
    work: AnyRow | None,
    error_counts: Sequence[AnyRow],
    errors: Sequence[AnyRow],
    corrections: Mapping[UUID, int],
    now: datetime,
) -> ImportDetail:
    """The import in a row of the read model, with what upload and processor tell of it in their views."""
    return ImportDetail(
        **_members(row, now),
        **_corrected(row, corrections),
        file_removed_at=upload.file_removed_at if upload else None,
        errors_removed_at=errors_removed_at(row, work),
        corrects=upload.corrects if upload else None,
        options=ImportOptions.model_validate(upload.options) if upload else ImportOptions(),
        dialect=upload and Dialect.model_validate(upload.dialect),
        explanation=upload and upload.explanation and DialectExplanation.model_validate(upload.explanation),
        date_orders=(work and work.date_orders) or {},
        warnings=[remark_of(note, count) for note, count in sorted((work.notes if work else {}).items())],
        error_counts=[
            ErrorCount(code=each.code, column=each.column_name or None, count=each.count)
            for each in error_counts
        ],
        errors_preview=[row_error_of(error) for error in errors],
    )


def errors_removed_at(row: AnyRow, work: AnyRow | None) -> datetime | None:
    """Since when the row errors of an import are gone; None: they are there, or it had none."""
    had = row_errors_in(row.dataset, rejected=row.rows_rejected, duplicate=row.rows_duplicate)
    return work.errors_removed_at if work and had else None


def _corrected(row: AnyRow, corrections: Mapping[UUID, int]) -> dict[str, Any]:
    rows_corrected = sum(corrections.values())
    with_errors = row_errors_in(row.dataset, rejected=row.rows_rejected, duplicate=row.rows_duplicate)
    return {
        "rows_corrected": rows_corrected,
        "errors_open": max(with_errors - rows_corrected, 0),  # events may be late
        "corrected_by": list(corrections),
    }


# What the processor's notes say; `{count}` is the note's number.
_WARNINGS = {
    "date_ambiguous": "{count:,} values{where} could be read with the day or the month first, and were read by the date order",
    "time_ambiguous": "{count:,} times{where} came twice that night, as clocks were set back; the first of the two was taken",
    "line_unreadable": "{count:,} records have no line number in `_line`, or something else in its place; they close no row error",
    "line_without_row_error": "{count:,} records name in `_line` a line of the corrected import that has no row error",
    "line_not_known": "{count:,} records name in `_line` a line of which no row error is known: the corrected import was"
    " processed before all lines were kept; they close no row error",
    "further_table_at_line": "a further table begins in line {count:,}; only the first one was read",
}


def remark_of(note: str, count: int) -> Remark:
    """The warning in a note of the processor: `<code>`, or `<code>:<column>`."""
    code, _, column = note.partition(":")
    text = _WARNINGS.get(code, "{count:,} values{where}: " + code.replace("_", " "))
    where = f" in column {column!r}" if column else ""
    return Remark(
        code=code, column=column or None, count=count, message=text.format(count=count, where=where)
    )


def _members(row: AnyRow, now: datetime) -> dict[str, Any]:
    columns = row._asdict()
    return {name: columns[name] for name in Import.model_fields if name in columns} | {
        "id": row.import_id,
        "dry_run": bool(row.dry_run),  # unknown while a later event has arrived before `import.uploaded`
        "percent_complete": percent_complete(row.status, row.rows_processed, row.rows_detected),
        "estimated_seconds_left": seconds_left(row, now),
        "links": links_of(row.import_id),
    }


def links_of(import_id: UUID) -> Links:
    here = f"/api/v1/imports/{import_id}"
    return Links(
        self_=here,
        events=f"{here}/events",
        errors=f"{here}/errors",
        errors_csv=f"{here}/errors.csv",
        errors_summary=f"{here}/errors/summary",
        file=f"{here}/file",
        receipt=f"{here}/receipt",
    )


def percent_complete(status: str, processed: int, detected: int) -> float:
    """Records processed of those detected, in percent, rounded down to 0.1; 100 only when completed."""
    if status == "completed":
        return 100.0
    if detected <= 0:
        return 0.0
    return min(processed * 1000 // detected / 10, 99.9)


def seconds_left(row: AnyRow, now: datetime) -> int | None:
    """Seconds until the end at the mean speed so far, rounded up; None if no speed is known.

    That of a later run is not: it began somewhere in the file.
    """
    if row.status != "processing" or row.run > 1 or row.progressed_at is None or row.rows_processed == 0:
        return None
    elapsed = (row.progressed_at - row.processing_started_at).total_seconds()
    remaining = row.rows_detected - row.rows_processed
    since = max((now - row.progressed_at).total_seconds(), 0.0)
    estimate: float = remaining * elapsed / row.rows_processed - since
    return max(math.ceil(estimate), 0)
