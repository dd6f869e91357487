"""What a request may ask of an import."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DateOrder = Literal["day-first", "month-first"]
MAX_COUNT = 2**53 - 1  # exact for every reader of JSON (RFC 8259, section 6), as what is signed must be


class ImportOptions(BaseModel):
    """How an import is to be done.

    Attributes:
        dry_run: Do everything but the load; the counts say what it would have done.
        atomic: Load nothing before the end, then everything in one transaction.
        max_rejected: Fail, with nothing loaded, when more records than this have row errors.
        max_rejected_share: The same as a share of all records, 0 to 1.
        date_order: How dates such as 03/04/2024 are read, for all date columns; unset: by the file's own evidence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dry_run: bool = False
    atomic: bool = False
    max_rejected: int | None = Field(None, ge=0, le=MAX_COUNT)
    max_rejected_share: float | None = Field(None, ge=0, le=1)
    date_order: DateOrder | None = None

    @model_validator(mode="after")
    def _share_is_a_number(self) -> Self:
        if self.max_rejected_share != self.max_rejected_share:  # NaN
            raise ValueError("max_rejected_share must be a number from 0 to 1")
        return self

    @property
    def all_at_once(self) -> bool:
        """Whether nothing may become visible before the end: asked for, or implied by a limit or a dry run."""
        return (
            self.atomic
            or self.dry_run
            or self.max_rejected is not None
            or self.max_rejected_share is not None
        )
