"""Two tenants of one deployment, each with something in everything that a tenant can have."""

import asyncio
import copy
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.registry import MIGRATIONS, NAMES, build
from shared.contracts.datasets import datasets
from shared.platform.auth import create_jwt
from shared.platform.database import advisory_key, role_of, tenant_role_of
from shared.platform.service import Stopping, compose

SCHEMAS = ("auth", *(schema for migrations in MIGRATIONS for schema in migrations.schemas))
SERVICE_ROLES = [role_of(migrations.service) for migrations in MIGRATIONS]
TENANT_ROLES = [tenant_role_of(migrations.service) for migrations in MIGRATIONS if migrations.serves_tenants]

# A resumable upload of books, of ten bytes.
RESUMABLE = {
    "Tus-Resumable": "1.0.0",
    "Upload-Length": "10",
    "Upload-Metadata": "filename Ym9va3MuY3N2,dataset Ym9va3M=",
}

ENDLESS = "/api/v1/imports/events"

Database = asyncpg.Connection


@dataclass
class Tenant:
    """A tenant, and what of theirs a path may name. `marks` are strings that nobody else may ever be shown."""

    name: str
    isbn: str
    ids: dict[str, str] = field(default_factory=dict)
    marks: set[str] = field(default_factory=set)

    def headers(self, secret: str, scopes: Any) -> dict[str, str]:
        token = create_jwt(
            secret, tenant=self.name, scopes=scopes, audience="penstock", lifetime=timedelta(hours=1)
        )
        return {"Authorization": f"Bearer {token}"}

    def owns(self, name: str, value: str) -> None:
        """A path parameter called `name` may have `value`, which is this tenant's alone."""
        self.ids[name] = value
        self.marks.add(value)

    @property
    def key(self) -> str:
        """Of a record of theirs in each other dataset."""
        return f"key-{self.isbn}"

    @property
    def books(self) -> str:
        """A file of theirs, with one record that is right and one that is not."""
        return f"title,author,isbn,publication_year\nMomo,Ende,{self.isbn},1973\nOf {self.name},Ende,1,1973\n"

    @property
    def supplier(self) -> str:
        """Who sends them their books."""
        return f"mill-{self.isbn[-4:]}"

    @property
    def reason(self) -> str:
        """Why they have errors, and nobody else does."""
        return f"no_attachment_{self.isbn[-4:]}"

    @property
    def event(self) -> dict[str, str]:
        """An investigation event of theirs."""
        return {"event_id": f"evt-{self.isbn[-4:]}", "stage": "load_mail", "reason": self.reason}

    @property
    def unknown_event(self) -> dict[str, str]:
        """One of a supplier that is not known to them."""
        return self.event | {"event_id": f"lost-{self.isbn[-4:]}", "supplier": f"lost-{self.isbn}"}


OWNER = Tenant("tenant-orchard", "9783522177504")
STRANGER = Tenant("tenant-harbour", "9780306406157")


BUSY_PROCESS = 4711  # lives as long as the world: its lock is held


@dataclass
class World:
    """All four services in one application, and who uses them."""

    app: FastAPI
    client: httpx.AsyncClient
    database: Database
    secret: str
    owner: Tenant
    stranger: Tenant

    async def call(
        self, tenant: Tenant, method: str, path: str, *, scopes: Any = ("admin",), **request: Any
    ) -> httpx.Response:
        headers = tenant.headers(self.secret, scopes) | request.pop("headers", {})
        return await self.client.request(method, path, headers=headers, **request)


@asynccontextmanager
async def two_tenants(environment: dict[str, str]) -> AsyncIterator[World]:
    """The world, once all that was begun in it has ended."""
    stopping = Stopping()
    app = compose([build(name, stopping) for name in NAMES])
    transport = httpx.ASGITransport(_left_alone(app))
    async with (
        connected(environment["PENSTOCK_DATABASE_URL"]) as database,
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://penstock") as client,
        await asyncio.start_server(_take_delivery, "127.0.0.1") as receiver,
    ):
        owner, stranger = copy.deepcopy((OWNER, STRANGER))
        world = World(app, client, database, environment["PENSTOCK_JWT_SECRET"], owner, stranger)
        hook = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/"
        for tenant in (owner, stranger):
            await _settle_in(world, tenant, hook)
        await _quiet(database)
        for tenant in (owner, stranger):
            await _correct(world, tenant)
        await _quiet(database)
        await database.execute("SELECT pg_advisory_lock($1)", BUSY_PROCESS)
        for tenant in (owner, stranger):
            await _be_busy(database, tenant)
            await _gather(world, tenant)
        yield world


def _left_alone(app: FastAPI) -> ASGIApp:
    """`app`, whose endless stream is left a while after it has begun, as by a client that has heard enough."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_for_a_while(message: Message) -> None:
            await send(message)
            if scope.get("path") == ENDLESS and message["type"] == "http.response.start":
                limit.reschedule(asyncio.get_running_loop().time() + 0.5)

        try:
            async with asyncio.timeout(None) as limit:
                await app(scope, receive, send_for_a_while)
        except TimeoutError:
            await send({"type": "http.response.body", "body": b""})

    return answer


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[Database]:
    """The database as a superuser sees it: everything."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def _take_delivery(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def _settle_in(world: World, tenant: Tenant, hook: str) -> None:
    tenant.marks.add(tenant.name)
    webhook = {"url": hook, "event_types": ["import.*"], "description": f"of {tenant.name}"}
    created = await _made(world, tenant, "/api/v1/webhooks", json=webhook)
    tenant.owns("webhook_id", created["id"])
    rotated = await world.call(tenant, "POST", f"/api/v1/webhooks/{created['id']}/rotate-secret")
    tenant.marks |= {created["secret"], rotated.json()["secret"]}
    logged = await _made(world, tenant, "/api/v1/investigation-events", json=tenant.event)
    tenant.owns("investigation_id", logged["investigation_id"])
    await _made(world, tenant, "/api/v1/investigation-events", json=tenant.unknown_event)
    tenant.owns("code", tenant.reason)
    key = await _made(world, tenant, "/api/v1/api-keys", json={"name": tenant.name, "scopes": ["admin"]})
    tenant.owns("key_id", key["id"])
    resumable = await world.call(tenant, "POST", "/api/v1/tus", headers=RESUMABLE)
    tenant.owns("upload_id", resumable.headers["location"].rpartition("/")[2])
    tenant.owns("import_id", await _uploaded(world, tenant, "books", tenant.books, source=tenant.supplier))
    tenant.owns("supplier_id", tenant.supplier)
    tenant.owns("record_id", tenant.isbn)
    await _made(world, tenant, "/api/v1/records/products", json={"sku": f"of {tenant.name}", "name": "Bolt"})
    for dataset in datasets().values():
        if dataset.name != "books":
            template = await world.call(tenant, "GET", f"/api/v1/datasets/{dataset.name}/template.csv")
            key = dataset.field(dataset.primary_key[0])
            file = template.text.replace(key.example, tenant.key)
            import_id = await _uploaded(world, tenant, dataset.name, file)
            tenant.marks |= {import_id, tenant.key}
            ids = {"quotes": f"{tenant.key}~1", "stock-codes": f"{import_id}~{tenant.key}"}
            tenant.ids[f"{dataset.name}_record_id"] = ids.get(dataset.name, tenant.key)


async def _correct(world: World, tenant: Tenant) -> None:
    """Send the error file of their books again, with the ISBN of the wrong one."""
    errors = await world.call(tenant, "GET", f"/api/v1/imports/{tenant.ids['import_id']}/errors.csv")
    file = {"file": ("mended.csv", errors.text.replace(",1,", ",9791090636071,"), "text/csv")}
    fields = {"corrects": tenant.ids["import_id"]}
    tenant.marks.add((await _made(world, tenant, "/api/v1/uploads", data=fields, files=file))["id"])


async def _made(world: World, tenant: Tenant, path: str, **request: Any) -> dict[str, Any]:
    response = await world.call(tenant, "POST", path, **request)
    if (
        response.status_code == 503
    ):  # nothing was changed: where the machine is loaded, a service answers too late
        response = await world.call(tenant, "POST", path, **request)
    assert response.status_code in (201, 202), response.text
    made: dict[str, Any] = response.json()
    return made


async def _uploaded(
    world: World, tenant: Tenant, dataset: str, text: str, *, source: str | None = None
) -> str:
    file = {"file": (f"{dataset}.csv", text.encode(), "text/csv")}
    fields = {"dataset": dataset} | ({} if source is None else {"data_source_name": source})
    made = await _made(world, tenant, "/api/v1/uploads", data=fields, files=file)
    return str(made["id"])


async def _quiet(database: Database) -> None:
    """Wait until nothing is under way, so that whatever changes from now on, a request has changed."""
    under_way = """
        SELECT (SELECT count(*) FROM bus.outbox)
            + (SELECT count(*) FROM notifier.deliveries WHERE status = 'pending')
            + (SELECT count(*) FROM data.unsearched_v1)
            + (SELECT count(*) FROM results.imports WHERE status <> 'completed')
            + (SELECT count(*) FROM upload.imports u LEFT JOIN results.imports r USING (import_id) WHERE r.import_id IS NULL)
    """
    async with asyncio.timeout(60):
        while await database.fetchval(under_way):
            await asyncio.sleep(0.05)
    await database.execute("DELETE FROM upload.open_imports")  # as the sweeper does, some time


async def _be_busy(database: Database, tenant: Tenant) -> None:
    """Rows that come and go: an upload in progress and an import that was told to go on, which stay; and limits of one's own."""
    await database.execute(
        "INSERT INTO upload.intakes VALUES ($1, $2, 'nowhere', $3)",
        uuid4(),
        tenant.name,
        BUSY_PROCESS,
    )
    await database.execute(
        "INSERT INTO upload.open_imports (import_id, tenant, rows_detected, run)"
        " SELECT import_id, tenant, rows_detected, 2 FROM upload.imports WHERE tenant = $1 LIMIT 1",
        tenant.name,
    )
    await database.execute("INSERT INTO upload.tenant_limits VALUES ($1, 1000, 1000)", tenant.name)
    await database.execute(
        "INSERT INTO notifier.endpoint_health (endpoint_id, tenant) SELECT id, tenant FROM notifier.endpoints"
        " WHERE tenant = $1",
        tenant.name,
    )
    await database.execute(  # their files have one slice
        "INSERT INTO processor.slice_starts SELECT import_id, 1, 100, 2 FROM processor.imports WHERE tenant = $1",
        tenant.name,
    )
    await _have_run_a_job(database, tenant)
    await _be_late(database, tenant)
    await database.execute(
        "INSERT INTO notifier.backfill_watermarks (tenant, source) VALUES ($1, 'errors')", tenant.name
    )
    for dataset in datasets():  # what is written from now on is not indexed
        key = advisory_key(f"penstock:search:{tenant.name}:{dataset}")
        await database.execute("SELECT pg_advisory_lock($1)", key)
    await database.execute(
        "INSERT INTO processor.unsearched (tenant, dataset, keys) VALUES ($1, 'products', ARRAY['nowhere'])",
        tenant.name,
    )


async def _have_run_a_job(database: Database, tenant: Tenant) -> None:
    """For a date so far ahead that the schedule, which goes on after it, has nothing to do."""
    tenant.owns("date", f"3015-01-0{tenant.isbn[-1]}")
    run = (tenant.name, date.fromisoformat(tenant.ids["date"]), json.dumps({"of": tenant.name}))
    await database.execute(
        "INSERT INTO notifier.job_runs (tenant, job, logical_date, scheduled, status, next_attempt_at, finished_at, result)"
        " VALUES ($1, 'daily-analysis', $2, true, 'succeeded', NULL, now(), $3)",
        *run,
    )
    await database.execute(
        "INSERT INTO notifier.job_attempts (tenant, job, logical_date, number, started_at, finished_at, result)"
        " VALUES ($1, 'daily-analysis', $2, 1, now(), now(), $3)",
        *run,
    )


async def _be_late(database: Database, tenant: Tenant) -> None:
    """A supplier that was analysed yesterday."""
    supplier = f"late for {tenant.name}"
    await database.execute(
        "INSERT INTO notifier.suppliers (tenant, id, name) VALUES ($1, $2, $2)", tenant.name, supplier
    )
    cadence = {"good_days": 9, "median_gap": 1, "spread": 0, "long_gaps": 0, "days_since": 2}
    found = {"finding": "late", "state": "fail", "summary": supplier, "evidence": []}
    await database.execute(
        "INSERT INTO notifier.analyses (tenant, supplier, day, state, bucket, cadence, findings, last_good_day, expected_day)"
        " SELECT $1, $2, today - 1, 'fail', 'consistent', $3, $4, today - 3, today - 2"
        " FROM (SELECT (now() AT TIME ZONE 'UTC')::date AS today)",
        tenant.name,
        supplier,
        json.dumps(cadence),
        json.dumps([found]),
    )


async def _gather(world: World, tenant: Tenant) -> None:
    deliveries = await world.database.fetch(
        "SELECT id FROM notifier.deliveries WHERE tenant = $1", tenant.name
    )
    tenant.marks |= {str(row["id"]) for row in deliveries}
    tenant.ids["delivery_id"] = str(deliveries[0]["id"])


def unlike(value: str) -> str:
    """What looks like `value`, and is nobody's."""
    try:
        UUID(value)
    except ValueError:
        return re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), value)
    return str(uuid4())


async def without_row_security(database: Database) -> None:
    """Take the second wall down."""
    for table in await tables(database):
        await database.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


async def tables(database: Database, *, with_tenant: bool | None = None) -> list[str]:
    """Every table of ours; with or without a column `tenant`."""
    rows = await database.fetch(
        """
        SELECT c.oid::regclass::text AS name, EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant' AND NOT attisdropped
        ) AS with_tenant
        FROM pg_class c WHERE relnamespace = ANY($1::regnamespace[]::oid[]) AND relkind IN ('r', 'p') ORDER BY 1
        """,
        list(SCHEMAS),
    )
    return [row["name"] for row in rows if with_tenant in (None, row["with_tenant"])]


def files(environment: dict[str, str]) -> set[str]:
    """What is in the store, by its path there."""
    store = Path(urlsplit(environment["PENSTOCK_STORE_URL"]).path)
    return {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}


@contextmanager
def store_away(environment: dict[str, str]) -> Iterator[None]:
    """The folder of uploads is there, and cannot be written."""
    uploads = Path(urlsplit(environment["PENSTOCK_STORE_URL"]).path) / "uploads"
    hidden = uploads.rename(uploads.with_name("hidden"))
    uploads.write_text("no folder")
    yield
    uploads.unlink()
    hidden.rename(uploads)
