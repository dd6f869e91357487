"""The end of a resumable upload: its file becomes an import, once, or is refused, whatever dies on the way."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from services.upload.tus import finish
from shared.platform.bus import Later
from shared.platform.objects import StoreUnavailable
from tests.upload.conftest import BOOKS, running
from tests.upload.replica import replicas
from tests.upload.resumable import Tus, books

BAD = b"PK\x03\x04" + bytes(500)  # how an XLSX begins


@pytest.fixture
def tus(upload):
    return Tus(upload.client, upload.secret)


@pytest.fixture
async def pair(environment):
    async with replicas(environment, 2) as both:
        yield both


async def row_of(database, upload_id):
    return await database.fetchrow("SELECT * FROM upload.tus_uploads WHERE id = $1", upload_id)


async def imports(database):
    return [row["import_id"] for row in await database.fetch("SELECT import_id FROM upload.imports")]


async def uploaded_events(database):
    return await database.fetchval(
        "SELECT count(*) FROM bus.outbox WHERE queue = 'processor.imports'"
        " AND convert_from(payload, 'UTF8')::jsonb ->> 'type' = 'import.uploaded'"
    )


def objects_in(environment):
    store = Path(environment["PENSTOCK_STORE_URL"].removeprefix("file://"))
    return {path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()}


# As a client sees it


async def test_the_last_patch_tells_why_a_file_is_refused(upload, tus):
    path = await tus.created(len(BAD))
    response = await tus.patch(path, 0, BAD)
    direct = await upload.form(BAD)
    assert response.status_code == direct.status_code == 415
    assert response.json() == direct.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["tus-resumable"] == "1.0.0"
    shown = await tus.show(path)
    assert (shown["state"], shown["problem"], shown["links"]) == ("refused", direct.json(), None)
    head = await tus.head(path)
    assert head.status_code == 410
    assert "upload-offset" not in head.headers
    assert (await tus.patch(path, len(BAD), b"")).status_code == 410
    assert await upload.rows() == []
    assert upload.objects() == {}
    assert (await tus.delete(path)).status_code == 204


async def test_an_empty_file_is_refused_at_its_creation(upload, tus):
    response = await tus.create(0)
    assert (response.status_code, response.json()["code"]) == (422, "file_empty")
    assert await upload.rows() == []


async def test_a_file_that_is_an_import_already_is_said_as_422(upload, tus):
    earlier = (await upload.form(BOOKS)).json()
    path = await tus.created(len(BOOKS))
    response = await tus.patch(path, 0, BOOKS)
    document = response.json()
    assert (response.status_code, document["status"]) == (422, 422)
    assert document["code"] == "file_already_imported"
    assert earlier["id"] in json.dumps(document)
    assert len(await upload.rows()) == 1


async def test_a_compressed_file_is_unpacked(upload, tus):
    packed = gzip.compress(BOOKS)
    path = await tus.created(len(packed), filename="books.csv.gz")
    assert (await tus.patch(path, 0, packed)).headers["penstock-import"]
    (row,) = await upload.rows()
    assert upload.objects() == {row["object_key"]: BOOKS}


async def test_a_check_that_takes_long_is_told_later(upload, tus, monkeypatch):
    monkeypatch.setattr(finish, "PATIENCE_SECONDS", 0.0)
    content = books(100_000)
    path = await tus.created(len(content))
    response = await tus.patch(path, 0, content)
    assert (response.status_code, response.headers["upload-offset"]) == (204, str(len(content)))
    assert (await tus.head(path)).headers["upload-offset"] == str(len(content))
    shown = await tus.outcome(path)
    assert shown["state"] == "accepted"
    assert (await tus.head(path)).headers["penstock-import"] == shown["links"]["self"]


# As processes see it


async def test_nothing_is_done_twice(pair, database, environment):
    one, other = pair
    upload_id = await one.whole(BOOKS)
    for replica in (one, one, other):
        await replica.finish(upload_id)
    assert await imports(database) == [upload_id]
    assert await uploaded_events(database) == 1
    assert len(objects_in(environment)) == 1
    assert await database.fetchval("SELECT count(*) FROM upload.tus_parts") == 0


async def test_what_a_living_process_has_in_hand_is_left_to_it(pair, database):
    one, other = pair
    upload_id = await one.whole(BOOKS)
    await database.execute("UPDATE upload.tus_uploads SET finish_owner = $1", one.owner)
    with pytest.raises(Later):
        await other.finish(upload_id)
    assert await imports(database) == []
    await one.finish(upload_id)  # what is left over from an attempt of its own that failed
    assert await imports(database) == [upload_id]


async def test_what_a_dead_process_had_in_hand_is_done_anew(pair, database):
    one, other = pair
    upload_id = await one.whole(BOOKS)
    await database.execute("UPDATE upload.tus_uploads SET finish_owner = $1", one.owner)
    await one.die()
    async with asyncio.timeout(10):
        while not await imports(database):
            try:
                await other.finish(upload_id)
            except Later:
                await asyncio.sleep(0.05)
    assert (await row_of(database, upload_id))["state"] == "accepted"


def held_at_its_parts(replica, monkeypatch):
    """Let the replica stand still when it reads parts: an event for its being there, and one to let it go on."""
    reading, go_on = asyncio.Event(), asyncio.Event()
    read = replica.objects.read

    async def slow(*asked):
        reading.set()
        await go_on.wait()
        return await read(*asked)

    monkeypatch.setattr(replica.objects, "read", slow)
    return reading, go_on


async def test_a_message_that_comes_again_meanwhile_waits(pair, database, monkeypatch):
    one, _ = pair
    upload_id = await one.whole(BOOKS)
    reading, go_on = held_at_its_parts(one, monkeypatch)
    first = asyncio.create_task(one.finish(upload_id))
    await reading.wait()
    with pytest.raises(Later):
        await one.finish(upload_id)
    go_on.set()
    await first
    assert await imports(database) == [upload_id]
    assert await uploaded_events(database) == 1


async def test_of_two_that_check_one_registers(pair, database, monkeypatch):
    """A process that was cut off from the database is taken for dead, and yet goes on."""
    one, other = pair
    upload_id = await one.whole(BOOKS)
    reading, go_on = held_at_its_parts(one, monkeypatch)
    zombie = asyncio.create_task(one.finish(upload_id))
    await reading.wait()
    await database.execute("UPDATE upload.tus_uploads SET finish_owner = NULL")
    await database.execute("UPDATE upload.intakes SET owner = 1")
    await other.finish(upload_id)
    go_on.set()
    with pytest.raises((Later, LookupError)):  # the parts may be gone
        await zombie
    assert await imports(database) == [upload_id]
    assert await uploaded_events(database) == 1
    assert (await row_of(database, upload_id))["state"] == "accepted"
    key = await database.fetchval("SELECT object_key FROM upload.imports")
    assert await other.objects.read(key, 0, 10_000) == BOOKS


async def test_a_store_that_is_away_is_waited_for(pair, database, monkeypatch):
    one, _ = pair
    upload_id = await one.whole(BOOKS)

    async def away(*_):
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(one.objects, "read", away)
        with pytest.raises(Later):
            await one.finish(upload_id)
    assert (await row_of(database, upload_id))["state"] == "checking"
    await one.finish(upload_id)
    assert await imports(database) == [upload_id]


async def test_an_import_too_many_waits_for_its_turn(pair, database):
    one, _ = pair
    first, second = await one.whole(BOOKS), await one.whole(books(5))
    await database.execute("INSERT INTO upload.tenant_limits (tenant, imports_at_once) VALUES ('acme', 1)")
    await one.finish(first)
    with pytest.raises(Later):
        await one.finish(second)
    assert (await row_of(database, second))["state"] == "checking"
    await database.execute("DELETE FROM upload.open_imports")
    await one.finish(second)
    assert set(await imports(database)) == {first, second}


async def test_a_file_that_cannot_be_checked_is_refused_in_the_end(pair, database, environment):
    one, _ = pair
    upload_id = await one.whole(BOOKS)
    for key in objects_in(environment):
        await one.objects.delete(key)
    with pytest.raises(LookupError) as raised:
        await one.finish(upload_id)
    await one.finisher.give_up(one.command(upload_id), raised.value)
    row = await row_of(database, upload_id)
    assert (row["state"], json.loads(row["problem"])["code"]) == ("refused", "upload_not_checked")
    await one.finish(upload_id)
    assert await imports(database) == []


async def test_an_upload_that_is_being_checked_cannot_be_removed(upload, tus, database):
    path = await tus.created(5)
    await database.execute("UPDATE upload.tus_uploads SET state = 'checking', received = 5")
    response = await tus.delete(path)
    assert (response.status_code, response.json()["code"]) == (409, "upload_in_use")


async def test_a_finish_for_an_upload_that_is_gone_does_nothing(pair, database):
    one, _ = pair
    upload_id = await one.create(len(BOOKS))
    await one.finish(upload_id)
    assert (await row_of(database, upload_id))["state"] == "receiving"
    await database.execute("DELETE FROM upload.tus_uploads")
    await one.finish(upload_id)
    assert await imports(database) == []


async def test_the_command_goes_by_rabbitmq_where_there_is_one(
    environment, rabbit_url, database, monkeypatch
):
    monkeypatch.setenv("PENSTOCK_BUS_URL", rabbit_url)
    async with running(environment, database) as upload:
        tus = Tus(upload.client, upload.secret)
        path = await tus.created(len(BOOKS))
        assert (await tus.patch(path, 0, BOOKS)).status_code == 204
        assert (await tus.outcome(path))["state"] == "accepted"


async def test_what_is_refused_does_not_count_as_an_upload_a_minute(upload, tus, database):
    async def slots():
        return await database.fetchval("SELECT coalesce(sum(cardinality(taken)), 0) FROM upload.rates")

    missing = "/api/v1/tus/00000000-0000-4000-8000-000000000000"
    refused = await tus.create(None, query={"dataset": "books"}, Upload_Concat=f"final;{missing}")
    assert refused.status_code == 404
    assert await slots() == 0
    path = await tus.created(9)
    assert await slots() == 1
    assert (await tus.patch(path, 0, b"no,header")).status_code == 422
    assert (await tus.show(path))["state"] == "refused"
    assert await slots() == 0


@pytest.mark.parametrize("name", ["data_source_name", "file_name", "dataset"])
async def test_a_nul_character_in_the_query_is_refused(tus, name):
    response = await tus.create(5, query={"dataset": "books", name: "a\0b"}, Upload_Metadata=None)
    assert response.status_code == 422
