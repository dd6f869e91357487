"""Reads whose cost the caller decides: limited in time, or streamed in constant memory. One tenant's, as in `tenancy`."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Literal, cast

import asyncpg
from sqlalchemy import TextClause
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.contracts.problems import Unavailable
from shared.platform.tenancy import tenant_reading

CANCELED = "57014"  # SQLSTATE of a statement that ran out of its time
HINT = "narrow it, best by the key or by words to search for; sort by what it is narrowed by; leave out `total=exact`"

# Plans are made for the values asked for, as a word in every record and one in a single record need different ones; neither
# compiled nor run by several processes, which takes longer to begin than most of these queries take. Records are joined one
# by one: what a planner takes to be thousands is often a dozen, for which it would read a whole table.
_PLANNING = MappingProxyType(
    {
        "plan_cache_mode": "force_custom_plan",
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
        "enable_mergejoin": "off",
        "enable_hashjoin": "off",
    }
)

# `lines`: one column, whose text has no control characters, such as JSON; as it is, one row a line.
CopyFormat = Literal["csv", "lines"]
_COPY_OPTIONS: dict[CopyFormat, dict[str, Any]] = {
    "csv": {"format": "csv", "header": True},
    "lines": {"format": "csv", "header": False, "delimiter": "\x02", "quote": "\x01"},
}
_CHUNKS_AHEAD = 2


@asynccontextmanager
async def tenant_querying(
    engine: AsyncEngine, tenant: str, *, seconds: float, what: str = "records", hint: str = HINT
) -> AsyncIterator[AsyncConnection]:
    """`tenant_reading` for queries that may turn out to be too much: of `what`, and what to do about it is in `hint`.

    Raises:
        Unavailable: `query_timeout`: one took longer than `seconds`.
    """
    settings = _PLANNING | {"statement_timeout": str(round(seconds * 1000))}
    async with tenant_reading(engine, tenant, settings) as connection:
        try:
            yield connection
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != CANCELED:
                raise
            raise Unavailable(
                "query_timeout",
                f"what was asked for was not found within {seconds:g} s: too many {what} would have to be looked at",
                hint=hint,
                retry_after=30,
            ) from error


class Copies:
    """Streams out of the database, so many `at_once` and no more, half of them for one tenant.

    Each holds a connection and a snapshot: whoever reads one must not stop.
    """

    def __init__(self, engine: AsyncEngine, *, at_once: int) -> None:
        self._engine = engine
        self._at_once = at_once
        self._share = max(1, at_once // 2)
        self._running: Counter[str] = Counter()  # by tenant

    async def stream(self, tenant: str, query: TextClause, copy_format: CopyFormat) -> AsyncGenerator[bytes]:
        """What `query` finds in one snapshot, as COPY writes it, some KiB at a time, of which few are in memory.

        The transaction ends with the generator: close it (`contextlib.aclosing`), or read it to its end.

        Raises:
            Unavailable: `exports_busy`, before the first chunk.
        """
        if self._running.total() >= self._at_once:
            raise _busy(f"{self._at_once} exports are running")
        if self._running[tenant] >= self._share:
            raise _busy(f"{self._share} exports of this tenant are running")
        chunks: asyncio.Queue[bytes] = asyncio.Queue(_CHUNKS_AHEAD)
        copying = asyncio.create_task(self._copy(tenant, query, copy_format, chunks))
        self._running[tenant] += 1
        copying.add_done_callback(lambda _: self._end(tenant))
        try:
            while chunk := await _next(chunks, copying):
                yield chunk
        finally:
            copying.cancel()
            await asyncio.wait({copying})

    def _end(self, tenant: str) -> None:
        self._running[tenant] -= 1
        self._running += Counter()  # forgets who has none

    async def _copy(
        self, tenant: str, query: TextClause, copy_format: CopyFormat, chunks: asyncio.Queue[bytes]
    ) -> None:
        async def put(chunk: bytes | bytearray) -> None:
            await chunks.put(bytes(chunk))

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


def _busy(what: str) -> Unavailable:
    return Unavailable(
        "exports_busy",
        f"{what}, and no more do at a time",
        hint="try again when one of them has ended",
        retry_after=30,
    )


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
