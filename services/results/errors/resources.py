"""What the API shows of row errors, made from rows. Pure."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.results.tables import AnyRow
from shared.platform.paging import TotalCount

EXAMPLES = 3

RowErrorStatus = Literal["open", "fixed"]


class FixedBy(BaseModel):
    """The record of a later import that was loaded in place of the one with the row error."""

    import_id: UUID
    row_number: int = Field(description="Data records of that import, from 1")


class RowError(BaseModel):
    """Why a record, or one value of it, was not loaded."""

    row_number: int = Field(description="Data records, from 1")
    line_number: int = Field(description="Physical line where the record begins, from 1")
    byte_offset: int
    column: str | None
    code: str
    message: str
    value: str | None
    raw_data: str = Field(description="The record as it came")
    rule: str | None = Field(description="The rule that was broken, as the dataset declares it")
    hint: str | None
    status: RowErrorStatus = Field(
        description="`fixed`: an import that `corrects` this one has loaded the record since"
    )
    fixed_by: FixedBy | None = Field(description="What has loaded it; null while the row error is open")


class ErrorCount(BaseModel):
    """How many row errors have this code in this column. Complete, also where not every row error is kept."""

    code: str
    column: str | None
    count: int


class RowErrorPage(BaseModel):
    items: list[RowError]
    next_cursor: str | None
    total: TotalCount


class ErrorExample(BaseModel):
    row_number: int = Field(description="Data records, from 1")
    line_number: int = Field(description="Physical line where the record begins, from 1")
    value: str | None


class ErrorGroup(ErrorCount):
    """The row errors with one code in one column."""

    share: float = Field(ge=0, le=1, description="`count` as a share of `rows_processed`")
    examples: list[ErrorExample] = Field(
        max_length=EXAMPLES, description="With values that differ, where there are such"
    )
    likely_cause: str = Field(
        description="What has caused them, in a sentence; `probably`, where the values point to it"
    )
    hint: str | None = Field(description="What to do about them, as the first of them says")


class ErrorSummary(BaseModel):
    """The row errors of an import by what they are. The counts are complete; examples are of the errors that are kept."""

    import_id: UUID
    rows_processed: int
    rows_with_errors: int = Field(description="Records with one row error or more")
    rows_corrected: int = Field(
        description="Those of them that imports which `correct` this one have loaded since"
    )
    groups: list[ErrorGroup] = Field(description="The most frequent first")


def row_error_of(row: AnyRow) -> RowError:
    """The row error in a row of the processor's view, beside what has fixed it."""
    same = RowError.model_fields.keys() - {"column", "status", "fixed_by"}
    fixed_by = row.by_import and FixedBy(import_id=row.by_import, row_number=row.by_row)
    return RowError(
        column=row.column_name,
        status="fixed" if fixed_by else "open",
        fixed_by=fixed_by,
        **{name: getattr(row, name) for name in same},
    )
