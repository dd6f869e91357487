"""A process between Penstock and its file store, which a test may kill, freeze and start again: `door.py PORT TARGET_PORT`."""

import asyncio
import sys
from contextlib import suppress

PIECE = 64 * 1024


async def main(port: int, target: int) -> None:
    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(_carry(reader, other_writer), _carry(other_reader, writer))
        writer.close()

    server = await asyncio.start_server(through, "127.0.0.1", port)
    await server.serve_forever()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
