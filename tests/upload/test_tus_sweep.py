"""What nobody comes back for."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.tus import parts as receiving
from services.upload.tus import repository
from services.upload.tus.sweep import ask_again
from shared.contracts.events import event_from
from shared.contracts.problems import Problem
from shared.platform.objects import StoreUnavailable
from tests.upload.conftest import BOOKS
from tests.upload.replica import ACME, replicas
from tests.upload.resumable import Tus, books, trickle


@pytest.fixture
async def pair(environment):
    async with replicas(environment, 2) as running:
        yield running


@pytest.fixture
def files(environment):
    store = Path(environment["PENSTOCK_STORE_URL"].removeprefix("file://"))
    return lambda: sorted(path.name for path in store.rglob("*") if path.is_file())


async def states(database):
    return [row["state"] for row in await database.fetch("SELECT state FROM upload.tus_parts")]


async def age(database, interval):
    await database.execute(f"UPDATE upload.tus_parts SET began_at = began_at - interval '{interval}'")


async def test_an_expired_upload_is_gone_and_then_forgotten(upload, pair, database, files):
    tus = Tus(upload.client, upload.secret)
    path = await tus.created(len(BOOKS))
    await tus.patch(path, 0, BOOKS[:9])
    await database.execute("UPDATE upload.tus_uploads SET expires_at = now()")
    assert (await tus.head(path)).status_code == 410
    assert (await tus.ask("GET", path)).status_code == 410
    response = await tus.patch(path, 9, BOOKS[9:])
    assert (response.status_code, response.json()["code"]) == (410, "upload_gone")
    await pair[0].sweep()
    assert (await tus.head(path)).status_code == 404
    assert files() == []
    assert await states(database) == []


async def test_an_import_outlives_the_upload_that_it_came_by(pair, database, files):
    one, other = pair
    upload_id = await one.whole(BOOKS)
    await database.execute("UPDATE upload.tus_uploads SET expires_at = now()")
    await other.sweep()
    await one.finish(upload_id)  # one that is being checked does not expire
    await other.sweep()
    assert await database.fetchval("SELECT count(*) FROM upload.tus_uploads") == 0
    assert await database.fetchval("SELECT count(*) FROM upload.imports") == 1
    assert len(files()) == 1


async def test_an_upload_in_progress_is_left_alone(pair, database, files):
    one, other = pair
    upload_id = await one.create(len(BOOKS))
    await one.append(upload_id, 0, BOOKS[:9])
    await age(database, "1 year")
    await other.sweep()
    assert await states(database) == ["kept"]
    assert len(files()) == 1


async def test_what_was_on_its_way_when_its_process_died_is_removed(pair, database, files, monkeypatch):
    dead, alive = pair
    upload_id = await dead.create(len(BOOKS))
    put = dead.objects.put_whole

    async def put_and_die(key, chunks):
        await put(key, chunks)
        raise asyncio.CancelledError

    async def nothing(*_):
        return None

    monkeypatch.setattr(dead.objects, "put_whole", put_and_die)
    monkeypatch.setattr(dead.parts, "_abandon", nothing)
    with pytest.raises(asyncio.CancelledError):
        await dead.append(upload_id, 0, BOOKS)
    (name,) = files()
    store = Path(alive.objects._folder)
    (store / "tus" / f"{name}#1").write_bytes(b"half a part")
    await age(database, "2 minutes")
    await alive.sweep()
    assert await states(database) == ["intended"], "its process lives"
    await dead.die()
    async with asyncio.timeout(10):
        while await states(database):
            await alive.sweep()
            await asyncio.sleep(0.05)
    assert files() == []
    monkeypatch.undo()
    await alive.append(upload_id, 0, BOOKS)
    await alive.finish(upload_id)
    assert await database.fetchval("SELECT count(*) FROM upload.imports") == 1


async def test_what_a_sweep_has_taken_cannot_be_counted_any_more(pair, database, files, monkeypatch):
    """A process that was cut off is taken for dead, and yet goes on."""
    zombie, alive = pair
    upload_id = await zombie.create(len(BOOKS))
    put = zombie.objects.put_whole

    async def put_late(key, chunks):
        await age(database, "2 minutes")
        await zombie.die()
        async with asyncio.timeout(10):
            while await states(database):
                await alive.sweep()
        await put(key, chunks)

    monkeypatch.setattr(zombie.objects, "put_whole", put_late)
    with pytest.raises(Problem) as raised:
        await zombie.append(upload_id, 0, BOOKS)
    assert raised.value.code == "upload_taken_over"
    assert await database.fetchval("SELECT received FROM upload.tus_uploads") == 0


async def test_a_store_that_is_away_loses_track_of_nothing(pair, database, files, monkeypatch):
    one, other = pair
    upload_id = await one.create(len(BOOKS))
    await one.append(upload_id, 0, BOOKS[:9])

    async def away(_):
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(one.objects, "delete", away)
        await one.writing.remove(ACME, upload_id)
    assert await states(database) == ["doomed"]
    assert len(files()) == 1
    await other.sweep()
    assert await states(database) == []
    assert files() == []


async def test_what_a_living_process_forgot_is_removed_in_the_end(pair, database, files, monkeypatch):
    one, other = pair
    upload_id = await one.create(len(BOOKS))

    async def nothing(*_):
        return None

    with monkeypatch.context() as patched:
        patched.setattr(one.parts, "_abandon", nothing)
        with pytest.raises(RuntimeError):
            await one.append(upload_id, 0, trickle(BOOKS, 10, RuntimeError()), checksum=_Any())
        with monkeypatch.context() as deeper:
            deeper.setattr(repository, "keep", _taken_over)
            with pytest.raises(Problem):
                await one.append(upload_id, 0, BOOKS)
    assert await states(database) == ["intended"]
    await age(database, "59 minutes")
    await one.append(upload_id, 0, b"")  # whoever wrote before writes no more
    await other.sweep()
    assert await states(database) == ["intended"]
    await age(database, "2 minutes")
    await other.sweep()
    assert await states(database) == []
    assert files() == []


async def test_a_slow_piece_with_a_checksum_is_not_forgotten(pair, database):
    one, other = pair
    content = books(200_000)
    upload_id = await one.create(len(content))

    async def slowly():
        for start in range(0, len(content), 2**20):
            yield content[start : start + 2**20]
            await age(database, "3 hours")
            await other.sweep()

    await one.append(upload_id, 0, slowly(), checksum=_Any())
    assert set(await states(database)) == {"kept"}
    await one.finish(upload_id)
    assert await database.fetchval("SELECT file_size FROM upload.imports") == len(content)


async def test_an_upload_has_so_many_parts_at_most(pair, database, monkeypatch):
    one, _ = pair
    monkeypatch.setattr(receiving, "MAX_PARTS", 3)
    upload_id = await one.create(len(BOOKS))
    for offset in range(3):
        await one.append(upload_id, offset, BOOKS[offset : offset + 1])
    with pytest.raises(Problem) as raised:
        await one.append(upload_id, 3, BOOKS[3:])
    assert raised.value.code == "upload_parts_too_many"
    assert await states(database) == ["kept"] * 3


@given(st.integers(1, 10 * 1024**4))
def test_a_file_of_any_size_has_room_in_half_of_the_parts_that_an_upload_may_have(limit):
    assert limit <= receiving.part_bytes_of(limit) * receiving.MAX_PARTS / 2
    assert receiving.part_bytes_of(limit) >= receiving.PART_BYTES


async def test_what_is_complete_when_the_process_is_told_to_stop_is_taken(pair):
    one, _ = pair
    one.stopping.set()
    upload_id = await one.create(len(BOOKS))
    with pytest.raises(Problem) as raised:
        await one.append(upload_id, 0, trickle(BOOKS, len(BOOKS) - 1))
    assert raised.value.code == "service_stopping"
    upload = await one.append(upload_id, len(BOOKS) - 1, BOOKS[-1:])
    assert upload.state == "checking"


class _Any:
    """A checksum that matches."""

    algorithm = "sha1"

    def feed(self, _):
        pass

    def matches(self):
        return True


async def _taken_over(*_):
    raise repository.TakenOver


async def test_a_check_whose_command_is_lost_is_asked_for_again_once_the_upload_would_have_expired(
    pair, database
):
    one, other = pair
    upload_id = await one.whole(BOOKS)
    await one.create(9)
    asked = "SELECT count(*) FROM bus.outbox WHERE queue = 'upload.finish'"
    await database.execute("DELETE FROM bus.outbox WHERE queue = 'upload.finish'")
    await ask_again(other.engine, other.bus)
    assert await database.fetchval(asked) == 0, "it may still be on its way"
    await database.execute("UPDATE upload.tus_uploads SET expires_at = now()")
    for replica in pair * 2:
        await ask_again(replica.engine, replica.bus)
    assert await database.fetchval(asked) == 1, "and not at each look"
    body = await database.fetchval("SELECT payload FROM bus.outbox WHERE queue = 'upload.finish'")
    await other.finisher.finish(event_from(body))
    imports = await database.fetch("SELECT import_id FROM upload.imports")
    assert [row["import_id"] for row in imports] == [upload_id]
