"""The upload service as it runs, and what it left behind: objects, rows, events."""

import asyncio
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


def held_back(content: bytes = BOOKS) -> tuple[AsyncIterator[bytes], asyncio.Event]:
    """A file of which all but the beginning waits: its chunks, and what lets the rest come."""
    go_on = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield content[:20]
        await go_on.wait()
        yield content[20:]

    return chunks(), go_on


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

    async def comes_to_hold(self, objects: dict[str, bytes]) -> bool:
        """Whether the store has soon just these: answers do not wait until the parts of a resumable upload are gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while self.objects() != objects:
                    await asyncio.sleep(0.02)
        return self.objects() == objects

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


async def processor_says(
    database: "asyncpg.Connection[Any]",
    import_id: Any,
    status: str,
    *,
    run: int = 1,
    code: str = "store_unavailable",
) -> None:
    """The processor has taken the import on, and it stands like this."""
    await database.execute(
        """
        INSERT INTO processor.imports (import_id, tenant, dataset, file_name, file_size, sha256, object_key, dialect,
            columns, column_count, rows_detected, status, run, error_code, finished_at)
        SELECT import_id, tenant, dataset, file_name, file_size, sha256, object_key, dialect,
            columns, column_count, rows_detected, $2, $3, $4, CASE WHEN $2 <> 'processing' THEN now() END
        FROM upload.imports WHERE import_id = $1
        ON CONFLICT (import_id) DO UPDATE
        SET status = excluded.status, run = excluded.run, error_code = excluded.error_code, finished_at = excluded.finished_at
        """,
        import_id,
        status,
        run,
        code if status == "failed" else None,
    )


async def end_one(database: "asyncpg.Connection[Any]", status: str) -> Any:
    """Let an import that is open end. Returns its id."""
    import_id = await database.fetchval("SELECT import_id FROM upload.open_imports LIMIT 1")
    await processor_says(database, import_id, status)
    return import_id
