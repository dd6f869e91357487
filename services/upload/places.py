"""Places for large uploads: each holds some parts of its file in memory on the way to the store, so only so many may at once."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from types import TracebackType
from typing import Self

from services.upload.blocks import BLOCK_BYTES
from shared.contracts.problems import RequestTimeout
from shared.platform.places import Places

FREE_BYTES = BLOCK_BYTES  # of each file: small ones never wait
PLACES = 32  # of a process: with what the allocator keeps some 10 MiB each on a folder, up to three parts of 8 MiB on S3
SHARE = 16  # of them, that one tenant may have at a time
PATIENCE_SECONDS = 10.0  # for the next half MiB, while others wait: 50 KiB/s


def places_for_uploads() -> Places:
    """Those of a process."""
    return Places(PLACES, SHARE)


class Place:
    """One upload's: taken when it turns out to be large, given back at the end of the context."""

    def __init__(self, places: Places, tenant: str) -> None:
        self._places = places
        self._tenant = tenant
        self._is_taken = False
        self._since = monotonic()
        self._bytes_since = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_taken:
            self._places.give_back(self._tenant)

    async def paced(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """`chunks`, of which those behind the first half MiB wait for a place. Meanwhile none is read: the client waits, too.

        Raises:
            RequestTimeout: the client keeps a place that others wait for, and hardly sends anything.
        """
        length = 0
        while chunk := await self._next(chunks):
            length += len(chunk)
            if length > FREE_BYTES and not self._is_taken:
                await self._places.take(self._tenant)
                self._is_taken = True
                self._begin_again()
            yield chunk

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes:
        coming = asyncio.ensure_future(anext(chunks, b""))
        try:
            while not (await asyncio.wait([coming], timeout=self._left()))[0]:
                if self._is_taken and self._places.are_wanted:
                    raise _too_slow()
                self._begin_again()
            self._bytes_since += len(coming.result())
            if self._bytes_since >= FREE_BYTES:
                self._begin_again()
            return coming.result()
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    def _begin_again(self) -> None:
        self._since, self._bytes_since = monotonic(), 0

    def _left(self) -> float:
        """Seconds that the client still has for the half MiB at hand."""
        return max(self._since + PATIENCE_SECONDS - monotonic(), 0.0)


def _too_slow() -> RequestTimeout:
    return RequestTimeout(
        "request_timeout",
        f"the body brought too little within {PATIENCE_SECONDS:g} s, while other uploads wait for its place",
        hint="send it as a resumable upload, which goes on where it stopped: /api/v1/tus",
    )
