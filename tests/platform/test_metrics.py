"""What `/metrics` shows, how it is asked, and that the page about it agrees."""

import asyncio
from functools import partial
from pathlib import Path
from time import perf_counter

import httpx
import pytest
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from penstock.registry import NAMES, build
from shared.contracts.topology import QUEUES
from shared.platform.database import engine_for, pool_figures
from shared.platform.objects import ObjectMissing, Objects, StoreUnavailable
from shared.platform.service import Stopping, compose
from shared.platform.settings import ProcessSettings
from shared.platform.telemetry import exposition
from shared.platform.telemetry.described import described, labels
from shared.platform.telemetry.exposition import Exposition
from shared.platform.telemetry.figures import (
    AT_SCRAPE,
    COUNTED,
    DATABASE_CONNECTIONS,
    IMPORTS_OPEN,
    QUEUE_MESSAGES,
    REGISTRY,
)
from tests.platform.scraping import Scraped, scrape, scraped
from tests.platform.serving import served, service_of

METRICS = Path(__file__).parents[2] / "deploy" / "METRICS.md"


def kept() -> Scraped:
    """What this process has counted so far, for all tests before."""
    return Scraped(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
        }
    )


def risen(before: Scraped, name: str, **given: str) -> float:
    return (kept().value(name, **given) or 0) - (before.value(name, **given) or 0)


def test_the_page_of_figures_is_made_from_the_declarations():
    assert METRICS.read_text() == described(), (
        "python -m shared.platform.telemetry.described > deploy/METRICS.md"
    )


def test_a_figure_has_a_name_of_ours_a_sentence_and_no_label_without_bounds():
    for name, of_labels in labels().items():
        assert name.startswith("penstock_")
        assert not of_labels & {"tenant", "import_id", "path", "endpoint", "url"}
    for figure in AT_SCRAPE:
        assert figure.meaning.endswith("."), figure.name
    for figure in COUNTED:
        assert figure._documentation.endswith("."), figure._name
        kind = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}[type(figure)]
        assert figure._type == kind


def test_a_sample_has_the_labels_of_its_figure():
    with pytest.raises(ValueError, match="penstock_queue_messages has the labels"):
        QUEUE_MESSAGES.of(1, "a.queue")


def page_of(**sources) -> Exposition:
    return Exposition(sources)


def reading(*samples):
    async def read():
        return samples

    return read


async def test_what_is_read_stands_beside_what_is_counted():
    page = page_of(
        a=reading(IMPORTS_OPEN.of(3, "pending"), QUEUE_MESSAGES.of(1, "q", "waiting")),
        b=reading(IMPORTS_OPEN.of(4, "processing"), QUEUE_MESSAGES.of(2, "q", "waiting")),
    )
    content, media_type = await page.text("")
    found = scraped(content.decode())
    assert found.by("penstock_imports_open", "status") == {"pending": 3, "processing": 4}
    assert found.value("penstock_queue_messages", queue="q", state="waiting") == 1  # of two, the first
    assert found.value("process_resident_memory_bytes") > 1e6
    assert media_type.startswith("text/plain")
    assert b"_created" not in content


async def test_openmetrics_is_given_to_who_asks_for_it():
    content, media_type = await page_of(a=reading(IMPORTS_OPEN.of(3, "pending"))).text(
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    )
    assert media_type.startswith("application/openmetrics-text")
    names = {family.name for family in text_string_to_metric_families(content.decode())}
    assert {"penstock_imports_open", "process_open_fds"} <= names


async def test_a_source_that_fails_or_hangs_is_left_out_and_told(monkeypatch):
    async def failing():
        raise ConnectionError("the database is away")

    async def hanging():
        await asyncio.Event().wait()

    monkeypatch.setattr(exposition, "READ_TIMEOUT_SECONDS", 0.05)
    page = page_of(failing=failing, hanging=hanging, good=reading(IMPORTS_OPEN.of(3, "pending")))
    before = kept()
    found = scraped((await page.text(""))[0].decode())
    assert found.by("penstock_imports_open", "status") == {"pending": 3}
    for source in ("failing", "hanging"):
        assert risen(before, "penstock_scrape_failures_total", source=source) == 1
        assert found.value("penstock_scrape_failures_total", source=source) >= 1
    assert risen(before, "penstock_scrape_failures_total", source="good") == 0


async def test_servers_are_asked_once_however_many_ask(monkeypatch):
    monkeypatch.setattr(exposition, "REMEMBERED_SECONDS", 3600.0)
    asked = []

    async def counting():
        asked.append(1)
        await asyncio.sleep(0)
        return [IMPORTS_OPEN.of(len(asked), "pending")]

    page = page_of(a=counting)
    answers = await asyncio.gather(*(page.text("") for _ in range(20)))
    assert len(asked) == 1
    assert {
        scraped(content.decode()).value("penstock_imports_open", status="pending") for content, _ in answers
    } == {1}


async def test_a_process_answers_without_a_token_and_does_not_describe_it():
    service = service_of(APIRouter())
    assert "/metrics" not in compose([service], ProcessSettings()).openapi()["paths"]
    with served(service) as door:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{door.url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"


async def test_four_services_in_one_process_show_each_figure_once(environment):
    app = compose([build(name, Stopping()) for name in NAMES])
    transport = httpx.ASGITransport(app)
    client = httpx.AsyncClient(transport=transport, base_url="http://all")
    async with app.router.lifespan_context(app), client:
        found = scraped((await client.get("/metrics")).text)  # which refuses a series that comes twice
    queues = {queue.name for queue in QUEUES}
    for state in ("waiting", "in_hand", "scheduled", "dead"):
        assert found.by("penstock_queue_messages", "queue", state=state).keys() == queues
    assert found.by("penstock_consumer_idle_seconds", "queue").keys() == queues
    assert found.by("penstock_processes", "service") == dict.fromkeys(NAMES, 1)
    assert found.by("penstock_outbox_lag_seconds", "service") == dict.fromkeys(NAMES, 0)
    assert found.by("penstock_database_connections", "service", state="limit").keys() == set(NAMES)
    assert found.value("penstock_store_free_bytes") > 0
    shown = {name for name, _ in found.series}
    assert {figure.name for figure in AT_SCRAPE} <= shown


async def test_requests_are_counted_by_route_and_status():
    routes = APIRouter()

    @routes.get("/things/{number}")
    async def thing(number: int) -> Response:
        return Response(status_code=200 if number else 418)

    @routes.get("/crash")
    async def crash() -> None:
        raise RuntimeError

    @routes.get("/live")
    async def live() -> StreamingResponse:
        async def events():
            yield b"data: 1\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    before = kept()
    with served(service_of(routes)) as door:
        async with httpx.AsyncClient(trust_env=False) as client:
            for path in (
                "things/1",
                "things/2",
                "things/0",
                "things/x",
                "crash",
                "live",
                "made/up",
                "made-up",
            ):
                await client.get(f"{door.url}/{path}")
        found = await scrape(door.url)
    counted = {
        (route, status): risen(
            before, "penstock_http_request_seconds_count", method="GET", route=route, status=status
        )
        for route, status in (
            ("/things/{number}", "200"),
            ("/things/{number}", "418"),
            ("/things/{number}", "422"),
            ("/crash", "500"),
            ("none", "404"),
        )
    }
    assert list(counted.values()) == [2, 1, 1, 1, 2]
    assert "/live" not in found.by("penstock_http_request_seconds_count", "route", method="GET")
    assert not any("made" in route for route in found.by("penstock_http_request_seconds_count", "route"))


async def test_the_pool_is_shown_as_it_is_used(database_url):
    engine = engine_for(database_url, "upload", pool_size=2, max_overflow=1)

    async def states():
        return {sample.labels[1]: sample.value for sample in await read()}

    read = pool_figures("upload", engine)
    assert await states() == {"in_use": 0, "idle": 0, "limit": 3}
    async with engine.connect():
        async with engine.connect():
            assert await states() == {"in_use": 2, "idle": 0, "limit": 3}
        assert await states() == {"in_use": 1, "idle": 1, "limit": 3}
    [first, *_] = await read()
    assert first.figure is DATABASE_CONNECTIONS
    await engine.dispose()


async def test_the_store_is_measured_by_operation_and_outcome(tmp_path):
    def count(operation: str, outcome: str) -> float:
        return risen(before, "penstock_store_seconds_count", operation=operation, outcome=outcome)

    objects = Objects(f"file://{tmp_path}/store")
    before = kept()
    await objects.put_whole("a/b", b"hello")
    assert await objects.read("a/b", 0, 5) == b"hello"
    with pytest.raises(ObjectMissing):
        await objects.read("a/c", 0, 5)
    with pytest.raises(StoreUnavailable):
        await objects.put_whole("a/b/c", b"below a file")
    await objects.delete("a/b")
    assert (await objects.check()).ok
    measured = [
        ("put", "ok"),
        ("put", "failed"),
        ("read", "ok"),
        ("read", "missing"),
        ("delete", "ok"),
        ("check", "ok"),
    ]
    assert [count(*each) for each in measured] == [1] * 6
    [free] = await objects.figures()
    assert free.value > 0


async def test_the_store_is_not_blamed_for_who_sends(tmp_path):
    objects = Objects(f"file://{tmp_path}/store")
    sum_of = partial(risen, kept(), "penstock_store_seconds_sum", operation="put", outcome="ok")
    before, waited = kept(), 0.0

    async def slowly(pieces: int, then: type[Exception] | None = None):
        nonlocal waited
        for _ in range(pieces):
            begun = perf_counter()
            await asyncio.sleep(0.05)
            waited += perf_counter() - begun
            yield b"x" * 400_000
        if then:
            raise then

    begun = perf_counter()
    await objects.put("small", slowly(1))
    await objects.put("in/parts", slowly(3))
    assert 0 < sum_of() <= perf_counter() - begun - waited
    with pytest.raises(ZeroDivisionError):
        await objects.put("refused", slowly(2, ZeroDivisionError))
    leaving = asyncio.create_task(objects.put("broken/off", slowly(1000)))
    await asyncio.sleep(0.1)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert risen(before, "penstock_store_seconds_count", operation="put", outcome="ok") == 2
    assert risen(before, "penstock_store_seconds_count", operation="put", outcome="failed") == 0
