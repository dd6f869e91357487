"""Places for large uploads: each holds some parts of its file in memory on the way to the store, so only so many may at once."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from services.upload.blocks import BLOCK_BYTES
from shared.contracts.problems import RequestTimeout

FREE_BYTES = BLOCK_BYTES  # of each file: small ones never wait
PLACES = 32  # of a process; an upload holds up to three parts of 8 MiB
PATIENCE_SECONDS = 10.0  # for the next half MiB, while others wait: 50 KiB/s


class Places:
    """Those of one process, given in the order they are asked for."""

    def __init__(self, count: int = PLACES) -> None:
        self._free = asyncio.Semaphore(count)
        self._wanted = 0

    async def take(self) -> None:
        self._wanted += 1
        try:
            await self._free.acquire()
        finally:
            self._wanted -= 1

    def give_back(self) -> None:
        self._free.release()

    @property
    def are_wanted(self) -> bool:
        """Whether somebody waits for one."""
        return self._wanted > 0


class Place:
    """One upload's: taken when it turns out to be large, given back at the end of the context."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._is_taken = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_taken:
            self._places.give_back()

    async def paced(self, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """`blocks`, of which those behind the first half MiB wait for a place. Meanwhile none is read: the client waits, too.

        Raises:
            RequestTimeout: the client keeps a place that others wait for, and hardly sends anything.
        """
        length = 0
        while block := await self._next(blocks):
            length += len(block)
            if length > FREE_BYTES and not self._is_taken:
                await self._places.take()
                self._is_taken = True
            yield block

    async def _next(self, blocks: AsyncIterator[bytes]) -> bytes:
        coming = asyncio.ensure_future(anext(blocks, b""))
        try:
            while not (await asyncio.wait([coming], timeout=PATIENCE_SECONDS))[0]:
                if self._is_taken and self._places.are_wanted:
                    raise _too_slow()
            return coming.result()
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)


def _too_slow() -> RequestTimeout:
    return RequestTimeout(
        "request_timeout",
        f"the body brought too little within {PATIENCE_SECONDS:g} s, while other uploads wait for its place",
        hint="send it as a resumable upload, which goes on where it stopped: /api/v1/tus",
    )
