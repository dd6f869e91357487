"""How long something took, and how late this machine was meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

TICK_SECONDS = 0.01


@dataclass
class Timed:
    """What a block took.

    Attributes:
        seconds: From its beginning to its end.
        lag: By how much, all in all, the event loop was late meanwhile: nothing in it could be quicker.
    """

    seconds: float = 0.0
    lag: float = 0.0


@asynccontextmanager
async def timed() -> AsyncIterator[Timed]:
    """Around what is awaited; the result is whole behind it."""
    found = Timed()

    async def tick() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            found.lag += max(0.0, time.monotonic() - began - 2 * TICK_SECONDS)

    ticking, began = asyncio.create_task(tick()), time.monotonic()
    try:
        yield found
    finally:
        found.seconds = time.monotonic() - began
        ticking.cancel()
