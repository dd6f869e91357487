"""The two query parameters that every list takes."""

from typing import Annotated

from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=200, description="Items on a page, at most")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before; none: the first page")]
