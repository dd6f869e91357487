"""Behind PgBouncer in transaction mode everything goes as it does without, and no transaction is taken for another tenant's."""

import asyncio
import os
import random
import subprocess
import sys
from contextlib import suppress

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from penstock.local.processes import free_port
from shared.platform.auth import SessionVerifier
from shared.platform.database import engine_for
from shared.platform.pooler import SessionsNotKept, must_keep_sessions
from shared.platform.tenancy import tenant_reading, tenant_writing
from tests.e2e.stack import SECRET, Stack, until
from tests.notifier.receiver import receiving
from tests.poolers import Pooler, found

TENANTS = 24


@pytest.fixture(scope="module")
def pooler(server_home, postgres_url):
    program = found()
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("needs pgbouncer")
    pooler = Pooler(program, server_home, postgres_url)
    yield pooler
    pooler.close()


@pytest.fixture
def pooled_url(pooler, database_url):
    return pooler.url_of(database_url)


@pytest.fixture
async def engines(pooled_url):
    """Two services behind the pooler, with more connections each than it has."""
    made = {
        name: engine_for(pooled_url, name, pool_size=TENANTS, pooler="transaction")
        for name in ("results", "upload")
    }
    yield made
    for engine in made.values():
        await engine.dispose()


WHO = text(
    "SELECT current_user::text AS role, current_schema() AS schema, current_setting('penstock.tenant', true) AS tenant,"
    " current_setting('idle_in_transaction_session_timeout') AS idle, pg_backend_pid() AS session"
)


class Caller:
    """A tenant who asks two services, in turn for itself and as they do without a tenant, and not always to the end."""

    def __init__(self, number, engines):
        self.chance, self.engines, self.tenant = random.Random(number), engines, f"tenant-{number}"
        self.sessions, self.wrong = set(), []

    async def ask(self, times):
        for _ in range(times):
            service = self.chance.choice(list(self.engines))
            way = self.chance.choice([self.read, self.write, self.act, self.fail, self.go])
            await way(self.engines[service], service)

    async def _is(self, connection, role, service, tenant):
        row = (await connection.execute(WHO)).one()
        self.sessions.add(row.session)
        if (row.role, row.schema, row.tenant or None, row.idle) != (role, service, tenant, "1min"):
            self.wrong.append((tuple(row), role, tenant))

    async def read(self, engine, service):
        async with tenant_reading(engine, self.tenant) as connection:
            await self._is(connection, f"penstock_{service}_tenant", service, self.tenant)

    async def write(self, engine, service):
        async with tenant_writing(engine, self.tenant) as connection:
            await connection.execute(text("SELECT pg_sleep(0.001)"))
            await self._is(connection, f"penstock_{service}_tenant", service, self.tenant)

    async def act(self, engine, service):
        async with engine.connect() as connection:
            await self._is(connection, f"penstock_{service}", service, None)
            await connection.commit()  # the next statement begins anew
            await self._is(connection, f"penstock_{service}", service, None)

    async def fail(self, engine, _):
        with suppress(DBAPIError):
            async with tenant_writing(engine, self.tenant) as connection:
                await connection.execute(text("SELECT 1 / 0"))

    async def go(self, engine, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.002), tenant_writing(engine, self.tenant) as connection:
                await connection.execute(text("SELECT pg_sleep(0.01)"))


async def look_in(url, stop):
    """What somebody who says nothing of himself finds in the sessions that are handed on to him."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    found = []
    while not stop.is_set():
        row = await connection.fetchrow(str(WHO))
        found.append((row["role"].startswith("penstock"), row["tenant"] or None, row["idle"]))
    await connection.close()
    return found


async def test_whoever_a_transaction_is_for_no_other_one_is(engines, pooled_url):
    """Many tenants and two services on few sessions, with transactions that end well, badly or not at all."""
    stop = asyncio.Event()
    strangers = [asyncio.create_task(look_in(pooled_url, stop)) for _ in range(2)]
    callers = [Caller(number, engines) for number in range(TENANTS)]
    await asyncio.gather(*(caller.ask(times=30) for caller in callers))
    stop.set()
    assert [wrong for caller in callers for wrong in caller.wrong] == []
    sessions = set().union(*(caller.sessions for caller in callers))
    assert len(sessions) > 1, "they were to share some"
    assert any(len(caller.sessions) > 1 for caller in callers), "one was to have several"
    for seen in await asyncio.gather(*strangers):
        assert set(seen) == {(False, None, "0")}


async def test_a_service_that_has_no_role_yet_gets_no_connection_and_leaves_none(pooler, postgres_url):
    """The transaction that could not become the service's must not go on as the login's."""
    url = pooler.url_of(postgres_url)
    engine = engine_for(url, "nobody", pool_size=1, max_overflow=0, pooler="transaction")
    for _ in range(3):
        with pytest.raises(Exception, match=r'role "penstock_nobody" does not exist|closed'):
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
    await engine.dispose()
    other = await asyncpg.connect(url, statement_cache_size=0)
    assert await other.fetchval("SELECT 1") == 1
    await other.close()


async def test_a_session_of_a_browser_is_looked_up(engines):
    with pytest.raises(Exception, match="session is over"):
        await SessionVerifier(engines["results"]).principal("pss_unknown")


async def test_a_pooler_by_another_name_is_known_by_what_it_does(pooled_url, database_url):
    await must_keep_sessions(database_url)
    with pytest.raises(SessionsNotKept):
        await must_keep_sessions(pooled_url)


def test_a_service_whose_sessions_would_be_a_poolers_does_not_start(pooled_url, tmp_path):
    environment = os.environ | {
        "PENSTOCK_DATABASE_URL": pooled_url,
        "PENSTOCK_DATABASE_SESSION_URL": pooled_url.replace("127.0.0.1", "localhost"),
        "PENSTOCK_DATABASE_POOLER": "transaction",
        "PENSTOCK_STORE_URL": tmp_path.as_uri(),
        "PENSTOCK_JWT_SECRET": SECRET,
    }
    command = [sys.executable, "-m", "penstock", "serve", "upload", "--port", str(free_port())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "Set PENSTOCK_DATABASE_SESSION_URL to the URL of PostgreSQL itself" in done.stderr


PRODUCTS = 30_000


@pytest.fixture
async def stack(database_url, pooled_url, tmp_path):
    stack = Stack(
        tmp_path,
        database_url,
        None,
        {
            "PENSTOCK_DATABASE_URL": pooled_url,
            "PENSTOCK_DATABASE_SESSION_URL": database_url,
            "PENSTOCK_DATABASE_POOLER": "transaction",
            "PENSTOCK_SLICE_BYTES": str(2 * 1024**2),
        },
    )
    try:
        yield await stack.started()
    finally:
        await stack.close()


async def test_imports_edits_webhooks_exports_and_a_crash(stack, tmp_path):
    file = tmp_path / "products.csv"
    words = "long " * 40
    file.write_text("sku,name,description\n" + "".join(f"S-{n},Name {n},{words}\n" for n in range(PRODUCTS)))
    async with receiving() as receiver:
        endpoint = await stack.webhook(receiver.url, "import.completed", "product.updated")
        accepted = await stack.upload(file, "products")

        async def is_under_way():
            return bool(await stack.rows("SELECT FROM processor.slice_starts"))

        await until(is_under_way, 60)
        stack.kill("all")
        await stack.started()
        done = await stack.finished(accepted["id"])
        assert (done["status"], done["rows_inserted"], done["rows_rejected"]) == ("completed", PRODUCTS, 0)

        [record] = (await stack.get("/records/products", sku="S-7"))["items"]
        path = f"/records/products/{record['id']}"
        changed = await stack.http.patch(stack.url(path), json={"name": "Edited"})
        assert changed.status_code == 200, changed.text
        assert (await stack.get(path))["name"] == "Edited"
        exported = await stack.http.get(stack.url("/records/products.csv"))
        assert exported.text.count("\n") == PRODUCTS + 1

        made = await stack.post("/api-keys", {"name": "of a script", "scopes": ["imports:read"]})
        assert made.status_code == 201, made.text
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        listed = await stack.http.get(stack.url("/imports"), headers=key)
        assert [each["id"] for each in listed.json()["items"]] == [accepted["id"]]

        async def has_come():
            told = [received.verified(endpoint["secret"])["type"] for received in receiver.received]
            return {"import.completed", "product.updated"} <= set(told)

        await until(has_come, 60, what=lambda: str(receiver.received))
    assert '"level": "error"' not in stack.log("all", 10**7), stack.log("all")
