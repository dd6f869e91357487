"""What is forgotten by setting, and told so; and receipts, which never are. All services, one tenant's life, then time passes."""

import asyncio
import json

import pytest

from penstock.operating_retention import apply
from penstock.serving import SettingsInvalid
from services.processor import retention as processor_retention
from shared.platform.objects import StoreUnavailable
from tests.cli.given import penstock
from tests.e2e.tenants import files, store_away, two_tenants

# Everything that a processor wrote of the past; `edits` have no import.
AGED = (
    "UPDATE upload.imports SET uploaded_at = uploaded_at - interval '40 days'",
    "UPDATE processor.imports SET finished_at = finished_at - interval '40 days' WHERE finished_at IS NOT NULL",
    "UPDATE processor.edits SET edited_at = edited_at - interval '40 days'",
    "UPDATE processor.inbox SET handled_at = handled_at - interval '40 days'",
    "UPDATE results.inbox SET handled_at = handled_at - interval '40 days'",
)
COUNTS = "SELECT (SELECT count(*) FROM processor.{0})"
FORGOTTEN = (*processor_retention.DETAILS, "changes", "edits", "error_files", "inbox")


@pytest.fixture
async def world(environment, monkeypatch):
    async with two_tenants(environment) as world:
        await world.database.execute("UPDATE processor.changes SET searched = true")
        yield world


async def test_files_and_row_errors_go_and_receipts_stay(world, environment, monkeypatch) -> None:
    owner, database = world.owner, world.database
    this = f"/api/v1/imports/{owner.ids['import_id']}"

    async def get(path: str):
        return await world.call(owner, "GET", this + path)

    receipts = [
        dict(row) for row in await database.fetch("SELECT * FROM processor.receipts ORDER BY import_id")
    ]
    receipt, summary, shown = (
        (await get("/receipt")).json(),
        (await get("/errors/summary")).json(),
        (await get("")).json(),
    )
    assert (shown["file_removed_at"], shown["errors_removed_at"]) == (None, None)
    assert {name for name in FORGOTTEN if await database.fetchval(COUNTS.format(name))} >= {
        *("row_errors", "fixes", "changes", "edits", "error_files", "inbox")
    }
    url = environment["PENSTOCK_DATABASE_URL"]

    async def applied(**settings: str) -> dict[str, int]:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        done = await asyncio.to_thread(apply, url, dry_run=False)
        return {f"{each.service} {each.what}": each.removed for each in done}

    assert not any((await applied()).values()), "nothing is old"
    for statement in AGED:
        await database.execute(statement)
    kept = await applied()
    assert kept["upload files of imports"] == kept["processor row errors and changes of imports"] == 0
    assert kept["processor events handled (inbox)"] > 0
    assert kept["results events handled (inbox)"] > 0

    imports = await database.fetchval("SELECT count(*) FROM upload.imports")
    open_again = await database.fetchval(
        "SELECT count(*) FROM upload.open_imports o JOIN processor.imports p USING (import_id) WHERE o.run > p.run"
    )
    assert open_again == 2, "each has one that was told to go on"
    monkeypatch.setenv("PENSTOCK_FILE_RETENTION_DAYS", "30")
    monkeypatch.setenv("PENSTOCK_ERROR_RETENTION_DAYS", "39")
    monkeypatch.setattr(processor_retention, "STEP", 1)
    counted = {
        f"{each.service} {each.what}": each.removed
        for each in await asyncio.to_thread(apply, url, dry_run=True)
    }
    before = files(environment)
    assert len([name for name in before if name.startswith("uploads/")]) >= imports
    with store_away(environment), pytest.raises(StoreUnavailable):
        await applied()
    doomed = await database.fetchval("SELECT count(*) FROM upload.doomed_files")
    assert doomed == counted.pop("upload files of imports") == imports - open_again
    for setting in ("PENSTOCK_FILE_RETENTION_DAYS", "PENSTOCK_ERROR_RETENTION_DAYS"):
        monkeypatch.delenv(setting)
    assert not any((await applied()).values()), "all is kept from now on"
    assert await database.fetchval("SELECT count(*) FROM upload.doomed_files") == 0, (
        "what was given up is gone"
    )
    monkeypatch.setenv("PENSTOCK_FILE_RETENTION_DAYS", "30")
    monkeypatch.setenv("PENSTOCK_ERROR_RETENTION_DAYS", "39")
    done = await applied()
    assert counted == {what: number for what, number in done.items() if what in counted}
    assert done["processor row errors and changes of imports"] == imports
    assert {name: await database.fetchval(COUNTS.format(name)) for name in FORGOTTEN} == dict.fromkeys(
        FORGOTTEN, 0
    )
    assert not any((await applied()).values()), "a second time there is nothing"
    assert await database.fetchval(COUNTS.format("slice_starts")), (
        "records of files that are kept are found by them"
    )

    left = {
        row[0]
        for row in await database.fetch("SELECT object_key FROM upload.imports WHERE file_removed_at IS NULL")
    }
    parts = {row[0] for row in await database.fetch("SELECT object_key FROM upload.tus_parts")}
    assert files(environment) == left | parts
    for schema in ("upload", "processor"):
        assert await database.fetchval(f"SELECT count(*) FROM {schema}.doomed_files") == 0

    assert [
        dict(row) for row in await database.fetch("SELECT * FROM processor.receipts ORDER BY import_id")
    ] == receipts
    assert (await get("/receipt")).json() == receipt
    gone = (await get("")).json()
    if not gone["file_removed_at"]:  # theirs may be the one that was told to go on
        await database.execute("DELETE FROM upload.open_imports")
        await applied()
        gone = (await get("")).json()
    assert gone["file_removed_at"]
    assert gone["errors_removed_at"]
    assert gone["errors_preview"] == []
    same = ("rows_rejected", "rows_inserted", "error_counts", "rows_corrected", "status", "sha256")
    assert {name: gone[name] for name in same} == {name: shown[name] for name in same}
    counts = [{**group, "examples": [], "hint": None, "likely_cause": None} for group in summary["groups"]]
    now = [{**group, "likely_cause": None} for group in (await get("/errors/summary")).json()["groups"]]
    assert now == counts
    for path, code in (
        ("/file", "file_removed"),
        ("/rows/1/raw", "file_removed"),
        ("/errors", "errors_removed"),
        ("/errors.csv", "errors_removed"),
    ):
        answer = await get(path)
        assert (answer.status_code, answer.json()["code"]) == (410, code), path
    assert (await world.call(owner, "HEAD", f"{this}/file")).status_code == 410

    mended = {
        "file": (
            "mended.csv",
            "title,author,isbn,publication_year,_line\nA,B,9791090636071,1,3\n",
            "text/csv",
        )
    }
    refused = await world.call(
        owner, "POST", "/api/v1/uploads", data={"corrects": owner.ids["import_id"]}, files=mended
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "errors_removed")


async def test_the_command_says_what_it_did(environment, monkeypatch) -> None:
    said = await asyncio.to_thread(penstock, "retention", "--dry-run", "--json", **environment)
    assert said.returncode == 0, said.stderr
    by_setting = {each["setting"]: each for each in json.loads(said.stdout)}
    assert by_setting["PENSTOCK_FILE_RETENTION_DAYS"]["days"] is None
    assert by_setting["PENSTOCK_EVENT_RETENTION_DAYS"]["days"] == 30
    monkeypatch.setenv("PENSTOCK_FILE_RETENTION_DAYS", "0")
    with pytest.raises(SettingsInvalid, match="PENSTOCK_FILE_RETENTION_DAYS"):
        await asyncio.to_thread(apply, environment["PENSTOCK_DATABASE_URL"], dry_run=True)
