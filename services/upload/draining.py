"""What a refused client still sends: most only look at the answer once they are done."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import Request

DRAIN_BYTES = 16 * 1024 * 1024
DRAIN_SECONDS = 2.0


async def drain(request: Request, body: AsyncIterator[bytes]) -> None:
    """Read on for a while; not for a client that waits for the answer before it sends its body (RFC 9110, section 10.1.1)."""
    if "expect" in request.headers:
        return
    drained = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in body:
                drained += len(chunk)
                if drained > DRAIN_BYTES:
                    return
