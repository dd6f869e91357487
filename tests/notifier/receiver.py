"""A webhook receiver on a loopback port: answers as told, remembers what came."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

WAIT_SECONDS = 15.0


@dataclass(frozen=True)
class Answer:
    """How one request is answered; `stall` seconds pass before the head, `stall_body` after it."""

    status: int = 200
    body: bytes = b"thanks"
    headers: tuple[str, ...] = ()
    stall: float = 0.0
    stall_body: float = 0.0

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Told", f"Content-Length: {len(self.body)}", *self.headers, "", ""]
        return "\r\n".join(lines).encode()


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> Any:
        """The payload, its signature checked as a receiver would."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """Answers as `decide` says, if it says anything; else with `script` in order, then with `then` for ever."""

    port: int = 0
    script: list[Answer] = field(default_factory=list)
    then: Answer = field(default_factory=Answer)
    decide: Callable[["Received"], Answer | None] | None = None
    received: list[Received] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def wait_for(self, count: int) -> list[Received]:
        await until(lambda: len(self.received) >= count)
        return self.received

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        body = await reader.readexactly(int(headers["content-length"]))
        request = Received(head[0].split(" ")[1], headers, body)
        self.received.append(request)
        answer = self.decide(request) if self.decide else None
        answer = answer or (self.script.pop(0) if self.script else self.then)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(answer.stall)
        finally:
            self.in_flight -= 1
        writer.write(answer.head())
        await writer.drain()
        await asyncio.sleep(answer.stall_body)
        writer.write(answer.body)
        await writer.drain()
        return True


@asynccontextmanager
async def receiving(*script: Answer, then: Answer | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(script=list(script), then=then or Answer())
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await receiver.serve(reader, writer)
        except asyncio.CancelledError:
            writer.close()
        finally:
            connections.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def until(holds: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"did not come true within {seconds} s")
