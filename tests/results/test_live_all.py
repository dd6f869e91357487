"""The stream of all imports of a tenant: what is open first, then each change, whoever wrote it and whenever it was committed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.results.imports import feed as feeds
from services.results.imports import stream as streams
from services.results.imports.feed import Feed
from services.results.imports.states import moment_in, written
from services.results.imports.stream import Wanted, Watches
from shared.platform.auth import authenticator, create_api_key, create_jwt, prefix_of, revoke_api_key
from shared.platform.auth.jwt import CLOCK_SKEW
from shared.platform.database import async_url
from shared.platform.service import Stopping
from tests.results.conftest import Results
from tests.results.given import NOON, Database, cancelled, completed, failed, progressed, uploaded
from tests.results.listening import Listener, listening, serving

Happen = Callable[..., Awaitable[None]]


@pytest.fixture
async def address(results: Results, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Where the running service is."""
    async with serving(results.app, monkeypatch) as url:
        yield url


async def opened(listener: Listener, count: int) -> list[UUID]:
    """The imports that the stream begins with, behind the block that says how to come again."""
    start = await listener.block(1.0)
    assert start is not None
    assert "data" not in start
    assert moment_in(start["id"])
    events = [await listener.next(1.0) for _ in range(count)]
    assert {event["id"] for event in events if event} <= {start["id"]}
    return [UUID(event["data"]["id"]) for event in events if event]


async def test_first_what_is_open_then_each_change(
    results: Results, address: str, database: Database, happen: Happen
) -> None:
    waiting, running, done = uuid4(), uuid4(), uuid4()
    await happen(
        uploaded(waiting),
        uploaded(running, uploaded_at=NOON + timedelta(seconds=1)),
        progressed(running, 30),
        uploaded(done),
        completed(done),
        uploaded(uuid4(), tenant="other"),
    )
    unheard = await database.uploaded_import(uploaded_at=datetime.now(UTC))
    async with listening(results, address, "") as listener:
        assert await opened(listener, 3) == [unheard, running, waiting]
        new = uuid4()
        await happen(uploaded(new), progressed(uuid4(), 1, tenant="other"))
        assert (await listener.of(new))["status"] == "pending"
        await happen(progressed(new, 10))
        assert (await listener.of(new))["rows_processed"] == 10
        await happen(completed(new), cancelled(running))
        assert (await listener.of(new))["status"] == "completed"
        assert (await listener.of(running))["status"] == "cancelled"
        # The upload's event comes late, and nothing of the import is told before it is known what it is.
        await happen(uploaded(unheard))
        assert (await listener.of(unheard))["status"] == "pending"


async def test_only_files_that_are_wanted(results: Results, address: str, happen: Happen) -> None:
    books, other, theirs = uuid4(), uuid4(), uuid4()
    await happen(uploaded(books), uploaded(other, dataset="products"), uploaded(theirs, source="another"))
    async with listening(results, address, "", dataset="books", source="partner") as listener:
        assert await opened(listener, 1) == [books]
        await happen(completed(other), completed(theirs), completed(books))
        event = await listener.next()
    assert event is not None
    assert (event["data"]["id"], event["data"]["status"]) == (str(books), "completed")


async def test_open_imports_of_what_is_wanted_are_told_however_many_others_are_newer(
    results: Results, address: str, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "OPEN_SHOWN", 2)
    books, theirs = uuid4(), uuid4()
    newer = [uploaded(uuid4(), dataset="products", uploaded_at=NOON + timedelta(hours=1)) for _ in range(3)]
    await happen(uploaded(books), uploaded(theirs, source="another"), *newer)
    async with listening(results, address, "", dataset="books", source="partner") as listener:
        assert await opened(listener, 1) == [books]
    async with listening(results, address, "", source="another") as listener:
        assert await opened(listener, 1) == [theirs]


async def test_a_dataset_that_is_none_is_refused(results: Results) -> None:
    answer = await results.get("/imports/events", dataset="nope")
    assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")


async def test_many_changes_are_told_once_however_few_are_kept(
    engine: AsyncEngine, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "STATES_KEPT", 3)
    monkeypatch.setattr(feeds, "LOOK_BACK", timedelta())
    feed = Feed(engine, "acme")
    await happen(*(uploaded(uuid4()) for _ in range(6)))
    assert [(await feed.opening(None, None)).number for _ in range(4)] == [6] * 4


async def test_where_nothing_changes_nothing_is_looked_at_again(
    engine: AsyncEngine, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(engine, "acme")
    await happen(*(uploaded(uuid4()) for _ in range(3)))
    assert (await feed.opening(None, None)).number == 3
    for name in ("OVERLAP", "LONGEST_OVERLAP", "LOOK_BACK"):
        monkeypatch.setattr(feeds, name, timedelta())
    for _ in range(2):
        # All are forgotten by the first of them, and would be news to the second.
        assert (await feed.opening(None, None)).number == 3
        assert feed._standings == {}


async def test_polls_are_rare_where_nothing_is_processed(
    engine: AsyncEngine, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(engine, "acme")
    import_id = uuid4()
    await happen(uploaded(import_id))
    assert feed._pause() == feeds.POLL_SECONDS
    monkeypatch.setattr(feeds, "IDLE_AFTER_SECONDS", -1.0)
    (state,) = (await feed.opening(None, None)).states
    assert feed._pause() == feeds.IDLE_POLL_SECONDS
    with feed.watching(state):
        assert feed._pause() == feeds.POLL_SECONDS
    await happen(progressed(import_id, 10))
    await feed.opening(None, None)
    assert feed._pause() == feeds.POLL_SECONDS
    await happen(completed(import_id))
    await feed.opening(None, None)
    assert feed._pause() == feeds.IDLE_POLL_SECONDS


@pytest.mark.parametrize("is_of_one", [True, False], ids=["one", "all"])
async def test_a_stream_ends_with_its_token(
    results: Results, address: str, happen: Happen, is_of_one: bool
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), progressed(import_id, 10))
    nearly_over = timedelta(seconds=1.5) - CLOCK_SKEW
    token = create_jwt(
        results.secret, tenant="acme", scopes=["imports:read"], audience="penstock", lifetime=nearly_over
    )
    async with listening(results, address, import_id if is_of_one else "", token=token) as listener:
        assert await listener.of(import_id)
        async with asyncio.timeout(4):
            await listener.rest()


@pytest.mark.parametrize("is_of_one", [True, False], ids=["one", "all"])
async def test_a_stream_ends_when_its_api_key_is_revoked(
    *,
    results: Results,
    address: str,
    database_url: str,
    happen: Happen,
    monkeypatch: pytest.MonkeyPatch,
    is_of_one: bool,
) -> None:
    monkeypatch.setattr(authenticator, "CHECK_SECONDS", 0.0)
    import_id = uuid4()
    await happen(uploaded(import_id), progressed(import_id, 10))
    owner = create_async_engine(async_url(database_url))
    async with owner.begin() as connection:
        key = await create_api_key(connection, tenant="acme", scopes=["imports:read"])
    async with listening(results, address, import_id if is_of_one else "", token=key) as listener:
        assert await listener.of(import_id)
        async with owner.begin() as connection:
            await revoke_api_key(connection, prefix_of(key), tenant=None)
        await happen(progressed(import_id, 20))
        told = [event["data"]["rows_processed"] for event in await listener.rest()]
    assert 20 not in told
    await owner.dispose()


async def test_a_tenant_has_so_many_streams_and_no_more(
    results: Results, address: str, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_LISTENERS", 1)
    import_id = uuid4()
    await happen(uploaded(import_id))
    async with listening(results, address, "") as listener:
        await opened(listener, 1)
        for path in ("/imports/events", f"/imports/{import_id}/events"):
            answer = await results.get(path)
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")
        async with listening(results, address, "", tenant="other") as another:
            await opened(another, 0)


async def test_who_comes_again_is_told_what_has_changed_since(
    results: Results, address: str, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CHANGES_AT_ONCE", 2)  # so that there are pages
    monkeypatch.setattr(streams, "LONGEST_OVERLAP", timedelta())
    long_ended, running, still = uuid4(), [uuid4() for _ in range(5)], uuid4()
    await happen(
        uploaded(long_ended), completed(long_ended), *(uploaded(i) for i in running), uploaded(still)
    )
    async with listening(results, address, "") as listener:
        await opened(listener, 6)
        await happen(progressed(still, 10))
        assert await listener.of(still)
        await happen(progressed(still, 20))
        event = await listener.next()
    assert event is not None
    await happen(*(completed(import_id) for import_id in running))
    async with listening(results, address, "", last_event_id=event["id"]) as listener:
        events = [await listener.next(1.0) for _ in range(6)]
        told = {each["data"]["id"]: each["data"]["status"] for each in events if each}
        assert told == {str(still): "processing"} | {str(i): "completed" for i in running}
        ids = [each["id"] for each in events if each]
        assert ids == sorted(ids), "whoever breaks off in the middle misses nothing"
        await happen(failed(still))
        assert (await listener.of(still))["status"] == "failed"


@pytest.mark.parametrize("overlap", [timedelta(seconds=5), timedelta()], ids=["at once", "by a long look"])
async def test_a_change_that_is_committed_after_a_later_one_is_told(
    *,
    results: Results,
    address: str,
    database: Database,
    happen: Happen,
    monkeypatch: pytest.MonkeyPatch,
    overlap: timedelta,
) -> None:
    monkeypatch.setattr(feeds, "OVERLAP", overlap)
    monkeypatch.setattr(feeds, "LOOK_BACK", timedelta(seconds=1))
    early, late = uuid4(), uuid4()
    await happen(uploaded(early), uploaded(late))
    async with listening(results, address, "") as listener:
        await opened(listener, 2)
        async with database.connection.transaction():
            await database.connection.execute(
                "UPDATE results.imports SET status = 'processing', rows_processed = 5 WHERE import_id = $1",
                early,
            )
            await happen(progressed(late, 10))
            assert (await listener.of(late))["rows_processed"] == 10
        assert (await listener.of(early))["rows_processed"] == 5


async def test_a_sign_of_life_each_second_while_something_runs(
    results: Results, address: str, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "QUIET_SECONDS", 30.0)
    import_id = uuid4()
    await happen(uploaded(import_id))
    async with listening(results, address, "") as listener:
        await opened(listener, 1)
        with pytest.raises(TimeoutError):
            await listener.block(1.5)
    async with listening(results, address, "") as listener:
        await opened(listener, 1)
        await happen(progressed(import_id, 10))
        await listener.of(import_id)
        for count in range(2):
            assert await listener.block(1.2) == {}
            assert listener.comments >= count + 1


async def test_a_process_that_stops_sends_everybody_home(
    results: Results, address: str, happen: Happen
) -> None:
    async with listening(results, address, "") as listener:
        await opened(listener, 0)
        results.stopping.set()
        async with asyncio.timeout(0.5):
            assert await listener.rest() == []


async def frames_of(watches: Watches, count: int) -> Any:
    events = watches.follow_all("acme", Wanted(), None)
    return events, [await anext(events) for _ in range(count)]


async def test_who_does_not_read_is_told_the_newest_only_or_sent_home(
    engine: AsyncEngine, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "STATES_KEPT", 3)
    watches = Watches(engine, Stopping())
    imports = [uuid4() for _ in range(6)]
    async with watches.running():
        slow, _ = await frames_of(watches, 1)
        gone, _ = await frames_of(watches, 1)
        await happen(uploaded(imports[0]))
        for events in (slow, gone):
            assert str(imports[0]).encode() in await anext(events)
        await happen(*(progressed(imports[0], rows) for rows in range(10, 50, 10)))
        await asyncio.sleep(0.7)
        frame = await anext(slow)
        assert frame.count(b"event: import") == 1
        assert b'"rows_processed":40' in frame
        await happen(*(uploaded(import_id) for import_id in imports[1:]))
        await asyncio.sleep(0.7)
        assert [frame async for frame in gone] == []
        await slow.aclose()


def test_the_moment_of_an_event() -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
    assert moment_in(written(moment)) == moment
    for nonsense in (
        None,
        "",
        "1-processing-30",
        "2026-03-01",
        "2026-03-01T12:00:00",
        "0001-01-01T00:00:00+14:00",
    ):
        assert moment_in(nonsense) is None
    assert moment_in("0001-01-01T00:00:00Z") == datetime(2000, 1, 1, tzinfo=UTC)
