"""What the API shows of records, as JSON text that PostgreSQL has made. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ShownRecord:
    """One record.

    Attributes:
        content: JSON, as `models.record_model` describes it.
        etag: Its entity tag, without quotes.
    """

    content: str
    etag: str


def page_content(records: Sequence[str], next_cursor: str | None, total: int | None) -> str:
    """A page as `models.page_model` describes it, of records that are JSON text."""
    items = ",".join(records)
    return f'{{"items":[{items}],"next_cursor":{json.dumps(next_cursor)},"total":{json.dumps(total)}}}'
