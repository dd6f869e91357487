"""What Penstock needs is taken away for a while, and given back; clients go on sending files meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import asyncpg
import httpx

from penstock.registry import NAMES
from tests.brokers import Broker
from tests.e2e.stack import Server, Stack, free_port

SENDERS = 3
ROWS = 50  # of each file that is sent
CLIENT_SECONDS = 60.0
REGION = "eu-central-1"


class Needed(Protocol):
    """A server that Penstock needs.

    Attributes:
        check: What readiness calls it.
        services: Those that need it.
    """

    check: str
    services: tuple[str, ...]

    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def kill(self) -> None: ...
    async def start(self) -> None: ...


@dataclass
class Database:
    """A PostgreSQL of this machine: one of the test's own may be killed, any may be frozen."""

    pid: int
    server: Server | None = None
    check: str = "database"
    services: tuple[str, ...] = NAMES

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)  # first: it makes no more processes
        self._all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._all(signal.SIGCONT)
        os.kill(self.pid, signal.SIGCONT)

    def _all(self, number: signal.Signals) -> None:
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), number)

    def kill(self) -> None:
        assert self.server is not None
        self.server.kill()

    async def start(self) -> None:
        assert self.server is not None
        await self.server.start()
        self.pid = self.server.running.pid


async def parent_of_backends(database_url: str) -> int:
    """The server's own process."""
    connection = await asyncpg.connect(database_url)
    try:
        backend = await connection.fetchval("SELECT pg_backend_pid()")
        return int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
    finally:
        await connection.close()


@dataclass
class Bus:
    broker: Broker
    check: str = "bus.rabbitmq"
    services: tuple[str, ...] = NAMES

    def freeze(self) -> None:
        self.broker.freeze()

    def thaw(self) -> None:
        self.broker.thaw()

    def kill(self) -> None:
        self.broker.kill()

    async def start(self) -> None:
        await asyncio.to_thread(self.broker.start)


@dataclass
class Store:
    """moto's S3 server, which keeps files in memory, behind a door."""

    port: int
    target: int
    check: str = "store"
    services: tuple[str, ...] = ("upload", "processor", "results")
    door: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._open()

    def _open(self) -> None:
        program = Path(__file__).with_name("door.py")
        self.door = subprocess.Popen([sys.executable, str(program), str(self.port), str(self.target)])

    @property
    def settings(self) -> dict[str, str]:
        return {
            "PENSTOCK_STORE_URL": "s3://files",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "hush",
        }

    def freeze(self) -> None:
        self.door.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.door.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.door.kill()
        self.door.wait()

    async def start(self) -> None:
        self._open()


@contextmanager
def store(folder: Path) -> Iterator[Store]:
    """A store with one empty bucket."""
    target = free_port()
    with (folder / "moto.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "--port", str(target)], stdout=log, stderr=log
        )
    made = Store(free_port(), target)
    try:
        bucket = f"<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        end = time.monotonic() + 60
        while True:
            with suppress(httpx.TransportError):
                httpx.put(f"{made.settings['AWS_ENDPOINT_URL']}/files", content=bucket, trust_env=False)
                break
            assert time.monotonic() < end, "moto's server did not start"
            time.sleep(0.1)
        yield made
    finally:
        made.kill()
        server.kill()
        server.wait()


@dataclass
class Senders:
    """Clients that send small files, each until it is taken.

    Attributes:
        taken: Import ids by idempotency key, in the order of the answers.
        answers: How often what was answered: `202`, a problem's code, or the name of a client's error.
    """

    stack: Stack
    taken: dict[str, str] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    problems: list[httpx.Response] = field(default_factory=list)
    longest: float = 0.0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self) -> None:
        while not self.done.is_set():
            key = str(uuid4())
            while key not in self.taken:
                began = time.monotonic()
                await self._try(key)
                self.longest = max(self.longest, time.monotonic() - began)
                await asyncio.sleep(0.5)

    async def _try(self, key: str) -> None:
        lines = "".join(f"{key}-{number},Product {number},some words\n" for number in range(ROWS))
        try:
            answer = await self.stack.http.post(
                self.stack.url("/uploads"),
                params={"dataset": "products"},
                content=f"sku,name,description\n{lines}",
                headers={"Content-Type": "text/csv", "Idempotency-Key": key},
                timeout=CLIENT_SECONDS,
            )
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            return
        if answer.status_code == 202:
            self.answers["202"] += 1
            self.taken[key] = answer.json()["id"]
        else:
            self.answers[answer.json().get("code", str(answer.status_code))] += 1
            self.problems.append(answer)


@asynccontextmanager
async def sending(stack: Stack) -> AsyncIterator[Senders]:
    """Clients send files until the end of the block, by which each has an answer."""
    senders = Senders(stack)
    async with asyncio.TaskGroup() as together:
        for _ in range(SENDERS):
            together.create_task(senders.send())
        try:
            yield senders
        finally:
            senders.done.set()


async def failing(stack: Stack, service: str) -> set[str]:
    """The checks that are not ok at present; `process`: it does not answer."""
    try:
        answer = await stack.http.get(f"{stack.base(service)}/health/ready", timeout=15)
    except httpx.TransportError:
        return {"process"}
    return {
        check["name"] for checks in answer.json()["services"].values() for check in checks if not check["ok"]
    }
