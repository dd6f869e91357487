"""One file goes through four processes on RabbitMQ: their figures say what happened, and one trace tells all of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic

import pytest

from shared.contracts.topology import QUEUES
from tests.e2e.stack import Stack, until
from tests.notifier.receiver import Received, receiving
from tests.platform.collecting import Collected, Collector, collecting
from tests.platform.scraping import scrape

BOOKS = """title,author,isbn,publication_year
One,Jürgen Groß,978-3-522-17750-4,1999
Twice,Ann O'Nym,3-522-17750-9,2001
Wrong digit,B. Ooks,978-3-522-17750-9,2001
Too few,cells
,No Title,0-306-40615-2,1980
Good one,Last Author,0-306-40615-2,1980
"""
SECRET = "Swordfish"
CRASHING = """
    CREATE FUNCTION data.crash() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'not %, of all books', NEW.title USING ERRCODE = 'internal_error'; END
    $$
"""
CRASH = "CREATE TRIGGER crash BEFORE INSERT ON data.books FOR EACH ROW EXECUTE FUNCTION data.crash()"


@pytest.fixture
def collector():
    with collecting() as running:
        yield running


@pytest.fixture
async def stack(collector, database_url, rabbit_url, tmp_path):
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "PENSTOCK_SENTRY_DSN": collector.dsn,
    }
    made = Stack(tmp_path, database_url, rabbit_url, settings)
    try:
        yield await made.started()
    finally:
        await made.close()


async def test_a_file_can_be_followed_through_all_processes(stack, collector, tmp_path):
    books = tmp_path / "books.csv"
    books.write_text(BOOKS, encoding="utf-8")
    async with receiving() as receiver:
        await stack.webhook(receiver.url, "import.completed")
        accepted = await stack.upload(books, "books")
        await stack.finished(accepted["id"])
        [delivery] = await receiver.wait_for(1)

        await eventually(partial(figures_say_what_happened, stack))
        trace = await one_trace_tells_it(stack, collector, delivery)
        await log_lines_carry_its_id(stack, trace)
        await a_crash_is_reported(stack, collector, tmp_path)


async def eventually(agrees: Callable[[], Awaitable[None]], seconds: float = 30) -> None:
    """What has happened is counted a moment later, and what is read is remembered for 2 s."""
    end = monotonic() + seconds
    while True:
        try:
            return await agrees()
        except AssertionError:
            if monotonic() > end:
                raise
            await asyncio.sleep(0.5)


async def figures_say_what_happened(stack: Stack) -> None:
    upload, processor, results, notifier = [await scrape(stack.base(name)) for name in stack.names]

    assert upload.value(
        "penstock_http_request_seconds_count", method="POST", route="/api/v1/uploads", status="202"
    ) == 1  # fmt: skip
    assert upload.value("penstock_store_seconds_count", operation="put", outcome="ok") == 1
    assert upload.value("penstock_store_free_bytes") > 0

    assert processor.by("penstock_imports_total", "status", dataset="books") == {"completed": 1}
    assert processor.by("penstock_records_total", "outcome", dataset="books") == {
        "inserted": 2,
        "duplicate": 1,
        "rejected": 3,
    }
    assert processor.by("penstock_row_errors_total", "code", dataset="books") == {
        "duplicate_key": 1,
        "isbn_invalid": 1,
        "missing_cell": 1,
        "value_missing": 1,
    }
    [(slices,)] = await stack.rows("SELECT slice FROM processor.imports")
    assert processor.value("penstock_slice_seconds_count", dataset="books") == slices > 0
    assert processor.by("penstock_imports_open", "status") == {"pending": 0, "processing": 0}
    assert processor.value("penstock_import_oldest_seconds") == 0

    assert notifier.by("penstock_webhook_attempts_total", "result") == {"succeeded": 1}
    assert notifier.value("penstock_event_to_delivery_seconds_count") == 1
    assert 0 < notifier.value("penstock_event_to_delivery_seconds_sum") < 60
    assert notifier.value("penstock_deliveries_past_due") == 0
    assert notifier.value("penstock_deliveries_past_due_seconds") == 0

    for name, figures in zip(stack.names, (upload, processor, results, notifier), strict=True):
        mine = {queue.name for queue in QUEUES if queue.service == name}
        assert figures.by("penstock_queue_messages", "queue", state="dead") == dict.fromkeys(mine, 0), name
        assert figures.by("penstock_queue_messages", "queue", state="scheduled").keys() == mine
        assert figures.by("penstock_queue_oldest_seconds", "queue").keys() == mine
        assert figures.by("penstock_consumer_idle_seconds", "queue").keys() == mine
        assert figures.by("penstock_outbox_lag_seconds", "service").keys() == {name}
        assert figures.by("penstock_processes", "service") == {name: 1}
        assert figures.by("penstock_build", "service") == {name: 1}
        connections = figures.by("penstock_database_connections", "state", service=name)
        assert connections.keys() == {"in_use", "idle", "limit"}
        assert connections["limit"] >= connections["in_use"] + connections["idle"]
        assert figures.by("penstock_scrape_failures_total", "source") == {}
    # As many as there were for it; canaries beside them are known as such.
    handled = processor.value("penstock_messages_total", queue="processor.imports", outcome="handled")
    canaries = processor.value("penstock_canary_seconds_count", queue="processor.imports") or 0
    assert handled - canaries == 2  # import.uploaded and one slice.process


async def one_trace_tells_it(stack: Stack, collector: Collector, delivery: Received) -> str:
    _, trace, sender, _ = delivery.headers["traceparent"].split("-")
    wanted = {
        ("penstock-upload", "POST /api/v1/uploads"),
        ("penstock-upload", "store put"),
        ("penstock-upload", "publish import.uploaded"),
        ("penstock-processor", "process import.uploaded"),
        ("penstock-processor", "publish slice.process"),
        ("penstock-processor", "process slice.process"),
        ("penstock-processor", "slice"),
        ("penstock-processor", "store read"),
        ("penstock-processor", "publish import.completed"),
        ("penstock-results", "process import.completed"),
        ("penstock-notifier", "process import.completed"),
        ("penstock-notifier", "deliver import.completed"),
    }

    def seen() -> set[tuple[str, str]]:
        return {(span.service, span.name) for span in collector.of_trace(trace)}

    async def complete() -> bool:
        return wanted <= seen()

    await until(complete, 30, what=lambda: f"not seen: {wanted - seen()}; seen: {seen()}")
    spans = collector.of_trace(trace)
    by_id = {span.id: span for span in spans}
    [root] = [span for span in spans if span.parent not in by_id]
    assert (root.name, root.parent) == ("POST /api/v1/uploads", "")
    assert [each.name for each in path(by_id, sender)] == [
        "deliver import.completed",
        "slice",
        "process slice.process",
        "process import.uploaded",
        "POST /api/v1/uploads",
    ]
    [read] = [span for span in spans if span.name == "slice" and span.attributes["records"] == 6]
    assert read.attributes["dataset"] == "books"
    assert {span.status for span in spans} == {""}
    assert not any("canary" in span.name or "/health" in span.name for span in collector.spans)
    return trace


def path(by_id: dict[str, Collected], last: str) -> list[Collected]:
    """From a span up to where its trace begins."""
    found = []
    while last in by_id:
        found.append(by_id[last])
        last = by_id[last].parent
    return found


async def log_lines_carry_its_id(stack: Stack, trace: str) -> None:
    lines = {name: [json.loads(line) for line in stack.log(name, 10**6).splitlines()] for name in stack.names}
    assert [line["event"] for line in lines["processor"] if line.get("trace_id") == trace] == [
        "import.completed"
    ]
    told = {line["event"]: line.get("trace_id") for line in lines["upload"]}
    assert told["import.uploaded"] == trace


async def a_crash_is_reported(stack: Stack, collector: Collector, tmp_path) -> None:
    for statement in (CRASHING, CRASH):
        await stack.rows(statement)
    path = tmp_path / "crash.csv"
    path.write_text(f"title,author,isbn,publication_year\n{SECRET},A,978-3-16-148410-0,1999\n")
    assert collector.reports == []
    await stack.upload(path, "books")

    async def reported() -> bool:
        return bool(collector.reports)

    await until(reported, 30, what=lambda: stack.log("processor"))
    report = collector.reports[0]
    assert report["tags"]["service"] == "penstock-processor"
    assert report["tags"]["event"] == "event.handler_failed"
    assert report["tags"]["queue"] == "processor.imports"
    assert report["tags"]["tenant"] == "acme"
    assert report["level"] == "error"
    assert report["release"].startswith("penstock@")
    raised = report["exception"]["values"]
    assert "InternalServerError" in {each["type"] for each in raised}
    assert any(
        frame["function"] == "_load_slice" for each in raised for frame in each["stacktrace"]["frames"]
    )
    assert SECRET in stack.log("processor", 10**6)  # where only we read
    assert not any(SECRET.encode() in body for body in collector.bodies)

    async def marked() -> bool:
        spans = collector.of_trace(report["tags"]["trace_id"])
        return {"slice", "process slice.process"} <= {span.name for span in spans if span.status}

    await until(marked, 30, what=lambda: str(collector.of_trace(report["tags"]["trace_id"])))
