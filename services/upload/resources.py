"""What upload answers. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from pydantic import BaseModel, Field

from shared.contracts.events import ImportUploaded
from shared.contracts.problems import Conflict

ROWS_PER_SECOND = (
    50_000  # what a processor does at least, on the machines we measured; until it has told itself
)
OVERHEAD_SECONDS = 0.5  # before the first record and behind the last one


class Accepted(BaseModel):
    """The answer to an upload: what became of it, and where to look."""

    id: UUID = Field(description="The import's")
    status: str = "pending"
    dataset: str
    file_name: str
    file_size: int = Field(description="Bytes; of a compressed file, unpacked")
    sha256: str = Field(description="Of the file; of a compressed one, unpacked")
    dry_run: bool
    rows_detected: int
    estimated_processing_time: float = Field(
        description="Seconds until it has ended, by the speed of recent imports and the records that wait before it"
    )
    links: dict[str, str]


class Ordered(BaseModel):
    """The answer to a command: it is on its way."""

    id: UUID = Field(description="The import's")
    status: str = Field(description="The import's, when the command was taken")
    run: int = Field(description="The import's, when the command was taken; a retry begins the next one")
    links: dict[str, str]


def accepted_of(uploaded: ImportUploaded, *, rows_ahead: int, rows_per_second: float | None) -> Accepted:
    """The answer to an upload that is being registered.

    Args:
        rows_ahead: Records of imports that came before and have not ended.
        rows_per_second: What went through lately; None: nothing did.
    """
    rows = rows_ahead + uploaded.rows_detected
    return Accepted(
        id=uploaded.import_id,
        dataset=uploaded.dataset,
        file_name=uploaded.file_name,
        file_size=uploaded.file_size,
        sha256=uploaded.sha256,
        dry_run=uploaded.options.dry_run,
        rows_detected=uploaded.rows_detected,
        estimated_processing_time=round(OVERHEAD_SECONDS + rows / (rows_per_second or ROWS_PER_SECOND), 1),
        links=links_of(uploaded.import_id),
    )


def already_imported(same: Mapping[str, str], dataset: str) -> Conflict:
    """The problem of a file whose bytes are the import `same` already (`import_id`, `status`, `uploaded_at`)."""
    import_id, status = same["import_id"], same["status"]
    uploaded_at = datetime.fromisoformat(same["uploaded_at"]).astimezone(UTC)
    links = links_of(UUID(import_id))
    return Conflict(
        "file_already_imported",
        f"the same bytes came for {dataset} before, on {uploaded_at:%Y-%m-%d at %H:%M} UTC: import {import_id}, {status}",
        hint="follow that import; to import the file once more, send it with force=true",
        import_id=import_id,
        import_status=status,
        links=links,
    ).answered_with({"Link": f'<{links["self"]}>; rel="related"'})


def links_of(import_id: UUID) -> dict[str, str]:
    """Where an import can be followed and controlled: paths on this host."""
    shown, taken = f"/api/v1/imports/{import_id}", f"/api/v1/uploads/{import_id}"
    return {
        "self": shown,
        "events": f"{shown}/events",
        "errors": f"{shown}/errors",
        "errors_csv": f"{shown}/errors.csv",
        "errors_summary": f"{shown}/errors/summary",
        "file": f"{shown}/file",
        "receipt": f"{shown}/receipt",
        "cancel": f"{taken}/cancel",
        "retry": f"{taken}/retry",
    }
