"""Penstock running in processes of its own, which a test may kill and start again."""

import asyncio
import copy
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import httpx
from aio_pika.exceptions import ChannelNotFoundEntity

from penstock.home import new_receipt_key
from penstock.local import postgres
from penstock.registry import MIGRATIONS, NAMES
from shared.contracts.scopes import Scope
from shared.contracts.topology import QUEUES
from shared.platform.auth import create_jwt
from shared.platform.database import migrate_async

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 60.0  # for a service to come back
SECRET = secrets.token_hex(32)
RECEIPT_KEY = new_receipt_key()
SERVICE_OF = {
    "uploads": "upload",
    "tus": "upload",
    "api-keys": "upload",
    "imports": "results",
    "receipts": "results",
    "records": "results",
    "datasets": "results",
    "system": "results",
    "session": "results",
    "webhooks": "notifier",
    "investigation-events": "notifier",
    "investigations": "notifier",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def token(tenant: str = "acme", *scopes: Scope) -> str:
    """A token of a tenant's admin, or with these scopes."""
    return create_jwt(
        SECRET, tenant=tenant, scopes=scopes or ["admin"], audience="penstock", lifetime=timedelta(hours=1)
    )


@dataclass
class Server:
    """A PostgreSQL of a test's own, with fsync: it may be killed, and what was committed must be there afterwards."""

    home: Path
    running: postgres.LocalPostgres

    @property
    def url(self) -> str:
        return self.running.url_of("penstock")

    def kill(self) -> None:
        os.kill(self.running.pid, signal.SIGKILL)

    async def start(self) -> None:
        self.running = await asyncio.to_thread(postgres.start, self.home)


@asynccontextmanager
async def own_server() -> AsyncIterator[Server]:
    home = Path(tempfile.mkdtemp(prefix="penstock-crash-"))
    home.chmod(0o755)
    server = Server(home, postgres.start(home))
    try:
        connection = await asyncpg.connect(server.running.url)
        await connection.execute("CREATE DATABASE penstock")
        await connection.close()
        await migrate_async(server.url, MIGRATIONS)
        yield server
    finally:
        server.running.stop()
        shutil.rmtree(home, ignore_errors=True)


async def emptied(broker_url: str) -> str:
    """The broker's URL, once nothing is left on it by the tests before."""
    async with await aio_pika.connect(broker_url) as connection:
        for name in [name for queue in QUEUES for name in (queue.name, queue.dead_letter_queue)]:
            with suppress(ChannelNotFoundEntity):
                channel = await connection.channel()  # an unknown queue closes it
                await (await channel.get_queue(name)).purge()
    return broker_url


@dataclass
class Stack:
    """`processes` maps a process's name to the services in it: all in one, or each by itself."""

    folder: Path
    database_url: str
    bus_url: str | None
    settings: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = NAMES if self.bus_url else ("all",)
        self.ports = {name: free_port() for name in names}
        self.clients: list[httpx.AsyncClient] = []
        self.http = self._client("acme")

    def _client(self, tenant: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token(tenant)}"}
        self.clients.append(httpx.AsyncClient(headers=headers, timeout=30, trust_env=False))
        return self.clients[-1]

    def as_tenant(self, tenant: str) -> "Stack":
        """The same processes, called by another tenant."""
        other = copy.copy(self)
        other.http = self._client(tenant)
        return other

    @property
    def names(self) -> list[str]:
        return list(self.ports)

    def start(self, *names: str) -> None:
        for name in names or self.names:
            with (self.folder / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    [sys.executable, *self._command(name), str(self.ports[name])],
                    cwd=self.folder,
                    env=self._environment(),
                    stdout=log,
                    stderr=log,
                )

    def _command(self, name: str) -> list[str]:
        if self.bus_url:
            return ["-m", "penstock", "serve", name, "--port"]
        return [str(ROOT / "tests/e2e/serve_all.py")]

    async def started(self, *names: str) -> "Stack":
        self.start(*names)
        for name in names or self.names:
            await self.ready(name)
        return self

    async def ready(self, name: str, seconds: float = 60) -> None:
        async def answers() -> bool:
            assert self.running[name].poll() is None, f"{name} ended:\n{self.log(name)}"
            try:
                return (await self.http.get(f"{self.base(name)}/health/ready")).status_code == 200
            except httpx.TransportError:
                return False

        await until(answers, seconds, what=lambda: self.log(name))

    def kill(self, name: str) -> None:
        """SIGKILL: no chance to tidy up."""
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()

    def stop(self, name: str) -> float:
        """SIGTERM; how many seconds it took to leave."""
        began = time.monotonic()
        self.running[name].send_signal(signal.SIGTERM)
        self.running[name].wait(timeout=30)
        return time.monotonic() - began

    async def close(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        for client in self.clients:
            await client.aclose()

    def base(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def url(self, path: str) -> str:
        return self.base("all" if self.bus_url is None else SERVICE_OF[path.split("/")[1]]) + "/api/v1" + path

    def log(self, name: str, most: int = 4000) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-most:]

    def peak_memory(self, name: str) -> int:
        """The most memory the process ever had, in bytes (VmHWM)."""
        status = Path(f"/proc/{self.running[name].pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024

    async def get(self, path: str, **query: Any) -> Any:
        """GET below /api/v1, patiently."""
        response = await self.patiently("GET", path, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    async def patiently(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Ask again while nobody answers: a service that was just killed is away for a moment."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with suppress(httpx.TransportError):
                response = await self.http.request(method, self.url(path), **request)
                if response.status_code != 503:
                    return response
            await asyncio.sleep(0.1)
        raise AssertionError(f"{path} did not answer within {PATIENCE_SECONDS} s")

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.http.post(self.url(path), json=body)

    async def upload(
        self, file: Path, dataset: str, source: str | None = None, **options: str
    ) -> dict[str, Any]:
        fields = {"dataset": dataset} | ({"data_source_name": source} if source else {}) | options
        with file.open("rb") as content:
            response = await self.http.post(
                self.url("/uploads"), data=fields, files={"file": (file.name, content)}
            )
        assert response.status_code == 202, response.text
        return dict(response.json())

    def stored(self, import_id: str) -> Path:
        """Where the store keeps the import's file."""
        [file] = (self.folder / "store" / "uploads").rglob(f"*{import_id}*")
        return file

    async def webhook(self, url: str, *types: str) -> dict[str, Any]:
        response = await self.post("/webhooks", {"url": url, "event_types": list(types)})
        assert response.status_code == 201, response.text
        return dict(response.json())

    async def finished(self, import_id: str, seconds: float = 90) -> dict[str, Any]:
        """The import once it has ended."""
        found: dict[str, Any] = {}

        async def ended() -> bool:
            found.update(await self.get(f"/imports/{import_id}"))
            return found["status"] in ("completed", "failed", "cancelled")

        await until(
            ended, seconds, what=lambda: f"{found}\n" + "\n".join(self.log(name) for name in self.names)
        )
        return found

    async def follow(self, import_id: str) -> AsyncIterator[dict[str, Any]]:
        """The states that the import's event stream tells, until the stream ends."""
        async with self.http.stream("GET", self.url(f"/imports/{import_id}/events"), timeout=60) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))

    async def rows(self, query: str, *values: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close()

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        bus = {"PENSTOCK_BUS_URL": self.bus_url} if self.bus_url else {}
        return (
            own
            | bus
            | {
                "PYTHONPATH": str(ROOT),
                "PENSTOCK_DATABASE_URL": self.database_url,
                "PENSTOCK_STORE_URL": f"file://{self.folder / 'store'}",
                "PENSTOCK_JWT_SECRET": SECRET,
                "PENSTOCK_RECEIPT_KEY": RECEIPT_KEY,
                "PENSTOCK_WEBHOOK_ALLOW_PRIVATE": "true",
                "PENSTOCK_UPLOADS_PER_MINUTE": "1000",
                "PENSTOCK_IMPORTS_AT_ONCE": "1000",
            }
            | self.settings
        )


async def until(holds: Callable[[], Any], seconds: float, *, what: Callable[[], str] = str) -> None:
    """Wait until the coroutine function `holds` gives true; `what` explains a failure."""
    end = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < end, f"not so after {seconds} s: {what()}"
        await asyncio.sleep(0.05)
