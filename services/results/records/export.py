"""Whole lists of records as files that stream, each of one consistent snapshot."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Literal

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.results.records import repository, statements
from services.results.records.statements import Listed
from shared.platform.querying import Copies

ExportFormat = Literal["csv", "ndjson"]

EXPORTS_AT_ONCE = 4  # in one process, of the 10 connections that it keeps
IDLE_SECONDS = 30.0  # until a client that does not read gets no more

MEDIA_TYPES: dict[ExportFormat, str] = {
    "csv": "text/csv; charset=utf-8; header=present",
    "ndjson": "application/x-ndjson",
}


class Export(StreamingResponse):
    """A file on its way. What holds it up in the database ends with the response, however that ends."""

    def __init__(self, chunks: AsyncGenerator[bytes], first: bytes, name: str, media_type: str) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(_resumed(first, chunks), media_type=media_type, headers=headers)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._chunks):
            await super().__call__(scope, receive, send)


async def export(copies: Copies, listed: Listed, export_format: ExportFormat) -> Export:
    """The records as a file. Whatever is wrong before the first of them is raised; later, the connection breaks.

    Raises:
        Unavailable: `exports_busy`.
    """
    if export_format == "csv":
        chunks = copies.stream(listed.tenant, repository.clause_of(statements.cells(listed)), "csv")
    else:
        chunks = copies.stream(listed.tenant, repository.clause_of(statements.lines(listed)), "lines")
    first = await anext(chunks, b"")
    return Export(chunks, first, f"{listed.dataset.name}.{export_format}", MEDIA_TYPES[export_format])


async def _resumed(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
