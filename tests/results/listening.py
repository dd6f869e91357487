"""Listeners to streams of a real server."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import httpx
import pytest
import uvicorn

from tests.results.conftest import Results
from tests.results.given import headers


@asynccontextmanager
async def serving(app: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """`app` on a port of its own, its lifespan left to the test."""
    monkeypatch.setattr(uvicorn.Server, "capture_signals", nullcontext)
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await task


class Listener:
    """One client of a stream: what it is told, event by event. Comments are passed over, and counted."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.aiter_lines()

    async def block(self, seconds: float = 5.0) -> dict[str, Any] | None:
        """The fields of the next block, which may be no event; None at the stream's end."""
        fields: dict[str, Any] = {}
        async with asyncio.timeout(seconds):
            async for line in self._lines:
                if not line:
                    return fields
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments += 1
                else:
                    fields[name] = json.loads(value) if name == "data" else value
        return None

    async def next(self, seconds: float = 5.0) -> dict[str, Any] | None:
        """The next event; None at the stream's end."""
        async with asyncio.timeout(seconds):
            while (fields := await self.block(seconds)) is not None:
                if "data" in fields:
                    return fields
        return None

    async def of(self, import_id: Any, seconds: float = 5.0) -> dict[str, Any]:
        """The next event's data about this import."""
        async with asyncio.timeout(seconds):
            while (event := await self.next(seconds)) is not None:
                if event["data"]["id"] == str(import_id):
                    data: dict[str, Any] = event["data"]
                    return data
        raise AssertionError("the stream has ended")

    async def rest(self) -> list[dict[str, Any]]:
        events = []
        while event := await self.next():
            events.append(event)
        return events


@asynccontextmanager
async def listening(
    results: Results,
    address: str,
    what: Any,
    *,
    tenant: str = "acme",
    last_event_id: str | None = None,
    token: str | None = None,
    **query: str,
) -> AsyncIterator[Listener]:
    """A listener to the import `what`; with an empty string to all of the tenant's. None: `token` is one of `tenant`."""
    authorization = {"Authorization": f"Bearer {token}"} if token else headers(results.secret, tenant)
    given = authorization | ({"Last-Event-ID": last_event_id} if last_event_id else {})
    path = f"/api/v1/imports/{what}/events" if what else "/api/v1/imports/events"
    async with (
        httpx.AsyncClient(base_url=address, headers=given, timeout=20) as client,
        client.stream("GET", path, params=query) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Listener(response)
