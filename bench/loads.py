"""HTTP requests at a steady rate, or as fast as they are answered; each over a connection that stays open."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from urllib.parse import urlsplit

from bench.bench import NotMeasured

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Path = Callable[[], str]  # the path of the next request
Ask = Callable[[], Awaitable[object]]  # sends the next request, and takes its answer


@dataclass(frozen=True)
class Latencies:
    """Seconds, one for each request."""

    seconds: Sequence[float]

    def percentile(self, percent: int) -> float:
        """Milliseconds."""
        return quantiles(self.seconds, n=100)[percent - 1] * 1e3


class Client:
    """Sends requests to one server."""

    def __init__(self, url: str, token: str) -> None:
        self._address = urlsplit(url)
        self._token = token
        self._idle: list[Connection] = []

    async def get(self, path: str) -> bytes:
        """The body of the answer.

        Raises:
            NotMeasured: it is none of success.
        """
        return await self._answered(path, self._head("GET", path))

    async def post(self, path: str, body: bytes) -> bytes:
        """The same for a POST of JSON. It may be sent twice, if a connection ends."""
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return await self._answered(path, self._head("POST", path, length) + body)

    def _head(self, method: str, path: str, length: str = "") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\nAuthorization: Bearer {self._token}\r\n"
        return f"{head}{length}\r\n".encode()

    async def _answered(self, path: str, request: bytes) -> bytes:
        while self._idle:
            try:
                return await self._asked(path, request, self._idle.pop())
            except (ConnectionError, asyncio.IncompleteReadError):
                continue  # the server closes what was idle for some seconds
        connection = await asyncio.open_connection(self._address.hostname, self._address.port)
        return await self._asked(path, request, connection)

    async def _asked(self, path: str, request: bytes, connection: Connection) -> bytes:
        reader, writer = connection
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        size = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(size)
        if not answer.startswith(b"HTTP/1.1 20"):
            raise NotMeasured(f"{path} was answered {body[:200]!r}")
        self._idle.append(connection)
        return body

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def at_rate(client: Client, path: Path, *, rate: float, seconds: float) -> Latencies:
    """As `steadily`, of GET requests."""
    return await steadily(lambda: client.get(path()), rate=rate, seconds=seconds)


async def steadily(ask: Ask, *, rate: float, seconds: float) -> Latencies:
    """Requests that begin at fixed moments, whatever becomes of those before (an open loop).

    A latency counts from the moment that the request should have begun: a stall is not counted once, but for everybody who
    would have waited.
    """
    begin = time.perf_counter()

    async def one(due: float) -> float:
        await ask()
        return time.perf_counter() - due

    tasks = []
    for number in range(round(rate * seconds)):
        due = begin + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due)))
    return Latencies(await asyncio.gather(*tasks))


async def flat_out(client: Client, path: Path, *, clients: int, seconds: float) -> tuple[float, Latencies]:
    """As `hurriedly`, of GET requests."""
    return await hurriedly(lambda: client.get(path()), clients=clients, seconds=seconds)


async def hurriedly(ask: Ask, *, clients: int, seconds: float) -> tuple[float, Latencies]:
    """Requests a second, and how long each took, of so many clients that each wait for an answer only."""
    end = time.perf_counter() + seconds

    async def one() -> list[float]:
        taken = []
        while (begin := time.perf_counter()) < end:
            await ask()
            taken.append(time.perf_counter() - begin)
        return taken

    all_taken = [taken for each in await asyncio.gather(*(one() for _ in range(clients))) for taken in each]
    return len(all_taken) / seconds, Latencies(all_taken)
