"""Whole lists of records as files that stream, each of one consistent snapshot."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic
from typing import Literal

from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from services.results.downloads import resumed
from services.results.records import repository, statements
from services.results.records.statements import Listed
from shared.platform.edge.cutting import cut_off
from shared.platform.logs import get_logger
from shared.platform.querying import Copies

ExportFormat = Literal["csv", "ndjson"]

# The least that a client takes within so much time of waiting for it: some 9 KB/s. For less, a snapshot is kept for too
# long. It is time enough for buffers on the way, which pass on what a slow client reads in steps of more than a MB.
LEAST_BYTES = 1024**2
PATIENCE_SECONDS = 120.0

MEDIA_TYPES: dict[ExportFormat, str] = {
    "csv": "text/csv; charset=utf-8; header=present",
    "ndjson": "application/x-ndjson",
}

log = get_logger(__name__)


class _TooSlow(Exception):
    """The client takes less than the least."""


class Export(StreamingResponse):
    """A file on its way. What holds it up in the database ends with the response, however that ends."""

    def __init__(self, chunks: AsyncGenerator[bytes], first: bytes, name: str, media_type: str) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(resumed(first, chunks), media_type=media_type, headers=headers)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._chunks):
                await super().__call__(scope, receive, _paced(send))
        except _TooSlow:
            log.info("export.cut_off", path=scope["path"], least_bytes=LEAST_BYTES, seconds=PATIENCE_SECONDS)
            await cut_off(scope, receive)


def exports_at_once(pool_size: int) -> int:
    """How many exports a process has at a time, which keeps `pool_size` connections for all requests."""
    return max(1, pool_size * 2 // 5)


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


def _paced(send: Send) -> Send:
    """`send`, which raises `_TooSlow` once the client has been waited for too long. Waiting for the database is not its fault."""
    left, taken = PATIENCE_SECONDS, 0

    async def send_in_time(message: Message) -> None:
        nonlocal left, taken
        began = monotonic()
        try:
            async with asyncio.timeout(left) as limit:
                await send(message)
        except TimeoutError:
            if not limit.expired():
                raise
            raise _TooSlow from None
        left -= monotonic() - began
        taken += len(message.get("body", b""))
        if taken >= LEAST_BYTES:
            left, taken = PATIENCE_SECONDS, 0

    return send_in_time
