"""Crashes reach Sentry by its protocol: with ids, without a word of what somebody sent."""

import json
import logging
from threading import Timer

import httpx
import pytest
import sentry_sdk
from fastapi import APIRouter
from pydantic import ValidationError

from shared.platform.logs import bound, get_logger, new_traceparent, trace_id_of
from shared.platform.settings import ProcessSettings
from shared.platform.telemetry import errors
from tests.platform.collecting import collecting
from tests.platform.serving import serve_until_sigterm, served, service_of

SECRET = "swordfish"


@pytest.fixture
def sentry(configure, capsys):
    """A Sentry that this process reports to, from the call on; undone afterwards."""
    with collecting() as collector:

        def begin():
            configure(level="info", style="json")
            errors.configure(
                collector.dsn, environment="production", release="penstock@1", service="penstock-a"
            )
            return collector

        yield begin
        sentry_sdk.get_client().close(timeout=10)
        root = logging.getLogger()
        root.handlers[:] = [each for each in root.handlers if not isinstance(each, errors._Sending)]
        sentry_sdk.get_global_scope().clear()
        sentry_sdk.get_global_scope().set_client(None)


def reports(collector):
    sentry_sdk.flush(timeout=30)
    return collector.reports


def crash(password: str) -> None:
    raise ValueError(f"{password} is no number")


async def test_what_is_logged_with_a_traceback_is_reported_with_its_ids(sentry):
    collector = sentry()
    traceparent = new_traceparent()
    with bound(traceparent=traceparent, tenant="acme", event_type="import.uploaded"):
        try:
            crash(SECRET)
        except ValueError:
            get_logger("here").exception("event.handler_failed", queue="a.queue", value=SECRET)
    [report] = reports(collector)
    assert report["tags"] == {
        "service": "penstock-a",
        "event": "event.handler_failed",
        "tenant": "acme",
        "event_type": "import.uploaded",
        "queue": "a.queue",
        "trace_id": trace_id_of(traceparent),
    }
    assert (report["environment"], report["release"], report["level"]) == (
        "production",
        "penstock@1",
        "error",
    )
    [raised] = report["exception"]["values"]
    assert raised["type"] == "ValueError"
    assert [frame["function"] for frame in raised["stacktrace"]["frames"]][-1] == "crash"
    assert not any(SECRET.encode() in body for body in collector.bodies)
    assert not any(b'"vars"' in body for body in collector.bodies)


async def test_causes_are_reported_without_their_messages_too(sentry):
    collector = sentry()
    try:
        try:
            crash(SECRET)
        except ValueError as error:
            raise RuntimeError(SECRET) from error
    except RuntimeError as error:
        get_logger("here").error("work.failed", exc_info=error)
    [report] = reports(collector)
    assert [raised["type"] for raised in report["exception"]["values"]] == ["ValueError", "RuntimeError"]
    assert not any(SECRET.encode() in body for body in collector.bodies)


async def test_a_librarys_exceptions_are_reported_and_plain_errors_are_not(sentry):
    collector = sentry()
    get_logger("here").error("import.failed", code=SECRET)
    logging.getLogger("a.library").error("no traceback: %s", SECRET)
    get_logger("here").warning("store.slow", exc_info=ValueError(SECRET))
    try:
        crash(SECRET)
    except ValueError:
        logging.getLogger("a.library").exception(f"it broke: {SECRET}")  # as FastStream does
    [report] = reports(collector)
    assert report["tags"]["event"] == "a.library"
    assert not any(SECRET.encode() in body for body in collector.bodies)


async def test_a_request_that_crashes_is_reported_under_the_id_that_its_caller_has(sentry, capsys):
    routes = APIRouter()

    @routes.post("/crash")
    async def broken(text: str) -> None:
        crash(text)

    collector = sentry()
    with served(service_of(routes)) as door:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(
                f"{door.url}/crash", params={"text": SECRET}, headers={"Authorization": SECRET}
            )
    assert answer.status_code == 500
    [report] = reports(collector)
    assert report["tags"]["trace_id"] == answer.headers["x-request-id"]
    assert report["tags"]["event"] == "request.crashed"
    assert not any(SECRET.encode() in body for body in collector.bodies)
    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "request.crashed" in line]
    assert SECRET in line["exception"]  # where only we read


def test_what_is_logged_at_the_very_end_is_reported(sentry, monkeypatch):
    monkeypatch.setattr(errors, "CLOSE_SECONDS", 30.0)  # as slow as machines may be
    collector = sentry()
    collector.awake.clear()

    def crash_and_tell():
        Timer(0.5, collector.awake.set).start()
        try:
            crash(SECRET)
        except ValueError:
            get_logger("here").exception("work.failed")

    serve_until_sigterm(crash_and_tell)
    assert [report["tags"]["event"] for report in collector.reports] == ["work.failed"]


async def test_a_sentry_that_is_away_holds_nobody_up(configure, sentry, capsys):
    collector = sentry()
    sentry_sdk.get_client().close(timeout=1)
    errors.configure("http://public@127.0.0.1:9/1", environment="production", release="r", service="a")
    try:
        crash(SECRET)
    except ValueError:
        get_logger("here").exception("work.failed")
    sentry_sdk.flush(timeout=2)
    assert collector.reports == []
    assert "work.failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "dsn", ["sentry.example.com/1", "https://sentry.example.com/1", "https://key@host/project"]
)
def test_a_dsn_that_is_none_stops_the_start(dsn):
    with pytest.raises(ValidationError, match="not a DSN, which has the form") as refused:
        ProcessSettings(sentry_dsn=dsn)
    assert dsn not in str(refused.value)


@pytest.mark.parametrize(
    "dsn", ["https://key@o1.ingest.example.com/45", "http://a:b@host:9000/sentry/1", "", None]
)
def test_a_dsn_may_be_any_that_sentry_gives_or_none(dsn):
    assert bool(ProcessSettings(sentry_dsn=dsn).sentry_dsn) == bool(dsn)
