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
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from shared.platform.logs import bound, current_traceparent, new_traceparent, trace_id_of

__all__ = ["SpanKind", "close", "configure", "is_exported", "span"]

HERE = "here"
CLOSE_SECONDS = 1.0
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_W3C = TraceContextTextMapPropagator()
_IDS = RandomIdGenerator()


class _Tracing:
    provider: TracerProvider | None = None  # nobody collects: then ids are made here, at a third of the cost


def is_exported() -> bool:
    """Whether the environment names a collector."""
    return any(os.environ.get(variable) for variable in ENDPOINTS)


def configure(service: str, version: str, *processors: SpanProcessor) -> None:
    """Name this process in traces, and send its spans to the collector that the environment names, and to `processors`."""
    collectors = [_collector()] if is_exported() else []
    resource = Resource.create(
        {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", service), SERVICE_VERSION: version}
    )
    everything = (*collectors, *processors)
    # OTEL_TRACES_SAMPLER decides; by default every trace is kept.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for processor in everything:
        provider.add_span_processor(processor)
    _Tracing.provider = provider if everything else None


def _collector() -> SpanProcessor:
    # Only those who have one wait for these at each start.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    return BatchSpanProcessor(OTLPSpanExporter())


def close() -> None:
    """Send what waits to be sent, for CLOSE_SECONDS at most: a collector that is away must not hold up the end."""
    if _Tracing.provider is None:
        return
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
    if _Tracing.provider is None:
        uncollected = _uncollected(came_from)
        with bound(traceparent=_traceparent(uncollected)):
            yield uncollected
        return
    context = _W3C.extract({"traceparent": came_from}, Context()) if came_from else Context()
    given = {key: value for key, value in attributes.items() if value is not None}
    tracer = _Tracing.provider.get_tracer("penstock")
    with (
        tracer.start_as_current_span(
            name, context, kind, given, record_exception=False, set_status_on_exception=False
        ) as current,
        bound(traceparent=_traceparent(current) or came_from or new_traceparent(sampled=False)),
    ):
        try:
            yield current
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def _uncollected(came_from: str | None) -> Span:
    """Ids for the log and for others, who may collect what their caller says is sampled."""
    trace_id = trace_id_of(came_from)
    return NonRecordingSpan(
        SpanContext(
            trace_id=int(trace_id, 16) if trace_id else _IDS.generate_trace_id(),
            span_id=_IDS.generate_span_id(),
            is_remote=False,
            trace_flags=TraceFlags(int(came_from[-2:], 16) if trace_id and came_from else 0),
        )
    )


def _traceparent(current: Span) -> str | None:
    context = current.get_span_context()
    if not context.is_valid:
        return None  # OTEL_SDK_DISABLED; ids are needed all the same
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
