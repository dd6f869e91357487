"""The notifier as it runs, the processor's end of the bus, and callers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from services.notifier.api import router
from services.notifier.app import build
from services.notifier.delivery.sender import Sender
from services.notifier.delivery.worker import DeliveryWorker
from services.notifier.endpoints.api import webhooks_router
from services.notifier.jobs.scheduler import Scheduler
from services.notifier.logbook.logbook import Logbook
from services.notifier.settings import Settings
from services.notifier.targets.guard import Guard
from services.notifier.targets.resolver import Resolver
from shared.contracts.events import AnyEvent
from shared.platform.auth import authenticator_of, create_jwt
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from shared.platform.health import Check
from shared.platform.service import Service, Stopping, compose
from tests.notifier.desk import Desk, begin_now

SCOPES = ("webhooks:admin", "investigations:read", "investigations:write", "investigations:admin")


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
    async with serving(compose([build(Stopping())]), environment) as service:
        yield service


@asynccontextmanager
async def endpoints_alone(environment: dict[str, str]) -> AsyncIterator[Notifier]:
    """The routes of endpoints, with nothing behind them that sends: only requests change what they show."""
    settings = Settings()
    engine = engine_for(settings.database_url, "notifier", pool_size=5)
    guard = Guard(settings.targets, Resolver(settings.webhook_nameservers))
    woken: list[None] = []
    routes = webhooks_router(
        engine, authenticator_of(settings, engine), guard=guard, wake=lambda: woken.append(None)
    )

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        await guard.close()
        await engine.dispose()

    async def checks() -> Sequence[Check]:
        return []

    app = compose([Service("notifier", lifespan, checks, routes)])
    app.state.woken = woken
    async with serving(app, environment) as service:
        yield service


@asynccontextmanager
async def serving(app: FastAPI, environment: dict[str, str]) -> AsyncIterator[Notifier]:
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://notifier") as client:
            yield Notifier(app, client, environment["PENSTOCK_JWT_SECRET"])


@pytest.fixture
async def notifier(environment: dict[str, str]) -> AsyncIterator[Notifier]:
    async with running(environment) as service:
        yield service


@pytest.fixture
async def edge(environment: dict[str, str]) -> AsyncIterator[Notifier]:
    async with endpoints_alone(environment) as service:
        yield service


async def nobody_hears(*_: Any) -> None: ...


@pytest.fixture
async def resting(environment: dict[str, str], database_url: str) -> AsyncIterator[Notifier]:
    """All routes, with a worker behind them that does not run: only requests change what they show."""
    settings = Settings()
    engine = engine_for(database_url, "notifier", pool_size=5)
    bus = Bus("notifier", database_url=database_url)
    guard = Guard(settings.targets, Resolver(settings.webhook_nameservers))
    worker = DeliveryWorker(engine, Sender(guard), Stopping(), owner=0, publish=bus.publish)
    woken: list[None] = []
    worker.wake = lambda: woken.append(None)  # type: ignore[method-assign]

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        await guard.close()
        await engine.dispose()

    async def checks() -> Sequence[Check]:
        return []

    auth = authenticator_of(settings, engine)
    zone = settings.zone
    logbook = Logbook(bus.publish, zone, quota=settings.event_quota_per_minute)
    routes = router(
        engine,
        auth,
        publish=bus.publish,
        logbook=logbook,
        zone=zone,
        guard=guard,
        worker=worker,
        retention_days=30,
        thresholds=settings.thresholds,
        scheduler=Scheduler(engine, Stopping(), [], zone=zone, runner=0, catch_up_days=31, tell=nobody_hears),
    )
    app = compose([Service("notifier", lifespan, checks, routes)])
    app.state.woken = woken
    async with serving(app, environment) as service:
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


@pytest.fixture
async def desk(
    resting: Notifier, database: "asyncpg.Connection[Any]", database_url: str
) -> AsyncIterator[Desk]:
    """Where investigations are worked through: nothing happens but what a test does."""
    begin_now()
    engine = engine_for(database_url, "notifier", pool_size=2)
    yield Desk(resting, engine, database, Bus("notifier", database_url=database_url))
    await engine.dispose()
