"""What the API shows of row errors, made from rows. Pure."""

from pydantic import BaseModel, Field

from services.results.tables import AnyRow


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


class ErrorCount(BaseModel):
    """How many row errors have this code in this column. Complete, also where not every row error is kept."""

    code: str
    column: str | None
    count: int


class RowErrorPage(BaseModel):
    items: list[RowError]
    next_cursor: str | None


def row_error_of(row: AnyRow) -> RowError:
    """The row error in a row of the processor's view."""
    same = (name for name in RowError.model_fields if name != "column")
    return RowError(column=row.column_name, **{name: getattr(row, name) for name in same})
