"""What upload answers. Pure."""

from uuid import UUID

from pydantic import BaseModel, Field

from shared.contracts.events import ImportUploaded

RECORDS_PER_SECOND = 50_000  # what a processor does at least, on the machines we measured


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
    estimated_processing_time: float = Field(description="Seconds")
    links: dict[str, str]


class Ordered(BaseModel):
    """The answer to a command: it is on its way."""

    id: UUID = Field(description="The import's")
    status: str = Field(description="The import's, when the command was taken")
    run: int = Field(description="The import's, when the command was taken; a retry begins the next one")
    links: dict[str, str]


def accepted_of(uploaded: ImportUploaded) -> Accepted:
    """The answer to an upload that was registered."""
    return Accepted(
        id=uploaded.import_id,
        dataset=uploaded.dataset,
        file_name=uploaded.file_name,
        file_size=uploaded.file_size,
        sha256=uploaded.sha256,
        dry_run=uploaded.options.dry_run,
        rows_detected=uploaded.rows_detected,
        estimated_processing_time=round(0.5 + uploaded.rows_detected / RECORDS_PER_SECOND, 1),
        links=links_of(uploaded.import_id),
    )


def links_of(import_id: UUID) -> dict[str, str]:
    """Where an import can be followed and controlled: paths on this host."""
    shown, taken = f"/api/v1/imports/{import_id}", f"/api/v1/uploads/{import_id}"
    return {
        "self": shown,
        "events": f"{shown}/events",
        "errors": f"{shown}/errors",
        "errors_csv": f"{shown}/errors.csv",
        "receipt": f"{shown}/receipt",
        "cancel": f"{taken}/cancel",
        "retry": f"{taken}/retry",
    }
