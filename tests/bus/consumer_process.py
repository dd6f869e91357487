"""A consumer in a process of its own, to be killed: says `got <slice>` for each command, and never finishes one."""

import asyncio
import sys

from shared.contracts.topology import PROCESSOR_IMPORTS
from shared.platform.bus import Bus, Subscription


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(database_url: str, bus_url: str) -> None:
    bus = Bus("processor", database_url=database_url, bus_url=bus_url or None)

    async def hang(event):
        say(f"got {event.data.slice}")
        await asyncio.sleep(3600)

    bus.subscribe(Subscription(PROCESSOR_IMPORTS, {"slice.process": hang, "import.uploaded": hang}))
    await bus.start()
    say("ready")
    await asyncio.sleep(3600)


asyncio.run(main(*sys.argv[1:]))
