"""The least that a receiver of webhooks can be: answers by the path, and remembers what came and when.

POST /slow/…        200 after 30 s
POST /…             200 at once
GET /received       what came since the last time: one line of JSON for each request
GET /health/ready   200
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

SLOW_SECONDS = 30.0
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Received = tuple[float, str, bytes, bytes]  # when the last byte was read, path, head, body


class Receiver(asyncio.Protocol):
    """A connection; all of them remember in one list."""

    def __init__(self, received: list[Received]) -> None:
        self._received = received
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0) if end else 0
        if not end or len(rest) < size:
            return
        self._buffer = rest[size:]
        self._answer(head, rest[:size])

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        method, path, _ = head.partition(b"\r\n")[0].decode().split(" ")
        if method == "GET":
            lines = self._told() if path == "/received" else b'{"status":"ok"}'
            kind = b"Content-Type: application/json\r\n"
            self._transport.write(
                b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (kind, len(lines), lines)
            )
            return
        self._received.append((time.monotonic(), path, head, body))
        if path.startswith("/slow"):
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self._transport.write, _OK)
        else:
            self._transport.write(_OK)

    def _told(self) -> bytes:
        told = [_line(*one) for one in self._received]
        self._received.clear()
        return "".join(told).encode()


def _line(moment: float, path: str, head: bytes, body: bytes) -> str:
    fields = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    headers = {name.lower(): value for name, _, value in fields}
    return json.dumps([moment, path, headers, body.decode()]) + "\n"


async def serve(port: int) -> None:
    """Until the process is told to end."""
    received: list[Received] = []
    server = await asyncio.get_running_loop().create_server(lambda: Receiver(received), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[-1])))
