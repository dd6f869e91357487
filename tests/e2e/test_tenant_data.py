"""All of a tenant's data, taken along or deleted: two tenants who have something everywhere, of whom one goes."""

import asyncio
import hashlib
import json
import signal
import tarfile

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from penstock.deleting_tenant import Deleted, StillOpen, delete_tenant, left
from penstock.exporting_tenant import SECRET_TABLES
from penstock.signals import as_interrupts
from penstock.tenant_data import HOLDINGS, NOBODYS, SCHEMAS, holdings
from shared.platform.database import async_url
from shared.platform.objects import StoreUnavailable
from tests.cli.given import in_process, penstock
from tests.e2e.tenants import files, store_away, two_tenants

# Every table that somebody can make one of, as the standard says; not from where the commands have theirs.
EVERY = """
    SELECT table_schema || '.' || table_name AS name, bool_or(column_name = 'tenant') AS with_tenant
    FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema', 'public')
    GROUP BY 1 ORDER BY 1
"""


@pytest.fixture
async def world(environment):
    async with two_tenants(environment) as world:
        await bury(world)
        yield world


async def bury(world) -> None:
    """A dead letter of each, and what waits."""
    for tenant in (world.owner, world.stranger):
        body = json.dumps({"tenant": tenant.name, "subject": "x"}, separators=(",", ":")).encode()
        await world.database.execute(
            "INSERT INTO bus.dead_letters (original_id, queue, payload, deliveries_count, created_at, failure_reason)"
            " VALUES (0, 'nowhere', $1, 1, now(), 'retry_terminal')",
            body,
        )


async def end_all(world) -> None:
    """Have nothing of the owner's under way any more."""
    await world.database.execute("DELETE FROM upload.open_imports WHERE tenant = $1", world.owner.name)
    await world.database.execute("DELETE FROM upload.intakes WHERE tenant = $1", world.owner.name)


async def run(environment, *arguments: str):
    return await asyncio.to_thread(penstock, "tenant", *arguments, **environment)


async def contents(database) -> dict[str, list[str]]:
    """Every row of every table as text; bytes in hexadecimal digits."""
    names = [row["name"] for row in await database.fetch(EVERY)]
    return {
        name: sorted(row[0] for row in await database.fetch(f"SELECT t::text FROM {name} t"))
        for name in names
    }


def naming(tables: dict[str, list[str]], marks: set[str]) -> dict[str, list[str]]:
    """The rows that have one of `marks` in them, as text or as bytes."""
    forms = {form for mark in marks for form in (mark, mark.encode().hex())}
    found = {
        name: [row for row in rows if any(form in row for form in forms)] for name, rows in tables.items()
    }
    return {name: rows for name, rows in found.items() if rows}


async def every_table_is_known(database_url, world) -> None:
    every = {row["name"]: row["with_tenant"] for row in await world.database.fetch(EVERY)}
    assert {name.partition(".")[0] for name in every} == set(SCHEMAS)
    without = {name for name, with_tenant in every.items() if not with_tenant}
    nobodys = {name for name in every if name.partition(".")[2] in NOBODYS}
    assert without == set(HOLDINGS) | nobodys, (
        "say in penstock/tenant_data.py whose the rows of a new table are"
    )
    engine = create_async_engine(async_url(database_url))
    async with engine.connect() as connection:
        known = await holdings(connection)
        owned = await left(connection, world.owner.name)
    await engine.dispose()
    assert {each.table for each in known} == set(every) - nobodys
    # What is tested here is seen to be deleted only where there is something.
    assert set(owned) >= {each.table for each in known} - {
        *("bus.outbox", "processor.early_cancels", "processor.duplicates", "processor.resent"),
        *("processor.replies", "upload.tus_parts", "upload.tus_concatenations", "auth.sessions"),
        *("upload.idempotency_keys", "notifier.expansions", "notifier.job_attempts"),
    }


async def test_what_is_not_there_cannot_be_taken_along(environment, tmp_path):
    out = tmp_path / "nobody.tar"
    said = await run(environment, "export", "nobody", "--out", str(out))
    assert said.returncode == 1
    assert said.stderr == f"there is nothing of a tenant nobody, so {out} was not written\n"
    assert not out.exists()


async def taken_along(world, environment, tmp_path) -> None:
    owner, stranger, database = world.owner, world.stranger, world.database
    out = tmp_path / "orchard.tar"
    said = await run(environment, "export", owner.name, "--out", str(out))
    assert said.returncode == 0, said.stderr
    assert out.stat().st_mode & 0o777 == 0o600
    with tarfile.open(out) as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive}
    manifest = json.loads(members.pop("manifest.json"))
    assert (manifest["tenant"], manifest["missing"]) == (owner.name, [])
    listed = {member["name"]: member for member in manifest["members"]}
    assert listed.keys() == members.keys()
    for name, content in members.items():
        assert (listed[name]["size"], listed[name]["sha256"]) == (
            len(content),
            hashlib.sha256(content).hexdigest(),
        )
        if name.endswith(".ndjson"):
            assert len([json.loads(line) for line in content.splitlines()]) == listed[name]["rows"]

    engine = create_async_engine(async_url(environment["PENSTOCK_DATABASE_URL"]))
    async with engine.connect() as connection:
        owned = await left(connection, owner.name)
    await engine.dispose()
    tables = {
        name.removeprefix("tables/").removesuffix(".ndjson"): listed[name]["rows"]
        for name in members
        if name.startswith("tables/")
    }
    assert tables == {name: rows for name, rows in owned.items() if name not in SECRET_TABLES}
    books = [json.loads(line) for line in members["tables/data.books.ndjson"].splitlines()]
    assert {book["isbn"] for book in books} == {owner.isbn, "9791090636071"}

    served = {}
    for line in members["receipts.ndjson"].splitlines():
        receipt = json.loads(line)
        served[receipt["import_id"]] = receipt
    assert len(served) == owned["processor.receipts"]
    shown = await world.call(owner, "GET", f"/api/v1/imports/{owner.ids['import_id']}/receipt")
    assert served[owner.ids["import_id"]] == shown.json()
    assert members[f"files/{owner.ids['import_id']}"].decode() == owner.books
    errors = await world.call(owner, "GET", f"/api/v1/imports/{owner.ids['import_id']}/errors.csv")
    assert members[f"error-files/{owner.ids['import_id']}.csv"] == errors.content
    assert listed[f"files/{owner.ids['import_id']}"]["file_name"] == "books.csv"

    everything = b"\n".join(members.values()).decode()
    assert not [mark for mark in stranger.marks | {stranger.name} if mark in everything]
    rows = [
        *await database.fetch("SELECT secret, private_key FROM notifier.endpoints"),
        *await database.fetch("SELECT secret FROM notifier.retired_secrets"),
        *await database.fetch("SELECT encode(hash, 'hex'), encode(hash, 'base64') FROM auth.api_keys"),
        *await database.fetch("SELECT encode(hash, 'hex') FROM auth.sessions"),
        *await database.fetch(
            "SELECT encode(digest, 'hex') FROM notifier.investigation_events WHERE digest IS NOT NULL"
        ),
    ]
    secrets = {value for row in rows for value in row if value}
    assert len(secrets) > 4
    assert not [secret for secret in secrets if secret in everything]

    again = in_process("tenant", "export", owner.name, "--out", out)
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []


async def deleted(world, environment) -> None:
    owner, stranger, database = world.owner, world.stranger, world.database

    async def delete() -> Deleted:
        here = environment["PENSTOCK_DATABASE_URL"], environment["PENSTOCK_STORE_URL"]
        return await asyncio.to_thread(delete_tenant, *here, owner.name, lambda _: None)

    before = await contents(database)
    assert "auth.api_keys" in naming(before, {owner.name})
    theirs = {
        row[0]
        for row in await database.fetch("SELECT object_key FROM upload.imports WHERE tenant = $1", owner.name)
    }
    theirs |= {
        row[0]
        for row in await database.fetch(
            "SELECT e.object_key FROM processor.error_files e JOIN processor.imports USING (import_id) WHERE tenant = $1",
            owner.name,
        )
    }
    assert theirs <= files(environment)
    assert len(theirs) > 6

    with pytest.raises(StillOpen, match="have not ended"):
        await delete()
    await end_all(world)
    for typed in (stranger.name, ""):
        wrong = in_process("tenant", "delete", owner.name, "--yes", typed)
        assert (wrong.exit_code, "nothing was deleted" in wrong.stderr) == (2, True)
    assert naming(await contents(database), {owner.name}).keys() == naming(before, {owner.name}).keys() - {
        *("upload.open_imports", "upload.intakes")
    }

    imports = [
        row[0]
        for row in await database.fetch("SELECT import_id FROM upload.imports WHERE tenant = $1", owner.name)
    ]
    with store_away(environment), pytest.raises(StoreUnavailable):
        await delete()  # broken off, it goes on below
    stage = f"processor.stage_{imports[0].hex}"
    await database.execute(f"CREATE TABLE {stage} (value text)")
    doomed = max(theirs)  # as if its import said that it is gone, and the store had been away
    await database.execute("DELETE FROM upload.imports WHERE object_key = $1", doomed)
    await database.execute("INSERT INTO upload.doomed_files VALUES ($1)", doomed)
    kept = files(environment) - theirs
    done = await run(environment, "delete", owner.name, "--yes", owner.name)
    assert done.returncode == 0, done.stderr
    after = await contents(database)
    assert naming(after, {owner.name, owner.isbn, owner.supplier, *map(str, imports), *owner.marks}) == {}
    assert await database.fetchval("SELECT to_regclass($1)", stage) is None
    assert files(environment) & theirs == set()
    assert files(environment) == kept - {name for name in kept if name.startswith("tus")} | {
        name for name in files(environment) if name.startswith("tus")
    }
    moving = {name for name in after if name.endswith(".inbox") or name.startswith("bus.")}
    for name in after.keys() - moving:
        assert naming({name: after[name]}, {stranger.name}) == naming(
            {name: before[name]}, {stranger.name}
        ), name
    assert done.stdout.endswith(f" files of tenant {owner.name} are gone.\n")
    assert await delete() == Deleted({}, 0)
    assert (await world.call(owner, "GET", "/api/v1/imports")).json()["items"] == []
    assert len((await world.call(stranger, "GET", "/api/v1/imports")).json()["items"]) > 6


async def test_all_of_theirs_is_taken_along_without_a_secret_and_then_deleted_and_others_keep_theirs(
    world, environment, tmp_path
) -> None:
    await every_table_is_known(environment["PENSTOCK_DATABASE_URL"], world)
    await taken_along(world, environment, tmp_path)
    await deleted(world, environment)


def test_sigterm_ends_an_export_as_ctrl_c_does_so_that_nothing_is_left_behind():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), as_interrupts():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
