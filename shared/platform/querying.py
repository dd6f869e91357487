"""Reads whose cost the caller decides: limited in time, or streamed in constant memory. One tenant's, as in `tenancy`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, cast

import asyncpg
from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.contracts.problems import Unavailable
from shared.platform.tenancy import tenant_reading

CANCELED = "57014"  # SQLSTATE of a statement that ran out of its time

# Plans are made for the values asked for, as a word in every record and one in a single record need different ones; neither
# compiled nor run by several processes, which takes longer to begin than most of these queries take. Records are joined one
# by one: what a planner takes to be thousands is often a dozen, for which it would read a whole table.
_LIMIT = text("""
    SELECT set_config('statement_timeout', :milliseconds, true), set_config('plan_cache_mode', 'force_custom_plan', true),
        set_config('jit', 'off', true), set_config('max_parallel_workers_per_gather', '0', true),
        set_config('enable_mergejoin', 'off', true), set_config('enable_hashjoin', 'off', true)
""")

# `lines`: one column, whose text has no control characters, such as JSON; as it is, one row a line.
CopyFormat = Literal["csv", "lines"]
_COPY_OPTIONS: dict[CopyFormat, dict[str, Any]] = {
    "csv": {"format": "csv", "header": True},
    "lines": {"format": "csv", "header": False, "delimiter": "\x02", "quote": "\x01"},
}
_CHUNKS_AHEAD = 2


class NotTaken(Exception):
    """Nobody took a chunk for too long. The stream is broken off."""


@asynccontextmanager
async def tenant_querying(
    engine: AsyncEngine, tenant: str, *, seconds: float
) -> AsyncIterator[AsyncConnection]:
    """`tenant_reading` for queries that may turn out to be too much.

    Raises:
        Unavailable: `query_timeout`: one took longer than `seconds`.
    """
    async with tenant_reading(engine, tenant) as connection:
        await connection.execute(_LIMIT, {"milliseconds": str(round(seconds * 1000))})
        try:
            yield connection
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != CANCELED:
                raise
            raise Unavailable(
                "query_timeout",
                f"what was asked for was not found within {seconds:g} s: too many records would have to be looked at",
                hint="narrow it, best by the key or by words to search for; sort by what it is narrowed by; leave out"
                " `total=exact`",
                retry_after=30,
            ) from error


class Copies:
    """Streams out of the database, so many at once and no more: each holds a connection and a snapshot."""

    def __init__(self, engine: AsyncEngine, *, at_once: int, idle_seconds: float) -> None:
        self._engine = engine
        self._at_once = at_once
        self._idle_seconds = idle_seconds
        self._running: set[asyncio.Task[None]] = set()

    async def stream(self, tenant: str, query: TextClause, copy_format: CopyFormat) -> AsyncGenerator[bytes]:
        """What `query` finds in one snapshot, as COPY writes it, some KiB at a time, of which few are in memory.

        The transaction ends with the generator: close it (`contextlib.aclosing`), or read it to its end.

        Raises:
            Unavailable: `exports_busy`, before the first chunk.
            NotTaken: a chunk waited longer than `idle_seconds`. The transaction has ended by then, whoever still waits.
        """
        if len(self._running) >= self._at_once:
            raise Unavailable(
                "exports_busy",
                f"{self._at_once} exports are running, and no more do at a time",
                hint="try again when one of them has ended",
                retry_after=30,
            )
        chunks: asyncio.Queue[bytes] = asyncio.Queue(_CHUNKS_AHEAD)
        copying = asyncio.create_task(self._copy(tenant, query, copy_format, chunks))
        self._running.add(copying)
        copying.add_done_callback(self._running.discard)
        try:
            while chunk := await _next(chunks, copying):
                yield chunk
        finally:
            copying.cancel()
            await asyncio.wait({copying})

    async def _copy(
        self, tenant: str, query: TextClause, copy_format: CopyFormat, chunks: asyncio.Queue[bytes]
    ) -> None:
        async def put(chunk: bytes | bytearray) -> None:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    await chunks.put(bytes(chunk))
            except TimeoutError:
                raise NotTaken(f"nobody took a chunk for {self._idle_seconds:g} s") from None

        async with tenant_reading(self._engine, tenant) as connection:
            compiled = query.compile(dialect=self._engine.dialect)
            values = [compiled.params[name] for name in getattr(compiled, "positiontup", None) or ()]
            driver = cast(
                "asyncpg.Connection[Any]", (await connection.get_raw_connection()).driver_connection
            )
            try:
                await driver.copy_from_query(
                    str(compiled),
                    *values,
                    output=put,
                    timeout=None,
                    encoding="utf-8",
                    **_COPY_OPTIONS[copy_format],
                )
            except BaseException:
                await connection.invalidate()  # it may be in the middle of a COPY: nobody else gets it
                raise


async def _next(chunks: asyncio.Queue[bytes], copying: asyncio.Task[None]) -> bytes:
    """The next chunk; empty after the last one. Raises what the copying ended with."""
    getting = asyncio.create_task(chunks.get())
    try:
        await asyncio.wait({getting, copying}, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            return getting.result()
    finally:
        getting.cancel()
    if not chunks.empty():
        return chunks.get_nowait()
    copying.result()
    return b""
