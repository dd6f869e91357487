"""The results service as it runs, and ways to say what happened before."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results import consumer
from services.results.app import build
from shared.contracts.events import AnyEvent
from shared.platform.database import engine_for
from shared.platform.service import Stopping, compose
from tests.results.given import Database, headers


@dataclass
class Results:
    """The running service: a client without a token, and tokens."""

    app: FastAPI
    client: httpx.AsyncClient
    stopping: Stopping
    secret: str

    async def get(self, path: str, *, tenant: str = "acme", **params: Any) -> httpx.Response:
        return await self.client.get(f"/api/v1{path}", params=params, headers=headers(self.secret, tenant))


@pytest.fixture
async def results(environment: dict[str, str]) -> AsyncIterator[Results]:
    stopping = Stopping()
    app = compose([build(stopping)])
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://results") as client:
            yield Results(app, client, stopping, environment["PENSTOCK_JWT_SECRET"])


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    connection = await asyncpg.connect(database_url)
    yield Database(connection)
    await connection.close()


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(database_url, "results", pool_size=2)
    yield engine
    await engine.dispose()


@pytest.fixture
def happen(engine: AsyncEngine) -> Callable[..., Awaitable[None]]:
    """Let events arrive, one after the other, each at the handler that it has on the bus."""
    handlers = consumer.subscription(engine, lambda *_: None).handlers
    live = consumer.live_listener(engine, lambda *_: None)

    async def arrive(*events: AnyEvent) -> None:
        for event in events:
            await handlers.get(event.type, live)(event)

    return arrive
