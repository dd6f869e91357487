"""The notifier as it runs, the processor's end of the bus, and callers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from services.notifier.app import build
from shared.contracts.events import AnyEvent
from shared.platform.auth import create_jwt
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from shared.platform.service import Stopping, compose

SCOPES = ("webhooks:admin", "investigations:read", "investigations:write")


@dataclass
class Notifier:
    """The running service, asked as a tenant."""

    app: FastAPI
    client: httpx.AsyncClient
    secret: str

    async def call(
        self, method: str, path: str, *, tenant: str = "acme", scopes: Any = SCOPES, **options: Any
    ) -> httpx.Response:
        token = create_jwt(
            self.secret, tenant=tenant, scopes=scopes, audience="penstock", lifetime=timedelta(minutes=5)
        )
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        return await self.client.request(method, f"/api/v1{path}", headers=headers, **options)

    async def webhook(self, url: str, *event_types: str, tenant: str = "acme") -> dict[str, Any]:
        new = {"url": url, "event_types": list(event_types) or ["import.*"]}
        response = await self.call("POST", "/webhooks", tenant=tenant, json=new)
        assert response.status_code == 201, response.text
        created: dict[str, Any] = response.json()
        return created

    async def deliveries(self, webhook_id: str) -> list[dict[str, Any]]:
        response = await self.call("GET", f"/webhooks/{webhook_id}/deliveries")
        items: list[dict[str, Any]] = response.json()["items"]
        return items


@pytest.fixture
def fast_retries(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_WEBHOOK_RETRY_SCALE", "0.000001")


@asynccontextmanager
async def running(environment: dict[str, str]) -> AsyncIterator[Notifier]:
    app = compose([build(Stopping())])
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://notifier") as client:
            yield Notifier(app, client, environment["PENSTOCK_JWT_SECRET"])


@pytest.fixture
async def notifier(environment: dict[str, str]) -> AsyncIterator[Notifier]:
    async with running(environment) as service:
        yield service


@pytest.fixture
async def publish(database_url: str) -> AsyncIterator[Callable[[AnyEvent], Awaitable[None]]]:
    """Publishes an event as the processor does, in a transaction of its own."""
    engine = engine_for(database_url, "processor", pool_size=2)
    bus = Bus("processor", database_url=database_url)

    async def publish_one(event: AnyEvent) -> None:
        async with engine.begin() as connection:
            await bus.publish(connection, event)

    yield publish_one
    await engine.dispose()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def eventually(database: "asyncpg.Connection[Any]") -> Callable[..., Awaitable[None]]:
    """Waits until a query gives a value."""

    async def wait(query: str, *arguments: Any, gives: Any) -> None:
        for _ in range(1500):
            if await database.fetchval(query, *arguments) == gives:
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"{query} never gave {gives!r}")

    return wait
