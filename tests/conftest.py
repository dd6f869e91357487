"""Real servers for every test: one PostgreSQL and one RabbitMQ a session, a fresh database a test."""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import aio_pika
import asyncpg
import pytest
import structlog
from aio_pika.exceptions import ChannelNotFoundEntity
from hypothesis import HealthCheck, settings
from sqlalchemy.engine import make_url

from penstock.home import new_receipt_key
from penstock.local import postgres
from penstock.registry import MIGRATIONS
from shared.contracts.topology import QUEUES
from shared.platform.database import migrate_async
from tests import brokers

# How fast a machine is says nothing of what is tested; a fixture for all examples of a test is meant.
settings.register_profile(
    "any-machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("any-machine")

# As processes log. The default draws a traceback with all that its frames hold, for a second or two.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

ROOM_BYTES = 8 * 1024**3  # more than all tests ever have on disk at a time
JWT_SECRET = secrets.token_hex(32)
RECEIPT_KEY = new_receipt_key()


@pytest.fixture(scope="session")
def server_home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="penstock-tests-", dir=_memory()))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home, ignore_errors=True)


def _memory() -> str | None:
    """A folder in memory, if there is room: a database a test is a thousand files, for which a disk takes ten times as long."""
    folder = Path("/dev/shm")  # noqa: S108 - the folder made in it has a name of its own
    return str(folder) if folder.is_dir() and shutil.disk_usage(folder).free > ROOM_BYTES else None


@pytest.fixture(scope="session")
def postgres_url(server_home: Path) -> Iterator[str]:
    """The URL of a superuser on a PostgreSQL 18: from the environment, else embedded."""
    if url := os.environ.get("PENSTOCK_TEST_DATABASE_URL"):
        yield url
        return
    server = postgres.start(server_home, settings={"fsync": "off", "max_connections": "300"})
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
async def template_database(postgres_url: str) -> str:
    name = f"penstock_template_{uuid4().hex[:8]}"
    await _admin(postgres_url, f"CREATE DATABASE {name}")
    await migrate_async(_url_of(postgres_url, name), MIGRATIONS)
    return name


@pytest.fixture
async def database_url(postgres_url: str, template_database: str) -> AsyncIterator[str]:
    """A migrated database of this test's own."""
    async with new_database(postgres_url, template_database) as url:
        yield url


@asynccontextmanager
async def new_database(postgres_url: str, template: str) -> AsyncIterator[str]:
    """The URL of a copy of `template` that exists as long as the block."""
    name = f"test_{uuid4().hex[:12]}"
    await _admin(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield _url_of(postgres_url, name)
    await _admin(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def environment(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings of a service under test, on the embedded transport, in `os.environ` and returned."""
    values = {
        "PENSTOCK_HOME": str(tmp_path / "home"),
        "PENSTOCK_DATABASE_URL": database_url,
        "PENSTOCK_STORE_URL": f"file://{tmp_path / 'store'}",
        "PENSTOCK_JWT_SECRET": JWT_SECRET,
        "PENSTOCK_RECEIPT_KEY": RECEIPT_KEY,
        "PENSTOCK_WEBHOOK_ALLOW_PRIVATE": "true",
        # Limits are tested by themselves; what is tested elsewhere sends as often as it likes.
        "PENSTOCK_UPLOADS_PER_MINUTE": "1000",
        "PENSTOCK_IMPORTS_AT_ONCE": "1000",
    }
    for name in [name for name in os.environ if name.startswith("PENSTOCK_")]:
        monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def _url_of(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


async def _admin(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def broker(server_home: Path) -> Iterator[brokers.Broker]:
    """A real RabbitMQ; without one the test is skipped, and fails where CI=true."""
    found, where = brokers.find(server_home / "rabbitmq")
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs a RabbitMQ: {where}")
    yield found
    found.close()


@pytest.fixture
async def rabbit_url(broker: brokers.Broker) -> str:
    """The broker's URL, with nothing left on it by the tests before."""
    connection = await aio_pika.connect(broker.url)
    try:
        for name in [name for queue in QUEUES for name in (queue.name, queue.dead_letter_queue)]:
            # Not deleted: RabbitMQ 3.10 does not find a quorum queue again after a crash if it was made twice.
            with suppress(ChannelNotFoundEntity):
                channel = await connection.channel()  # an unknown queue closes it
                await (await channel.get_queue(name)).purge()
    finally:
        await connection.close()
    return broker.url
