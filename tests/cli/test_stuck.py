"""`penstock imports`: those that stand still, what they wait for, and how they are made to go on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from penstock.registry import build
from shared.platform.service import Stopping, compose
from tests.cli.given import in_process
from tests.results.given import NOON, Database

BUSY = 987_654_321  # the lock of a process that lives


@pytest.fixture
async def database(database_url):
    connection = await asyncpg.connect(database_url)
    yield Database(connection)
    await connection.close()


async def run(*arguments: str, database_url: str):
    return await asyncio.to_thread(in_process, "imports", *arguments, PENSTOCK_DATABASE_URL=database_url)


async def still(database: Database, **values) -> UUID:
    import_id = await database.uploaded_import()
    await database.work(import_id, **values)
    await database.connection.execute(
        "UPDATE processor.imports SET moved_at = now() - interval '1 hour' WHERE import_id = $1", import_id
    )
    return import_id


@asynccontextmanager
async def waiting_processor(database_url: str) -> AsyncIterator[int]:
    """A session of a processor waits for a lock of another one: that one's process in PostgreSQL."""
    other = await asyncpg.connect(database_url, server_settings={"application_name": "psql"})
    processor = await asyncpg.connect(
        database_url, server_settings={"application_name": "penstock-processor", "role": "penstock_processor"}
    )
    await other.execute("BEGIN")
    await other.execute("LOCK TABLE processor.fixes IN ACCESS EXCLUSIVE MODE")
    waits = asyncio.create_task(processor.execute("SELECT FROM processor.fixes"))

    async def is_waiting() -> bool:
        blockers = await other.fetchval("SELECT pg_blocking_pids($1)", processor.get_server_pid())
        return blockers == [other.get_server_pid()]

    async with asyncio.timeout(30):
        while not await is_waiting():
            await asyncio.sleep(0.01)
    yield other.get_server_pid()
    await other.close()
    await waits
    await processor.close()


async def test_none_is_a_good_answer(database_url, database) -> None:
    await database.work(await database.uploaded_import())  # has moved just now
    said = await run("stuck", database_url=database_url)
    assert (said.exit_code, said.stdout) == (0, "Every import has moved within 15 minutes.\n")
    assert json.loads((await run("stuck", "--json", database_url=database_url)).stdout) == []


async def test_what_each_waits_for(database_url, database) -> None:
    connection = database.connection
    await connection.execute("SELECT pg_advisory_lock($1)", BUSY)
    held = await still(database, lease_owner=BUSY, tries=3)
    dead = await still(database, lease_owner=BUSY + 1)
    scheduled = await still(database, commanded=4)
    lost = await still(database)
    untaken = await database.uploaded_import()
    await connection.execute(
        "INSERT INTO bus.outbox (queue, payload, attempts_count, next_attempt_at)"
        " VALUES ('processor.imports', convert_to($1, 'UTF8'), 6, '2100-01-01')",
        f'{{"subject": "{scheduled}"}}',
    )
    letter = await connection.fetchval(
        "INSERT INTO bus.dead_letters (original_id, queue, payload, deliveries_count, created_at, failure_reason)"
        " VALUES (0, 'processor.imports', convert_to($1, 'UTF8'), 1, now(), 'retry_terminal') RETURNING id",
        f'{{"subject": "{lost}"}}',
    )
    async with waiting_processor(database_url) as blocker:
        said = await run("stuck", "--json", database_url=database_url)
    assert said.exit_code == 1
    found = {each["import_id"]: each for each in json.loads(said.stdout)}
    assert found.keys() == {str(each) for each in (held, dead, scheduled, lost, untaken)}
    reasons = {each: found[str(each)]["waits_for"] for each in (held, dead, scheduled, lost, untaken)}
    assert f"process {BUSY}" in reasons[held]
    assert "which lives and has it in hand" in reasons[held]
    assert f"waits for PostgreSQL's process {blocker} (psql, idle in transaction, since " in reasons[held]
    own = await connection.fetchval(
        "SELECT host(client_addr) FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )
    assert found[str(held)]["standing"]["owner_address"] == own
    assert f"process {BUSY + 1}, which is dead" in reasons[dead]
    assert "tried 6 times, next at 2100-01-01" in reasons[scheduled]
    assert f"dead letter {letter} is about it" in reasons[lost]
    assert "no processor has taken it on" in reasons[untaken]
    assert all("none runs" in reasons[each] for each in (held, dead, scheduled, lost))
    assert found[str(held)]["standing"]["tries"] == 3
    assert found[str(scheduled)]["standing"]["slice"] == 4
    table = await run("stuck", "--minutes", "30", database_url=database_url)
    assert len(table.stdout.splitlines()) == 6
    longer = json.loads((await run("stuck", "--minutes", "90", "--json", database_url=database_url)).stdout)
    assert [each["import_id"] for each in longer] == [str(untaken)]


async def test_an_import_goes_on_once_it_is_asked_for(environment, database_url, database, tmp_path) -> None:
    """Its command and the event that it came in are lost, as with a broker's disk."""
    content = b"title,author,isbn,publication_year\nMomo,Ende,9783522177504,1973\n"
    (tmp_path / "store" / "uploads").mkdir(parents=True)
    columns = {name: place for place, name in enumerate(("title", "author", "isbn", "publication_year"))}
    facts = {
        "file_size": len(content),
        "columns": columns,
        "column_count": 4,
        "rows_detected": 1,
        "dialect": {"header_rows": 1},
        "header": list(columns),
    }
    untaken = await database.uploaded_import(**facts)
    (tmp_path / "store" / "uploads" / str(untaken)).write_bytes(content)
    stopping = Stopping()
    app = compose([build("processor", stopping)])
    async with app.router.lifespan_context(app):
        stuck = await run("stuck", "--minutes", "0", "--json", database_url=database_url)
        assert [each["import_id"] for each in json.loads(stuck.stdout)] == [str(untaken)]
        resumed = await run("resume", str(untaken), database_url=database_url)
        assert (resumed.exit_code, "told again" in resumed.stdout) == (0, True), resumed.output
        async with asyncio.timeout(30):
            while await status(database, untaken) != "completed":
                await asyncio.sleep(0.05)
        again = await run("resume", str(untaken), database_url=database_url)
        assert (again.exit_code, "is completed" in again.stderr) == (1, True)
    unknown = await run("resume", str(uuid4()), database_url=database_url)
    assert (unknown.exit_code, "there is no import" in unknown.stderr) == (1, True)

    waiting = await still(database, commanded=2)
    asked = await run("resume", str(waiting), database_url=database_url)
    assert asked.stdout == f"Slice 2 of import {waiting} is asked for again.\n"
    body = await database.connection.fetchval(
        "SELECT payload FROM bus.outbox WHERE queue = 'processor.imports'"
    )
    assert json.loads(body)["data"] == {"import_id": str(waiting), "slice": 2}


async def test_one_that_has_failed_is_tried_again_by_another_command(database_url, database) -> None:
    import_id = await database.uploaded_import()
    ended = {"status": "failed", "error_code": "store_unavailable", "error_message": "away"}
    await database.work(import_id, finished_at=NOON, **ended)
    said = await run("resume", str(import_id), database_url=database_url)
    assert (said.exit_code, f"penstock retry {import_id}" in said.stderr) == (1, True)


async def status(database: Database, import_id: UUID) -> str | None:
    return await database.connection.fetchval(
        "SELECT status FROM processor.imports WHERE import_id = $1", import_id
    )
