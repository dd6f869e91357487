"""The database that CloudNativePG would make of deploy/kubernetes, made on a real PostgreSQL: it does for Penstock."""

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from penstock.local import postgres
from penstock.registry import MIGRATIONS, NAMES
from shared.platform.database import migrate_async
from tests.deploy.rendered import OVERLAYS, Document, render


def specification(overlay: str) -> Document:
    [cluster] = [each for each in render(overlay) if each["kind"] == "Cluster"]
    return cluster["spec"]


async def test_its_login_may_migrate_and_be_each_service_and_is_no_superuser(server_home):
    made = specification("prod")["bootstrap"]["initdb"]
    server = postgres.start(server_home / "operated", settings={"fsync": "off"})
    try:
        superuser = await asyncpg.connect(server.url)
        await superuser.execute(f"CREATE ROLE {made['owner']} LOGIN PASSWORD 'secret'")
        await superuser.execute(f"CREATE DATABASE {made['database']} OWNER {made['owner']}")
        for statement in made["postInitApplicationSQL"]:
            await superuser.execute(statement)
        await superuser.close()
        url = make_url(server.url).set(database=made["database"], username=made["owner"], password="secret")
        app = url.render_as_string(hide_password=False)

        await migrate_async(app, MIGRATIONS)

        login = await asyncpg.connect(app)
        assert not await login.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        for service in NAMES:
            await login.execute(f"SET ROLE penstock_{service}")
            assert await login.fetchval("SELECT current_user") == f"penstock_{service}"
            await login.execute("CREATE TEMP TABLE stage (row_number bigint)")  # as imports do
            await login.execute("RESET ROLE; DROP TABLE stage")
        await login.close()
    finally:
        server.stop()


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_its_parameters_are_such_as_postgresql_has(overlay, postgres_url):
    given = specification(overlay)["postgresql"]["parameters"]
    connection = await asyncpg.connect(postgres_url)
    rows = await connection.fetch("SELECT name FROM pg_settings WHERE name = ANY($1)", list(given))
    await connection.close()
    assert {row["name"] for row in rows} == set(given)


def test_both_overlays_make_it_alike():
    assert specification("dev")["bootstrap"] == specification("prod")["bootstrap"]
    assert specification("dev")["imageName"] == specification("prod")["imageName"]
