"""Logs as a process writes them, put back afterwards; databases that nothing was migrated in."""

import logging
from uuid import uuid4

import asyncpg
import pytest
import structlog
from sqlalchemy.engine import make_url

from shared.platform import logs


@pytest.fixture
def configure():
    """`logs.configure`, undone afterwards. To be called in the test: what pytest captures changes before it."""
    level = logging.getLogger().level
    before = structlog.get_config()
    yield logs.configure
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if type(handler) is not logging.StreamHandler]
    root.setLevel(level)
    structlog.configure(**before)


@pytest.fixture
async def empty_database(postgres_url):
    name = f"empty_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"CREATE DATABASE {name}")
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()
