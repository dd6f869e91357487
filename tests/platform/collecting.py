"""Those whom processes tell what they do: an OpenTelemetry collector and a Sentry, by their real protocols over HTTP."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Collected:
    """A span as it came. Ids in hex; `parent` is empty where it begins a trace."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    status: str
    seconds: float
    events: int


@dataclass
class Collector:
    """Takes spans at `/v1/traces` (OTLP/HTTP, protobuf) and error reports at `/api/1/envelope/` (Sentry's envelopes).

    While it is not `awake` it takes nothing yet.
    """

    port: int = 0
    spans: list[Collected] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    awake: Event = field(default_factory=Event)

    @property
    def endpoint(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT says."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def dsn(self) -> str:
        """What PENSTOCK_SENTRY_DSN says."""
        return f"http://public@127.0.0.1:{self.port}/1"

    def of_trace(self, trace: str) -> list[Collected]:
        return [span for span in list(self.spans) if span.trace == trace]

    def take_spans(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {
                attribute.key: attribute.value.string_value for attribute in resource.resource.attributes
            }
            for scope in resource.scope_spans:
                self.spans += [
                    Collected(
                        service=named["service.name"],
                        name=span.name,
                        trace=span.trace_id.hex(),
                        id=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        attributes={each.key: _value(each.value) for each in span.attributes},
                        status=span.status.message,
                        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                        events=len(span.events),
                    )
                    for span in scope.spans
                ]

    def take_envelope(self, body: bytes) -> None:
        """Sentry's format: a line about the envelope, then for each item a line about it and its bytes."""
        self.bodies.append(body)
        _, _, rest = body.partition(b"\n")
        while rest.strip():
            head, _, rest = rest.partition(b"\n")
            item = json.loads(head)
            length = item.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
            if item["type"] == "event":
                self.reports.append(json.loads(rest[:length]))
            rest = rest[length:].removeprefix(b"\n")


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a loopback port, as long as the block."""
    collector = Collector()
    collector.awake.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.awake.wait(30)
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                collector.take_spans(body)
                self.answer("application/x-protobuf", ExportTraceServiceResponse().SerializeToString())
            else:
                assert self.path == "/api/1/envelope/"
                collector.take_envelope(body)
                self.answer("application/json", b"{}")

        def answer(self, media_type: str, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
