"""Whatever may be at the other end of a connection: it takes requests, and writes the bytes that it is told to."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

THANKS = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks"
CLOSE, RESET, HANG, NEXT = "close", "reset", "hang", "next"


@dataclass(frozen=True)
class Says:
    """What is written after a request, byte by byte if `drip` seconds pass between two, and what happens then."""

    data: bytes = THANKS
    then: str = NEXT
    drip: float = 0.0


@dataclass
class Peer:
    """Says `script` in order, then thanks. `heads` are those of the requests that came."""

    port: int = 0
    script: list[Says] = field(default_factory=list)
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def header(self, name: str) -> list[str]:
        """The values of `name` in the last request."""
        lines = (line.partition(": ") for line in self.heads[-1].split("\r\n")[1:])
        return [value for key, _, value in lines if key.lower() == name]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer) == NEXT:
                    pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n"))
        self.bodies.append(await reader.readexactly(int(self.header("content-length")[0])))
        says = self.script.pop(0) if self.script else Says()
        for piece in [says.data[n : n + 1] for n in range(len(says.data))] if says.drip else [says.data]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(says.drip)
        if says.then == HANG:
            await reader.read(1)  # until the other end has enough
        if says.then == RESET:
            lingering = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
            writer.transport.abort()
        return says.then


@asynccontextmanager
async def peer(
    *script: Says, host: str | Sequence[str] = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """A peer that listens on `host`."""
    one, tasks = Peer(script=list(script)), set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with suppress(asyncio.CancelledError):
            await one.serve(reader, writer)

    server = await asyncio.start_server(connected, host, port, ssl=tls)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
