"""Spans: ids for the log whether or not anybody collects, one trace across requests and events, nothing of what was sent."""

import httpx
import pytest
from fastapi import APIRouter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.platform.logs import current_traceparent, trace_id_of
from shared.platform.telemetry import tracing
from shared.platform.telemetry.tracing import SpanKind, span
from tests.platform.collecting import collecting
from tests.platform.serving import serve_until_sigterm, served, service_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SECRET = "the password is swordfish"


@pytest.fixture
def configured(monkeypatch):
    """`tracing.configure` with no environment of others, undone afterwards."""
    for variable in tracing.ENDPOINTS:
        monkeypatch.delenv(variable, raising=False)
    before = tracing._Tracing.provider
    yield tracing.configure
    tracing.close()
    tracing._Tracing.provider = before


@pytest.fixture
def kept(configured):
    """The spans that end."""
    exporter = InMemorySpanExporter()
    configured("penstock-a", "1.0", SimpleSpanProcessor(exporter))
    return exporter.get_finished_spans


def ids(traceparent: str | None) -> list[str]:
    assert trace_id_of(traceparent), traceparent
    return traceparent.split("-")[1:]


def test_without_a_collector_there_are_ids_and_nothing_is_sampled(configured):
    configured("penstock-a", "1.0")
    assert current_traceparent() is None
    with span("outer", parent=None):
        outer = ids(current_traceparent())
        with span("inner"):
            inner = ids(current_traceparent())
        assert ids(current_traceparent()) == outer
    assert current_traceparent() is None
    assert inner[0] == outer[0]
    assert inner[1] != outer[1]
    assert outer[2] == "00"
    with span("goes on", parent=f"00-{TRACE}-{CALLER}-01"):
        assert ids(current_traceparent())[0] == TRACE
        assert ids(current_traceparent())[2] == "01"  # its beginner collects, and others may
    with span("of nobody", parent="nonsense"):
        assert ids(current_traceparent())


def test_spans_within_each_other_are_one_trace(kept):
    with span("outer", SpanKind.SERVER, parent=None, size=3, none=None), span("inner"):
        pass
    inner, outer = kept()
    assert (inner.name, outer.name) == ("inner", "outer")
    assert inner.parent.span_id == outer.context.span_id
    assert inner.context.trace_id == outer.context.trace_id
    assert (outer.parent, outer.kind, dict(outer.attributes)) == (None, SpanKind.SERVER, {"size": 3})
    assert outer.resource.attributes["service.name"] == "penstock-a"


@pytest.mark.parametrize(("sampled", "spans"), [("01", 1), ("00", 0)])
def test_a_trace_of_others_goes_on_as_its_beginner_decided(kept, sampled, spans):
    with span("process", parent=f"00-{TRACE}-{CALLER}-{sampled}"):
        trace, _, flags = ids(current_traceparent())
    assert (trace, flags) == (TRACE, sampled)
    assert [f"{each.parent.span_id:016x}" for each in kept()] == [CALLER] * spans


def test_what_is_raised_marks_its_span_by_its_type_alone(kept):
    with pytest.raises(ValueError, match="swordfish"), span("work", parent=None):
        raise ValueError(SECRET)
    [failed] = kept()
    assert (failed.status.is_ok, failed.status.description) == (False, "ValueError")
    assert "swordfish" not in failed.to_json()


def test_the_library_may_be_put_off_and_ids_are_there_all_the_same(configured, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    configured("penstock-a", "1.0", SimpleSpanProcessor(InMemorySpanExporter()))
    with span("outer", parent=None):
        assert ids(current_traceparent())
    with span("goes on", parent=f"00-{TRACE}-{CALLER}-01"):
        assert ids(current_traceparent())[0] == TRACE


async def test_a_request_has_a_span_of_its_route_and_machines_that_watch_have_none(kept):
    routes = APIRouter()

    @routes.get("/things/{number}")
    async def thing(number: int) -> str | None:
        return current_traceparent()

    @routes.get("/crash")
    async def crash() -> None:
        raise RuntimeError(SECRET)

    with served(service_of(routes)) as door:
        async with httpx.AsyncClient(base_url=door.url, trust_env=False) as client:
            own = await client.get("/things/7")
            theirs = await client.get("/things/8", headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
            await client.get("/crash")
            for watched in ("/health/live", "/health/ready", "/metrics"):
                answer = await client.get(watched)
                assert len(answer.headers["x-request-id"]) == 32
    first, second, crashed = kept()
    assert first.name == second.name == "GET /things/{number}"
    assert f"{first.context.trace_id:032x}" == own.headers["x-request-id"] == ids(own.json())[0]
    assert f"{second.context.trace_id:032x}" == theirs.headers["x-request-id"] == TRACE
    assert dict(first.attributes) == {
        "http.request.method": "GET",
        "http.route": "/things/{number}",
        "http.response.status_code": 200,
    }
    assert (crashed.status.is_ok, crashed.attributes["http.response.status_code"]) == (False, 500)
    assert "swordfish" not in crashed.to_json()


def test_spans_are_sent_to_the_collector_of_the_environment_before_the_end(configured, monkeypatch):
    sent = []

    def work():
        with span("work", parent=None, records=6):
            sent.extend(ids(current_traceparent()))

    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setattr(tracing, "CLOSE_SECONDS", 30.0)  # as slow as machines may be
        assert tracing.is_exported()
        configured("penstock-a", "1.0")
        serve_until_sigterm(work)
    [came] = collector.spans
    assert (came.service, came.name, came.parent) == ("penstock-a", "work", "")
    assert [came.trace, came.id] == sent[:2]
    assert came.attributes == {"records": 6}
