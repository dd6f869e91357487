"""Server-Sent Events, from a real server: live, shared, and ending when they must."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from services.results.imports.resources import Import, links_of
from services.results.imports.stream import POLL_SECONDS, EventStream, Watches
from shared.platform.bus import Bus
from shared.platform.service import Stopping
from tests.results.conftest import Results
from tests.results.given import (
    NOON,
    SHA256,
    Database,
    cancelled,
    completed,
    failed,
    headers,
    progressed,
    resumed,
    uploaded,
)

Happen = Callable[..., Awaitable[None]]


@asynccontextmanager
async def serving(app: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """`app` on a port of its own, its lifespan left to the test."""
    monkeypatch.setattr(uvicorn.Server, "capture_signals", nullcontext)
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await task


@pytest.fixture
async def address(results: Results, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Where the running service is."""
    async with serving(results.app, monkeypatch) as url:
        yield url


class Listener:
    """One client of `/events`: what it has been told, and when (seconds of the monotonic clock)."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self, seconds: float = 5.0) -> dict[str, Any] | None:
        """The next event; None at the stream's end."""
        event: dict[str, Any] = {}
        async with asyncio.timeout(seconds):
            async for line in self._lines:
                if not line:
                    return event
                name, _, value = line.partition(": ")
                event[name] = json.loads(value) if name == "data" else value
        return None

    async def rest(self) -> list[dict[str, Any]]:
        events = []
        while event := await self.next():
            events.append(event)
        return events


@asynccontextmanager
async def listening(results: Results, address: str, import_id: UUID) -> AsyncIterator[Listener]:
    async with (
        httpx.AsyncClient(base_url=address, headers=headers(results.secret), timeout=10) as client,
        client.stream("GET", f"/api/v1/imports/{import_id}/events") as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Listener(response)


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
            began = time.monotonic()
            event = await listener.next()
            assert event is not None
            assert event["data"]["rows_processed"] == 10
            assert 0.5 < time.monotonic() - began < 1.1


async def test_changes_that_another_process_heard_of_are_polled(
    results: Results, address: str, happen: Happen
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id))
    async with listening(results, address, import_id) as listener:
        await listener.next()
        await happen(progressed(import_id, 50), completed(import_id))
        began = time.monotonic()
        *_, last = await listener.rest()
    assert last["data"]["status"] == "completed"
    assert time.monotonic() - began < 0.9


async def test_streams_end_when_the_process_is_told_to_stop(
    results: Results, address: str, happen: Happen
) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id))
    async with listening(results, address, import_id) as listener:
        await listener.next()
        began = time.monotonic()
        results.stopping.set()
        await listener.rest()
    assert time.monotonic() - began < 0.4


async def test_a_stream_needs_a_token_in_the_header(results: Results, address: str, happen: Happen) -> None:
    import_id = uuid4()
    await happen(uploaded(import_id))
    token = headers(results.secret)["Authorization"].removeprefix("Bearer ")
    async with httpx.AsyncClient(base_url=address) as client:
        answer = await client.get(f"/api/v1/imports/{import_id}/events", params={"token": token})
    assert answer.status_code == 401


def shown(import_id: UUID, rows: int = 0, status: Any = "processing", run: int = 1) -> Import:
    counts = dict.fromkeys(("inserted", "updated", "unchanged", "duplicate", "rejected"), 0)
    return Import(
        id=import_id, dataset="books", source=None, file_name="books.csv", file_size=1, sha256=SHA256,
        status=status, dry_run=False, run=run, rows_detected=100, rows_processed=rows, percent_complete=rows,
        **{f"rows_{name}": count for name, count in counts.items()}, estimated_seconds_left=None,
        error_code=None, error_message=None, uploaded_at=NOON, processing_started_at=NOON,
        processing_completed_at=None, links=links_of(import_id),
    )  # fmt: skip


class Source:
    """A read model of one import that counts how often it is asked."""

    def __init__(self) -> None:
        self.id = uuid4()
        self.now = shown(self.id)
        self.asked = 0
        self.broken = False

    async def load(self, tenant: str, import_id: UUID) -> Import:
        self.asked += 1
        if self.broken:
            raise ConnectionError("the database is away")
        return self.now


async def told(watches: Watches, source: Source) -> list[dict[str, Any]]:
    frames = [frame async for frame in watches.follow("acme", source.now)]
    return [json.loads(frame.split(b"data: ")[1]) for frame in frames]


async def test_all_listeners_of_an_import_share_one_poll() -> None:
    source = Source()
    watches = Watches(source.load, Stopping())
    async with watches.running():
        listeners = [asyncio.create_task(told(watches, source)) for _ in range(200)]
        began = time.monotonic()
        while source.asked < 2:
            await asyncio.sleep(0.05)
        polls = (time.monotonic() - began) / POLL_SECONDS
        assert source.asked <= polls + 1, "one poll each half second, not one for each listener"
        assert watches.watched == 1
        source.now = shown(source.id, 100, "completed")
        watches.wake("acme", source.id)
        ends = await asyncio.gather(*listeners)
    assert {events[-1]["status"] for events in ends} == {"completed"}
    assert watches.watched == 0


async def test_nobody_polls_after_the_last_listener_has_gone() -> None:
    source = Source()
    watches = Watches(source.load, Stopping())
    async with watches.running():
        listener = asyncio.create_task(told(watches, source))
        await asyncio.sleep(0.1)
        listener.cancel()
        await asyncio.wait([listener])
        assert watches.watched == 0
        await asyncio.sleep(0.6)
        assert source.asked == 0


async def test_a_client_that_disconnects_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source()
    watches = Watches(source.load, Stopping())
    app = FastAPI()

    @app.get("/events")
    async def follow() -> EventStream:
        return EventStream(watches.follow("acme", source.now))

    async with watches.running(), serving(app, monkeypatch) as url:
        async with httpx.AsyncClient(base_url=url) as client, client.stream("GET", "/events") as response:
            await Listener(response).next()
            assert watches.watched == 1
        async with asyncio.timeout(0.5):
            while watches.watched:
                await asyncio.sleep(0.01)


async def test_a_database_that_is_away_for_a_while_ends_no_stream() -> None:
    source = Source()
    watches = Watches(source.load, Stopping())
    async with watches.running():
        source.broken = True
        listener = asyncio.create_task(told(watches, source))
        await asyncio.sleep(1.1)
        source.broken, source.now = False, shown(source.id, 100, "completed")
        events = await listener
    assert [event["status"] for event in events] == ["processing", "processing", "completed"]


async def test_a_stream_never_goes_backwards() -> None:
    source = Source()
    source.now = shown(source.id, 50)
    watches = Watches(source.load, Stopping())
    async with watches.running():
        listener = asyncio.create_task(told(watches, source))
        await asyncio.sleep(0.1)
        for stale in (shown(source.id, 20), shown(source.id, 0, "pending"), shown(source.id, 60)):
            source.now = stale
            watches.wake("acme", source.id)
            await asyncio.sleep(0.1)
        # A retry's counts may be lower; what is still heard of the run before is then old.
        for state in (shown(source.id, 10, run=2), shown(source.id, 70, "failed")):
            source.now = state
            watches.wake("acme", source.id)
            await asyncio.sleep(0.1)
        source.now = shown(source.id, 100, "completed", run=2)
        watches.wake("acme", source.id)
        events = await listener
    assert [(event["run"], event["rows_processed"]) for event in events] == [
        (1, 50),
        (1, 60),
        (2, 10),
        (2, 100),
    ]
