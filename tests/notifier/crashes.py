"""Notifiers that are killed, and what must hold of webhooks whatever was."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from services.notifier.delivery.signing import new_secret
from shared.platform.auth import create_jwt
from tests.e2e.stack import free_port
from tests.notifier.receiver import Received, Receiver

ROOT = Path(__file__).parent.parent.parent
LIMIT_SECONDS = 60.0  # on a slow machine too
# What a process that is gone still holds in PostgreSQL, for some milliseconds.
PRESENT = """
    SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
    WHERE locktype = 'advisory' AND datname = current_database()
"""


class Nursery:
    """The program `crashing.py`, which makes notifiers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._ended: defaultdict[int, asyncio.Future[int]] = defaultdict(asyncio.Future)
        self._listening = asyncio.create_task(self._listen())

    async def start(self, **order: Any) -> "Notifier":
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        pid = await self._started.get()
        return Notifier(pid, f"http://127.0.0.1:{order['port']}", self._ended[pid])

    async def close(self) -> None:
        self._process.kill()
        await self._process.wait()
        await self._listening

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            what, pid, *code = line.decode().split()
            if what == "started":
                self._started.put_nowait(int(pid))
            else:
                self._ended[int(pid)].set_result(int(code[0]))


@asynccontextmanager
async def nursery_open() -> AsyncIterator[Nursery]:
    pipe = asyncio.subprocess.PIPE
    program = ["-m", "tests.notifier.crashing"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *program, cwd=ROOT, stdin=pipe, stdout=pipe
    )
    nursery = Nursery(process)
    try:
        yield nursery
    finally:
        await nursery.close()


@dataclass(frozen=True)
class Notifier:
    """A process. `ended` becomes its exit code."""

    pid: int
    url: str
    ended: "asyncio.Future[int]"


@dataclass
class Scene:
    """A database with endpoints of tenant acme, all at one receiver, and the notifiers that come and go on it.

    Attributes:
        in_hand: Deliveries that were leased when a process was killed: these alone may be sent once too often.
        kills: How often one was.
        others: What of `PRESENT` is not the notifiers'.
    """

    nursery: Nursery
    environment: dict[str, str]
    database: "asyncpg.Connection[Any]"
    receiver: Receiver
    log: Path
    secrets: dict[str, str] = field(default_factory=dict)
    in_hand: Counter[UUID] = field(default_factory=Counter)
    kills: int = 0
    running: list[Notifier] = field(default_factory=list)
    others: int = 0

    async def endpoint(self, *event_types: str) -> UUID:
        endpoint_id: UUID = await self.database.fetchval("SELECT uuidv7()")
        path = f"/{endpoint_id}"
        self.secrets[path] = new_secret()
        await self.database.execute(
            "INSERT INTO notifier.endpoints (id, tenant, url, event_types, secret) VALUES ($1, 'acme', $2, $3, $4)",
            endpoint_id,
            f"http://127.0.0.1:{self.receiver.port}{path}",
            list(event_types),
            self.secrets[path],
        )
        return endpoint_id

    async def start(self, step: str = "none") -> Notifier:
        if not self.kills and not self.running:
            self.others = await self.database.fetchval(PRESENT)
        started = await self.nursery.start(
            step=step, environment=self.environment, port=free_port(), log=str(self.log)
        )
        self.running.append(started)
        return started

    async def kill(self, notifier: Notifier) -> None:
        self.in_hand.update(await self._died(notifier, set(await self._leased()), kill))

    async def killed(self, notifier: Notifier) -> None:
        """Wait until a process has died of itself."""
        self.in_hand.update(await self._died(notifier, set(), lambda _: None))

    async def _died(
        self, notifier: Notifier, leased: set[UUID], strike: Callable[[Notifier], None]
    ) -> set[UUID]:
        """All that was leased when it died, by whomever. The last one to die is not there any more for PostgreSQL, either."""
        strike(notifier)
        async with asyncio.timeout(LIMIT_SECONDS):
            code = await notifier.ended
        self.running.remove(notifier)
        assert code == -signal.SIGKILL, self._log()
        self.kills += 1
        leased |= set(await self._leased())
        if not self.running:
            await self.until(PRESENT, gives=self.others)
        return leased

    async def ready(self, notifier: Notifier) -> None:
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(LIMIT_SECONDS):
            while True:
                try:
                    if (await client.get(f"{notifier.url}/health/ready")).is_success:
                        return
                except httpx.TransportError:
                    assert not notifier.ended.done(), self._log()
                await asyncio.sleep(0.05)

    async def call(self, notifier: Notifier, path: str, **body: Any) -> httpx.Response:
        """POST; raises `httpx.TransportError` if the process dies of it."""
        secret = self.environment["PENSTOCK_JWT_SECRET"]
        options = {"audience": "penstock", "lifetime": timedelta(minutes=5)}
        token = create_jwt(secret, tenant="acme", scopes=["webhooks:admin"], **options)
        async with httpx.AsyncClient(trust_env=False, timeout=LIMIT_SECONDS) as client:
            headers = {"Authorization": f"Bearer {token}"}
            return await client.post(f"{notifier.url}/api/v1{path}", headers=headers, json=body)

    async def _leased(self) -> list[UUID]:
        rows = await self.database.fetch("SELECT id FROM notifier.deliveries WHERE lease_owner IS NOT NULL")
        return [row["id"] for row in rows]

    async def until(self, query: str, *arguments: Any, gives: Any, seconds: float = LIMIT_SECONDS) -> None:
        last = None
        try:
            async with asyncio.timeout(seconds):
                while (last := await self.database.fetchval(query, *arguments)) != gives:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"{query} never gave {gives!r}, but {last!r}\n{self._log()}")

    async def settled(self, deliveries: int) -> None:
        """Wait until so many deliveries were made and none waits."""
        await self.until("SELECT count(*) FROM notifier.deliveries", gives=deliveries)
        await self.until("SELECT count(*) FROM notifier.deliveries WHERE status = 'pending'", gives=0)
        await self.until("SELECT count(*) FROM bus.outbox WHERE queue = 'notifier.events'", gives=0)

    async def close(self) -> None:
        for notifier in self.running:
            if not notifier.ended.done():
                kill(notifier)
            await notifier.ended

    def _log(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def requests(self) -> Counter[UUID]:
        """How often each delivery has come, each signed for its endpoint."""
        for request in self.receiver.received:
            request.verified(self.secrets[request.path])
        return Counter(delivery_of(request) for request in self.receiver.received)

    async def nothing_is_lost(self) -> int:
        """What must hold once all is delivered; how many requests were made that nothing is known of."""
        requests = self.requests()
        rows = await self.database.fetch("SELECT * FROM notifier.deliveries")
        assert {row["id"]: "succeeded" for row in rows} == {row["id"]: row["status"] for row in rows}
        assert requests.keys() == {row["id"] for row in rows}
        assert not any(row["held"] or row["lease_owner"] or row["leased_until"] for row in rows)
        await self._sequences_have_no_gaps(rows)
        attempts = await self.database.fetch(
            "SELECT delivery_id, number FROM notifier.attempts ORDER BY 1, 2"
        )
        numbers = defaultdict(list)
        for attempt in attempts:
            numbers[attempt["delivery_id"]].append(attempt["number"])
        assert numbers == {row["id"]: list(range(1, row["attempts_made"] + 1)) for row in rows}
        unknown = {row["id"]: requests[row["id"]] - row["attempts_made"] for row in rows}
        assert all(0 <= count <= self.in_hand[name] for name, count in unknown.items())
        assert await self.database.fetchval("SELECT count(*) FROM bus.dead_letters") == 0
        return sum(unknown.values())

    async def _sequences_have_no_gaps(self, rows: Sequence[asyncpg.Record]) -> None:
        for endpoint in await self.database.fetch("SELECT id, last_sequence FROM notifier.endpoints"):
            numbered = sorted(row["sequence"] for row in rows if row["endpoint_id"] == endpoint["id"])
            assert numbered == list(range(1, endpoint["last_sequence"] + 1))
        told = {
            delivery_of(request): int(request.headers["webhook-sequence"])
            for request in self.receiver.received
        }
        assert told == {row["id"]: row["sequence"] for row in rows}


def delivery_of(request: Received) -> UUID:
    return UUID(hex=request.headers["webhook-id"].removeprefix("msg_"))


def kill(notifier: Notifier) -> None:
    os.kill(notifier.pid, signal.SIGKILL)
