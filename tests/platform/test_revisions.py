"""Which revisions a database has, and what is said of that."""

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from penstock.cli import app
from penstock.registry import MIGRATIONS, NAMES, NEWEST, needed_by
from shared.platform.database import PLATFORM, migrate_async
from shared.platform.migrated import lacking, states
from shared.platform.revisions import revisions_in, state_of

ALL = (PLATFORM, *MIGRATIONS)


@pytest.mark.parametrize(
    ("at", "pending", "ahead"),
    [
        (None, ["mill_0001", "mill_0002"], False),
        ("mill_0001", ["mill_0002"], False),
        ("mill_0002", [], False),
        ("mill_0003", [], True),
    ],
)
def test_how_a_schema_stands(at, pending, ahead):
    state = state_of("mill", at, ["mill_0001", "mill_0002"])
    assert (state.pending, state.ahead) == (pending, ahead)


@pytest.mark.parametrize("migrations", ALL, ids=lambda each: each.service)
def test_revisions_are_numbered_and_the_newest_is_written_down(migrations):
    revisions = revisions_in(migrations.versions)
    assert NEWEST[migrations.schemas[0]] == revisions[-1]
    before = None
    for number, revision in enumerate(revisions, 1):
        assert revision == f"{migrations.service}_{number:04}"
        text = Path(migrations.versions / f"{revision}.py").read_text()
        assert re.findall(r"^(?:down_)?revision\b[^=]*= (.*)$", text, flags=re.MULTILINE) == [
            f'"{revision}"',
            f'"{before}"' if before else "None",
        ]
        before = revision


async def test_nothing_is_there_at_first_and_nothing_is_made(empty_database):
    found = await states(empty_database, MIGRATIONS)
    assert [each.schema for each in found] == ["bus", *NAMES]
    assert all(each.at is None and each.pending for each in found)
    assert await schemas(empty_database) == set()
    for name in NAMES:
        assert await lacking(empty_database, name, needed_by(name)) == list(needed_by(name).values())


async def test_each_service_sees_whether_it_may_start(database_url):
    for name in NAMES:
        assert await lacking(database_url, name, needed_by(name)) == []
        assert await lacking(database_url, name, {"bus": "platform_9999"}) == ["platform_9999"]
        of_before = dict.fromkeys(needed_by(name), "any_0001")
        assert await lacking(database_url, name, of_before) == [], "a database that is ahead will do"
    needed = needed_by("results") | {"processor": "processor_9999"}
    assert await lacking(database_url, "results", needed) == ["processor_9999"]


async def test_one_that_was_migrated_by_a_version_that_let_nobody_look_is_behind(database_url):
    connection = await asyncpg.connect(database_url)
    await connection.execute("REVOKE SELECT ON processor.alembic_version FROM penstock_results")
    await connection.close()
    assert await lacking(database_url, "results", needed_by("results")) == [NEWEST["processor"]]
    await migrate_async(database_url, MIGRATIONS)
    assert await lacking(database_url, "results", needed_by("results")) == []


async def schemas(url):
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT nspname FROM pg_namespace")
        return {row["nspname"] for row in rows} & {each.schemas[0] for each in ALL}
    finally:
        await connection.close()


async def at(url, schema, *, becomes=None):
    connection = await asyncpg.connect(url)
    try:
        if becomes:
            await connection.execute(f"UPDATE {schema}.alembic_version SET version_num = $1", becomes)
        return await connection.fetchval(f"SELECT version_num FROM {schema}.alembic_version")
    finally:
        await connection.close()


@pytest.fixture
def penstock(monkeypatch):
    """The command, as somebody types it, on a database."""

    def run(url, *arguments):
        monkeypatch.setenv("PENSTOCK_DATABASE_URL", url)
        done = CliRunner().invoke(app, arguments)
        return done.exit_code, done.output

    return run


def test_check_says_what_is_pending_and_changes_nothing(empty_database, penstock):
    code, said = penstock(empty_database, "migrate", "--check")
    assert code == 4
    assert "results: nothing there, pending: results_0001, " in said
    assert penstock(empty_database, "migrate", "--check") == (code, said)


def test_check_says_that_nothing_is_pending_and_that_a_database_is_newer(database_url, penstock):
    code, said = penstock(database_url, "migrate", "--check")
    assert (code, said.splitlines()[-1]) == (0, "The database is up to date.")
    asyncio.run(at(database_url, "notifier", becomes="notifier_9999"))
    code, said = penstock(database_url, "migrate", "--check")
    assert code == 5
    assert "notifier: notifier_9999, newer than this version" in said
    code, said = penstock(database_url, "migrate")
    assert (code, said.count("\n")) == (0, 1)
    assert asyncio.run(at(database_url, "notifier")) == "notifier_9999"


def test_the_session_url_is_the_one_that_is_migrated(database_url, penstock, monkeypatch):
    monkeypatch.setenv("PENSTOCK_DATABASE_SESSION_URL", database_url)
    assert penstock("postgresql://nobody@nowhere.invalid/none", "migrate", "--check")[0] == 0


# Made before this rule was.
EXEMPT = {
    "notifier_0003",
    "notifier_0004",
    "platform_0002",
    "processor_0006",
    "processor_0013",
    "upload_0003",
}


@pytest.mark.parametrize("migrations", ALL, ids=lambda each: each.service)
def test_no_index_is_built_while_readers_are_kept_away(migrations):
    """To change a table's columns, or a view, stops all who read it; that may take a moment, not as long as its rows take."""
    for revision in set(revisions_in(migrations.versions)) - EXEMPT:
        text = (migrations.versions / f"{revision}.py").read_text()
        made = set(re.findall(r"CREATE TABLE (\S+)", text))
        changed = set(re.findall(r"ALTER TABLE (?:ONLY )?(\S+)", text)) - made
        indexed = set(re.findall(r"CREATE (?:UNIQUE )?INDEX \S+\s+ON (\S+)", text))
        assert not changed & indexed, f"{revision}: build the index in a revision of its own"
