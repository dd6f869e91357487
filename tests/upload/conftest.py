"""The upload service as it runs, and what it left behind: objects, rows, events."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from penstock.registry import build
from shared.contracts.events import AnyEvent, event_from
from shared.platform.auth import create_jwt
from shared.platform.service import Stopping, compose
from tests.platform.conftest import configure  # noqa: F401 - a fixture

BOOKS = b"title,author,isbn,publication_year\nMomo,Michael Ende,978-3-522-17750-4,1973\n"


def bearer(secret: str, *scopes: Any, tenant: str = "acme", minutes: float = 5, audience: str = "penstock"):
    lifetime = timedelta(minutes=minutes)
    token = create_jwt(secret, tenant=tenant, scopes=scopes, audience=audience, lifetime=lifetime)
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Upload:
    """The service, asked as a tenant that may upload, and its store and database as they are."""

    client: httpx.AsyncClient
    database: "asyncpg.Connection[Any]"
    store: Path
    secret: str

    async def form(
        self, content: Any = BOOKS, *, name: str = "books.csv", headers: Any = None, **fields: str
    ) -> httpx.Response:
        headers = bearer(self.secret, "imports:write") if headers is None else headers
        return await self.client.post(
            "/api/v1/uploads",
            files={"file": (name, content, "text/csv")},
            data={"dataset": "books"} | fields,
            headers=headers,
        )

    async def raw(
        self, content: Any = BOOKS, *, media_type: str = "text/csv", headers: Any = None, **query: str
    ) -> httpx.Response:
        headers = bearer(self.secret, "imports:write") if headers is None else headers
        return await self.client.post(
            "/api/v1/uploads",
            params={"dataset": "books"} | query,
            content=content,
            headers={**headers, "Content-Type": media_type},
        )

    def objects(self) -> dict[str, bytes]:
        """Every file in the store by its key, half-written ones too."""
        found = {}
        for path in self.store.rglob("*"):
            with suppress(IsADirectoryError, FileNotFoundError):  # one may go while we look
                found[str(path.relative_to(self.store))] = path.read_bytes()
        return found

    async def rows(self) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.database.fetch("SELECT * FROM upload.imports")]

    @staticmethod
    def decoded(value: str) -> Any:
        """A value of jsonb, which asyncpg gives as text."""
        return json.loads(value)

    async def events(self) -> list[AnyEvent]:
        """The events in the outbox, each once, whatever its queues."""
        rows = await self.database.fetch("SELECT payload FROM bus.outbox ORDER BY id")
        return list({event.id: event for event in (event_from(row["payload"]) for row in rows)}.values())

    async def left_nothing(self) -> bool:
        return not (self.objects() or await self.rows() or await self.events())


@pytest.fixture
async def database(database_url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@asynccontextmanager
async def running(environment: dict[str, str], database: "asyncpg.Connection[Any]") -> AsyncIterator[Upload]:
    app = compose([build("upload", Stopping())])
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://upload") as client:
            store = Path(environment["PENSTOCK_STORE_URL"].removeprefix("file://"))
            yield Upload(client, database, store, environment["PENSTOCK_JWT_SECRET"])


@pytest.fixture
async def upload(environment: dict[str, str], database: "asyncpg.Connection[Any]") -> AsyncIterator[Upload]:
    async with running(environment, database) as service:
        yield service
