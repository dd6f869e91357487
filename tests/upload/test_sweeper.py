"""What uploads leave behind that end without a word."""

import asyncio
import uuid

import pytest

from services.upload.admission import Admission
from services.upload.limits import Limits, Sizes
from services.upload.sweeper import Sweeper
from shared.contracts.problems import Unavailable
from shared.platform.auth import Principal
from shared.platform.database import engine_for
from shared.platform.objects import Objects, StoreUnavailable
from shared.platform.presence import Presence
from shared.platform.service import Stopping
from tests.upload.conftest import BOOKS, bearer, end_one, held_back, processor_says

ACME = Principal("somebody", "acme", frozenset({"imports:write"}))
LIMITS = Limits(10, 10, Sizes(1000, {}))


async def chunks(*pieces):
    for piece in pieces:
        yield piece


class Replica:
    """One process of the service, as far as uploads in progress are concerned."""

    def __init__(self, environment):
        url = environment["PENSTOCK_DATABASE_URL"]
        self.engine = engine_for(url, "upload", pool_size=2)
        self.presence = Presence(url, "upload")
        self.objects = Objects(environment["PENSTOCK_STORE_URL"])
        self.admission = Admission(self.engine, owner=self.presence.instance, defaults=LIMITS)
        self.sweeper = Sweeper(self.engine, self.objects, self.admission, Stopping())

    async def begin(self, key=None):
        """An upload whose file is stored, and that is not registered yet."""
        entry = await self.admission.enter(ACME, key)
        await self.objects.put(entry.object_key, chunks(BOOKS))
        return entry

    async def die(self):
        await self.presence.stop()


@pytest.fixture
async def replicas(environment):
    both = [Replica(environment), Replica(environment)]
    for replica in both:
        await replica.presence.start([])
    yield both
    for replica in both:
        await replica.presence.stop()
        await replica.engine.dispose()


async def counts(database):
    tables = ("intakes", "idempotency_keys", "rates", "open_imports")
    return {name: await database.fetchval(f"SELECT count(*) FROM upload.{name}") for name in tables}


async def swept(replica, database):
    """Sweep until a dead process's locks are gone, which PostgreSQL notices in a moment."""
    for _ in range(100):
        await replica.sweeper.sweep_uploads()
        if not await database.fetchval("SELECT count(*) FROM upload.intakes"):
            return
        await asyncio.sleep(0.05)


async def test_the_file_of_a_dead_process_is_removed_and_its_key_is_free(replicas, upload, database):
    dead, alive = replicas
    entry = await dead.begin("key")
    half = upload.store / f"{entry.object_key}#1"
    half.write_bytes(b"half a file")
    assert len(upload.objects()) == 2
    await dead.die()
    await swept(alive, database)
    assert upload.objects() == {}
    assert (await counts(database))["intakes"] == (await counts(database))["idempotency_keys"] == 0


async def test_what_a_living_process_has_in_hand_stays(replicas, upload, database):
    busy, _ = replicas
    entry = await busy.begin("key")
    for replica in replicas:
        await replica.sweeper.sweep_uploads()
    assert list(upload.objects()) == [entry.object_key]
    assert (await counts(database))["intakes"] == 1


async def test_what_a_process_itself_could_not_remove_is_removed_later(
    upload, database, monkeypatch, configure
):
    configure(level="critical", style="json")

    async def away(*_):
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(Objects, "discard", away)
        await database.execute("ALTER TABLE upload.imports RENAME TO away")
        assert (await upload.form(headers=None)).status_code == 500
        await database.execute("ALTER TABLE upload.away RENAME TO imports")
    assert list(upload.objects().values()) == [BOOKS]
    async with asyncio.timeout(20):
        while upload.objects():  # the service's own sweeper comes by
            await asyncio.sleep(0.1)
    assert await upload.left_nothing()


async def test_an_import_that_is_registered_keeps_its_file(replicas, upload, database):
    await upload.form()
    for replica in replicas:
        await replica.sweeper.sweep_uploads()
    assert list(upload.objects().values()) == [BOOKS]
    assert (await counts(database))["intakes"] == 0


async def test_an_upload_that_others_took_over_cannot_become_an_import(replicas, database):
    cut_off, other = replicas
    entry = await cut_off.begin()
    await database.execute("UPDATE upload.intakes SET owner = $1", other.admission.owner)
    async with cut_off.engine.begin() as connection:
        from services.upload import repository_admission as noted

        assert not await noted.end_intake(connection, entry.import_id, cut_off.admission.owner)


async def test_an_upload_that_others_took_for_dead_leaves_nothing_when_it_ends(upload, database):
    """Its process was cut off from the database; another one swept what there was, and then the rest of the file came."""
    slowly, go_on = held_back()
    sending = asyncio.create_task(upload.raw(slowly))
    async with asyncio.timeout(10):
        while not await database.fetchval("DELETE FROM upload.intakes RETURNING true"):
            await asyncio.sleep(0.01)
    go_on.set()
    response = await sending
    assert (response.status_code, response.json()["code"]) == (503, "upload_interrupted")
    assert await upload.left_nothing()
    assert await database.fetchval("SELECT cardinality(taken) FROM upload.rates") == 0


async def test_what_is_being_removed_is_not_begun_anew(replicas, upload, database, monkeypatch):
    """A resumable upload keeps its id: its second attempt must not store what the sweep of the first one removes."""
    sweeping, other = replicas
    entry = await sweeping.begin()
    sweeping.admission.done(entry)  # and it is forgotten
    met = []
    discard = Objects.discard

    async def discard_slowly(objects, key):
        for replica in replicas:
            with pytest.raises(Unavailable) as caught:
                await replica.admission.enter_again(ACME, entry.import_id)
            met.append(caught.value.code)
        await discard(objects, key)

    with monkeypatch.context() as patched:
        patched.setattr(Objects, "discard", discard_slowly)
        await sweeping.sweeper.sweep_uploads()
    assert met == ["upload_busy"] * 2
    again = await other.admission.enter_again(ACME, entry.import_id)
    await other.objects.put(again.object_key, chunks(BOOKS))
    await sweeping.sweeper.sweep_uploads()
    assert list(upload.objects()) == [again.object_key]


async def test_notes_that_are_over_are_forgotten(replicas, upload, database):
    _, replica = replicas
    await upload.form(headers=None)
    await database.execute(
        "INSERT INTO upload.idempotency_keys (tenant, key, import_id, owner, expires_at)"
        " VALUES ('a', 'old', $1, 1, now() - interval '1 s'), ('a', 'new', $1, 1, now() + interval '1 h')",
        uuid.uuid4(),
    )
    await database.execute(
        "INSERT INTO upload.rates VALUES ('old', ARRAY[now() - interval '61 s']), ('never', '{}')"
    )
    await replica.sweeper.sweep_notes()
    assert await counts(database) == {"intakes": 0, "idempotency_keys": 1, "rates": 1, "open_imports": 1}
    await end_one(database, "completed")
    await replica.sweeper.sweep_notes()
    assert (await counts(database))["open_imports"] == 0


async def test_an_import_that_was_told_to_go_on_is_open_until_that_is_taken_for_lost(
    replicas, upload, database
):
    _, replica = replicas
    import_id = (await upload.form()).json()["id"]
    await processor_says(database, import_id, "failed")
    await upload.client.post(
        f"/api/v1/uploads/{import_id}/retry", headers=bearer(upload.secret, "imports:write")
    )
    for age, open_imports in (("59 minutes", 1), ("61 minutes", 0)):
        await database.execute(f"UPDATE upload.open_imports SET added_at = now() - interval '{age}'")
        await replica.sweeper.sweep_notes()
        assert (await counts(database))["open_imports"] == open_imports
