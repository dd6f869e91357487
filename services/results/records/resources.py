"""What the API shows of records, made from rows. Pure."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.results.tables import AnyRow


class Record(BaseModel):
    """A record: the members below and its dataset's fields (`GET /datasets/{dataset}`)."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(description="The key as it is compared")
    import_id: UUID | None = Field(description="The import that wrote it last")
    row_number: int | None = Field(description="Its record in that import, from 1")
    created_at: datetime
    updated_at: datetime


class RecordPage(BaseModel):
    items: list[Record]
    next_cursor: str | None


def record_of(row: AnyRow) -> Record:
    """The record in a row of a dataset's view."""
    members = dict(row._mapping)
    del members["tenant"]
    return Record(id=members.pop("key"), **members)
