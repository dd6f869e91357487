"""What a refused client still sends: most only look at the answer once they are done."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

DRAIN_BYTES = 16 * 1024 * 1024
DRAIN_SECONDS = 2.0


async def drain(body: AsyncIterator[bytes]) -> None:
    """Read on for a while."""
    drained = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in body:
                drained += len(chunk)
                if drained > DRAIN_BYTES:
                    return
