"""What the API shows of datasets. Pure."""

from pydantic import BaseModel

from shared.contracts.datasets import Dataset


class DatasetPage(BaseModel):
    items: list[Dataset]
    next_cursor: str | None = None
