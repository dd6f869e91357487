"""Server-Sent Events of one import, from a real server: live, shared, and ending when they must."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event as database_event
from sqlalchemy.ext.asyncio import AsyncEngine

from services.results.imports import queries
from services.results.imports.feed import POLL_SECONDS
from services.results.imports.states import State, state_of
from services.results.imports.stream import EventStream, Watches
from shared.platform.bus import Bus
from shared.platform.service import Stopping
from tests.results.conftest import Results
from tests.results.given import (
    Database,
    cancelled,
    completed,
    failed,
    headers,
    progressed,
    resumed,
    uploaded,
)
from tests.results.listening import Listener, listening, serving
from tests.results.timing import timed

Happen = Callable[..., Awaitable[None]]


@pytest.fixture
async def address(results: Results, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Where the running service is."""
    async with serving(results.app, monkeypatch) as url:
        yield url


async def test_from_the_upload_to_the_end(
    results: Results, address: str, database: Database, database_url: str
) -> None:
    import_id = await database.uploaded_import()
    processor = Bus("processor", database_url=database_url)
    await processor.start()
    try:
        async with listening(results, address, import_id) as listener:
            first = await listener.next(1.0)
            assert first is not None
            assert (first["event"], first["data"]["status"]) == ("import", "pending")
            assert first["data"]["links"]["self"] == f"/api/v1/imports/{import_id}"

            await processor.announce(progressed(import_id, 30))
            while (event := await listener.next()) and event["data"]["status"] == "pending":
                pass
            assert event is not None
            assert (event["data"]["rows_processed"], event["data"]["percent_complete"]) == (30, 30.0)

            engine = processor._engine
            assert engine is not None
            async with engine.begin() as connection:
                await processor.publish(connection, completed(import_id))
            *_, last = await listener.rest()
            assert (last["data"]["status"], last["data"]["percent_complete"]) == ("completed", 100.0)
    finally:
        await processor.stop()


async def test_a_live_event_wakes_the_stream_before_the_poll(
    results: Results, address: str, database: Database, database_url: str
) -> None:
    import_id = await database.uploaded_import()
    processor = Bus("processor", database_url=database_url)
    await processor.start()
    delays = []
    try:
        async with listening(results, address, import_id) as listener:
            await listener.next()
            for rows in range(10, 90, 10):
                await asyncio.sleep(0.02 * rows / 10)  # anywhere between two polls
                sent = time.monotonic()
                await processor.announce(progressed(import_id, rows))
                while (event := await listener.next()) and event["data"]["rows_processed"] < rows:
                    pass
                delays.append(time.monotonic() - sent)
    finally:
        await processor.stop()
    assert sorted(delays)[len(delays) // 2] < 0.15, delays


async def test_a_live_message_that_is_no_event_deafens_nobody(
    results: Results, address: str, database: Database, database_url: str
) -> None:
    import_id = await database.uploaded_import()
    await database.connection.execute("SELECT pg_notify('penstock_live', 'no event')")
    processor = Bus("processor", database_url=database_url)
    await processor.start()
    try:
        async with listening(results, address, import_id) as listener:
            await processor.announce(progressed(import_id, 20))
            async with asyncio.timeout(3):
                while (event := await listener.next()) and event["data"]["rows_processed"] != 20:
                    pass
    finally:
        await processor.stop()


@pytest.mark.parametrize(
    ("end", "told"), [(failed, "1-failed-40"), (cancelled, "1-cancelled-50"), (completed, "1-completed-100")]
)
async def test_an_ended_import_tells_its_end_and_closes(
    results: Results, address: str, happen: Happen, end: Any, told: str
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), end(import_id))
    async with listening(results, address, import_id) as listener:
        (only,) = await listener.rest()
    assert only["id"] == told
    assert only["data"]["status"] in told


async def test_a_retried_import_can_be_followed_again(results: Results, address: str, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), failed(import_id), resumed(import_id, 2))
    async with listening(results, address, import_id) as listener:
        first = await listener.next()
        await happen(progressed(import_id, 20, run=2), completed(import_id, run=2))
        *_, last = await listener.rest()
    assert first is not None
    assert (first["id"], last["id"]) == ("2-processing-40", "2-completed-100")


async def test_a_quiet_import_is_told_every_second(results: Results, address: str, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), progressed(import_id, 10))
    async with listening(results, address, import_id) as listener:
        await listener.next()
        for _ in range(2):
            async with timed() as wait:
                event = await listener.next()
            assert event is not None
            assert event["data"]["rows_processed"] == 10
            assert 0.5 < wait.seconds < 1.1 + wait.lag


async def test_changes_that_another_process_heard_of_are_polled(
    results: Results, address: str, happen: Happen
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id))
    async with listening(results, address, import_id) as listener:
        await listener.next()
        await happen(progressed(import_id, 50), completed(import_id))
        async with timed() as wait:
            *_, last = await listener.rest()
    assert last["data"]["status"] == "completed"
    assert wait.seconds < 0.9 + wait.lag


async def test_streams_end_when_the_process_is_told_to_stop(
    results: Results, address: str, happen: Happen
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id))
    async with listening(results, address, import_id) as listener:
        await listener.next()
        async with timed() as wait:
            results.stopping.set()
            await listener.rest()
    assert wait.seconds < 0.4 + wait.lag


async def test_a_stream_needs_a_token_in_the_header(results: Results, address: str, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id))
    token = headers(results.secret)["Authorization"].removeprefix("Bearer ")
    async with httpx.AsyncClient(base_url=address) as client:
        answer = await client.get(f"/api/v1/imports/{import_id}/events", params={"token": token})
    assert answer.status_code == 401


async def test_who_comes_again_is_told_the_present_state_at_once(
    results: Results, address: str, happen: Happen
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), progressed(import_id, 30))
    async with listening(results, address, import_id) as listener:
        event = await listener.next(1.0)
        assert event is not None
        assert int(event["retry"]) >= 1000
    await happen(progressed(import_id, 60))
    for last_event_id in (event["id"], "1-processing-60", "nonsense"):
        async with listening(results, address, import_id, last_event_id=last_event_id) as listener:
            again = await listener.next(1.0)
            assert again is not None
            assert again["data"]["rows_processed"] == 60


async def test_who_was_told_the_end_is_told_not_to_come_again(
    results: Results, address: str, happen: Happen
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), failed(import_id))
    given = headers(results.secret) | {"Last-Event-ID": "1-failed-40"}
    async with httpx.AsyncClient(base_url=address, headers=given) as client:
        assert (await client.get(f"/api/v1/imports/{import_id}/events")).status_code == 204
    await happen(resumed(import_id, 2))
    async with listening(results, address, import_id, last_event_id="1-failed-40") as listener:
        event = await listener.next(1.0)
    assert event is not None
    assert event["data"]["run"] == 2


async def present(engine: AsyncEngine, import_id: UUID) -> State:
    async with engine.connect() as connection:
        return state_of(await queries.import_row(connection, "acme", import_id), datetime.now(UTC))


async def told(watches: Watches, current: State) -> list[dict[str, Any]]:
    frames = [frame async for frame in watches.follow("acme", current)]
    return [json.loads(frame.split(b"data: ")[1]) for frame in frames]


@contextmanager
def counted(engine: AsyncEngine) -> Iterator[list[float]]:
    """When something was looked for in the read model."""
    looks: list[float] = []

    def note(*arguments: Any) -> None:
        if "changed_at" in arguments[2]:
            looks.append(time.monotonic())

    database_event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield looks
    database_event.remove(engine.sync_engine, "before_cursor_execute", note)


async def test_all_listeners_of_a_tenant_share_one_poll(engine: AsyncEngine, happen: Happen) -> None:
    imports = [uuid4() for _ in range(5)]
    await happen(*(uploaded(import_id) for import_id in imports))
    states = [await present(engine, import_id) for import_id in imports]
    watches = Watches(engine, Stopping())
    async with watches.running():
        with counted(engine) as looks:
            listeners = [asyncio.create_task(told(watches, states[number % 5])) for number in range(200)]
            await asyncio.sleep(1.2)
            assert len(looks) <= 1.2 / POLL_SECONDS + 1, (
                "one look each half second, not one for each listener"
            )
            assert watches.watched == 1
        await happen(*(completed(import_id) for import_id in imports))
        ends = await asyncio.gather(*listeners)
    assert {events[-1]["status"] for events in ends} == {"completed"}
    assert watches.watched == 0


async def test_nobody_polls_after_the_last_listener_has_gone(engine: AsyncEngine, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id))
    watches = Watches(engine, Stopping())
    async with watches.running():
        listener = asyncio.create_task(told(watches, await present(engine, import_id)))
        await asyncio.sleep(0.1)
        listener.cancel()
        await asyncio.wait([listener])
        assert watches.watched == 0
        with counted(engine) as looks:
            await asyncio.sleep(0.7)
        assert looks == []


async def test_a_client_that_disconnects_is_forgotten(
    engine: AsyncEngine, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id))
    current = await present(engine, import_id)
    watches = Watches(engine, Stopping())
    app = FastAPI()

    @app.get("/events")
    async def follow() -> EventStream:
        return EventStream(watches.follow("acme", current))

    async with watches.running(), serving(app, monkeypatch) as url:
        async with httpx.AsyncClient(base_url=url) as client, client.stream("GET", "/events") as response:
            await Listener(response).next()
            assert watches.watched == 1
        async with asyncio.timeout(0.5):
            while watches.watched:
                await asyncio.sleep(0.01)


async def test_a_database_that_is_away_for_a_while_ends_no_stream(
    engine: AsyncEngine, database: Database, happen: Happen
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), progressed(import_id, 10))
    watches = Watches(engine, Stopping())
    async with watches.running():
        listener = asyncio.create_task(told(watches, await present(engine, import_id)))
        await database.connection.execute("ALTER TABLE results.imports RENAME TO away")
        await asyncio.sleep(1.1)
        await database.connection.execute("ALTER TABLE results.away RENAME TO imports")
        await happen(completed(import_id))
        events = await listener
    assert [event["status"] for event in events] == ["processing", "processing", "completed"]


async def test_a_stream_never_goes_backwards(engine: AsyncEngine, database: Database, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id), progressed(import_id, 50))
    watches = Watches(engine, Stopping())

    async def becomes(**values: Any) -> None:
        changes = ", ".join(f"{name} = ${number}" for number, name in enumerate(values, 2))
        await database.connection.execute(
            f"UPDATE results.imports SET {changes} WHERE import_id = $1", import_id, *values.values()
        )
        watches.wake("acme", import_id)
        await asyncio.sleep(0.2)

    async with watches.running():
        listener = asyncio.create_task(told(watches, await present(engine, import_id)))
        await asyncio.sleep(0.1)
        await becomes(rows_processed=20)
        await becomes(rows_processed=0, status="pending")
        await becomes(rows_processed=60, status="processing")
        # A retry's counts may be lower; what is still heard of the run before is then old.
        await becomes(run=2, rows_processed=10)
        await becomes(run=1, rows_processed=70)
        await happen(completed(import_id, run=2))
        events = await listener
    seen = dict.fromkeys((event["run"], event["rows_processed"]) for event in events)
    assert list(seen) == [(1, 50), (1, 60), (2, 10), (2, 100)]
