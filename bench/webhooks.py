"""Webhooks as they run: one notifier, a receiver in a process of its own, and the processor's end of the bus."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.bench import NotMeasured
from bench.running import Process, bench_token
from shared.contracts.events import AnyEvent, ImportCompleted, event_of
from shared.platform.bus import Bus
from shared.platform.database import engine_for

PUBLISHERS = 8  # transactions at once
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Endpoint:
    """A webhook endpoint. `path`: where the receiver gets what is sent to it."""

    id: str
    tenant: str
    path: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Received:
    """A request, and when the receiver had read all of it: seconds of the machine's monotonic clock."""

    moment: float
    path: str
    headers: dict[str, str]
    body: str

    @property
    def import_id(self) -> UUID:
        """What it is about."""
        return UUID(json.loads(self.body)["data"]["import_id"])

    def is_signed_with(self, secret: str) -> bool:
        """Checked as Standard Webhooks 1.0 says, with nothing of Penstock's."""
        content = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.{self.body}".encode()
        digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), content, hashlib.sha256)
        return f"v1,{base64.b64encode(digest).decode()}" in self.headers["webhook-signature"].split(" ")


class Webhooks:
    """A running notifier and a receiver; made by `webhooks`."""

    def __init__(
        self,
        notifier: Process,
        receiver: Process,
        database: "asyncpg.Pool[Any]",
        engine: AsyncEngine,
        bus_url: str | None,
    ) -> None:
        self.receiver_url = receiver.url
        self._notifier_url = notifier.url
        self._database = database
        self._engine = engine
        self._bus = Bus("processor", database_url=str(engine.url), bus_url=bus_url)
        self._client = httpx.AsyncClient(timeout=60, trust_env=False)

    async def endpoint(
        self, path: str, *, tenant: str, dataset: str = "products", url: str | None = None
    ) -> Endpoint:
        """An endpoint of a tenant that is told of imports of `dataset`; `url`: somewhere else than the receiver."""
        new = {"url": url or self.receiver_url + path, "event_types": ["import.*"], "datasets": [dataset]}
        made = await self._ask("POST", "/webhooks", tenant, json=new)
        return Endpoint(made.json()["id"], tenant, path, made.json()["secret"])

    async def forget(self, endpoint: Endpoint) -> None:
        await self._ask("DELETE", f"/webhooks/{endpoint.id}", endpoint.tenant)

    async def publish(self, *events: AnyEvent) -> float:
        """Put events on the bus as the processor does, in one transaction: when it was about to commit."""
        async with self._engine.begin() as connection:
            for event in events:
                await self._bus.publish(connection, event)
            return time.monotonic()

    async def received(self) -> Sequence[Received]:
        """What has come since the last time."""
        lines = (await self._client.get(f"{self.receiver_url}/received")).text.splitlines()
        return [Received(*json.loads(line)) for line in lines]

    async def value(self, query: str, *arguments: object) -> Any:
        return await self._database.fetchval(query, *arguments)

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, method: str, path: str, tenant: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {bench_token(tenant)}"}
        response = await self._client.request(
            method, f"{self._notifier_url}/api/v1{path}", headers=headers, **options
        )
        if response.is_error:
            raise NotMeasured(f"{method} {path} was answered {response.text[:300]}")
        return response


@asynccontextmanager
async def webhooks(
    url: str, notifier: Process, receiver: Process, *, bus_url: str | None = None
) -> AsyncIterator[Webhooks]:
    """What a measurement of webhooks works with, on the database at `url`.

    With `bus_url`, a RabbitMQ, it needs a running processor, whose relay sends what is published.
    """
    engine = engine_for(url, "processor", pool_size=PUBLISHERS)
    async with asyncpg.create_pool(url, min_size=1, max_size=2) as database:
        ours = Webhooks(notifier, receiver, database, engine, bus_url)
        try:
            yield ours
        finally:
            await ours.close()
            await engine.dispose()


def import_completed(tenant: str, dataset: str = "products") -> AnyEvent:
    """That an import has ended well: what a webhook of some 500 bytes is made of."""
    body = ImportCompleted(
        import_id=uuid4(),
        dataset=dataset,
        source="warehouse",
        file_name="products.csv",
        processing_started_at=NOW,
        processing_completed_at=NOW,
        rows_processed=1000,
        rows_inserted=1000,
    )
    return event_of(body, tenant=tenant, subject=body.import_id, service="processor")
