"""Traces by OpenTelemetry: one trace follows a file through requests, messages, slices and deliveries.

Every request and message has a span, and the log lines inside have its ids, whether or not anybody collects spans. They
are sent where OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) says, by OTLP over HTTP; the further
variables OTEL_* are the library's: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from shared.platform.logs import bound, current_traceparent

__all__ = ["SpanKind", "close", "configure", "is_exported", "span"]

HERE = "here"
CLOSE_SECONDS = 1.0
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_W3C = TraceContextTextMapPropagator()
_NOBODY = ParentBased(ALWAYS_OFF)  # ids, and next to no cost; what a caller says is sampled stays so


class _Tracing:
    provider = TracerProvider(sampler=_NOBODY, shutdown_on_exit=False)


def is_exported() -> bool:
    """Whether the environment names a collector."""
    return any(os.environ.get(variable) for variable in ENDPOINTS)


def configure(service: str, version: str, *processors: SpanProcessor) -> None:
    """Name this process in traces, and send its spans to the collector that the environment names, and to `processors`."""
    collectors = [BatchSpanProcessor(OTLPSpanExporter())] if is_exported() else []
    resource = Resource.create(
        {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", service), SERVICE_VERSION: version}
    )
    everything = (*collectors, *processors)
    # With a collector OTEL_TRACES_SAMPLER decides; by default every trace is kept.
    _Tracing.provider = TracerProvider(
        sampler=None if everything else _NOBODY, resource=resource, shutdown_on_exit=False
    )
    for processor in everything:
        _Tracing.provider.add_span_processor(processor)


def close() -> None:
    """Send what waits to be sent, for CLOSE_SECONDS at most: a collector that is away must not hold up the end."""
    closing = Thread(target=_Tracing.provider.shutdown, daemon=True)
    closing.start()
    closing.join(CLOSE_SECONDS)


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: str | None = HERE,
    **attributes: AttributeValue | None,
) -> Iterator[Span]:
    """A span around what is done inside; log lines and events made there belong to it.

    What is raised marks it as failed, by the exception's type alone: messages may hold what somebody sent.

    Args:
        name: Of few different ones: a route, an event type.
        kind: As OpenTelemetry has it.
        parent: The `traceparent` it goes on from; None: it begins a trace. Else it is within the span at hand.
        attributes: Those that are None are left out.
    """
    came_from = current_traceparent() if parent == HERE else parent
    context = _W3C.extract({"traceparent": came_from}, Context()) if came_from else Context()
    given = {key: value for key, value in attributes.items() if value is not None}
    tracer = _Tracing.provider.get_tracer("penstock")
    with (
        tracer.start_as_current_span(
            name, context, kind, given, record_exception=False, set_status_on_exception=False
        ) as current,
        bound(traceparent=_traceparent(current)),
    ):
        try:
            yield current
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def _traceparent(current: Span) -> str:
    context = current.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
