"""The correlation id of a request, its span and its figure, and the answer to one that crashed."""

from time import perf_counter

from opentelemetry.trace import Status, StatusCode
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.platform.edge.answers import crash_answer
from shared.platform.logs import get_logger, new_traceparent, trace_id_of
from shared.platform.telemetry.figures import REQUEST_SECONDS
from shared.platform.telemetry.tracing import SpanKind, span

LIVE = b"text/event-stream"
UNROUTED = "none"  # no route of ours; the paths that callers make up are no names of series

WATCHING = ("/health/", "/metrics")  # asked every few seconds by machines: of no interest in a trace

log = get_logger(__name__)


class TraceMiddleware:
    """Goes on with the caller's `traceparent` (W3C Trace Context) or begins a trace; answers with its id as `X-Request-Id`.

    What no handler took ends here, not in Starlette's outermost layer, where log and answer would lack the id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        traceparent = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
        parent = traceparent if trace_id_of(traceparent) else None
        if parent is None and scope["path"].startswith(WATCHING):
            parent = new_traceparent(sampled=False)
        begun, status, is_live = perf_counter(), 0, False
        with span(scope["method"], SpanKind.SERVER, parent=parent) as current:
            request_id = f"{current.get_span_context().trace_id:032x}".encode()

            async def send_with_id(message: Message) -> None:
                nonlocal status, is_live
                if message["type"] == "http.response.start":
                    status = message["status"]
                    is_live = any(
                        name == b"content-type" and value.startswith(LIVE)
                        for name, value in message["headers"]
                    )
                    message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
                await send(message)

            try:
                await self._app(scope, receive, send_with_id)
            except ClientDisconnect:
                log.info("request.abandoned", path=scope["path"])
            except Exception:
                log.exception("request.crashed", path=scope["path"])
                if status:
                    raise  # only the server can cut off what was begun
                await crash_answer()(scope, receive, send_with_id)
            finally:
                route = getattr(scope.get("route"), "path", UNROUTED)
                current.update_name(f"{scope['method']} {route}")
                current.set_attributes({"http.request.method": scope["method"], "http.route": route})
                current.set_attribute("http.response.status_code", status)
                if status >= 500:
                    current.set_status(Status(StatusCode.ERROR))
                if status and not is_live:
                    REQUEST_SECONDS.labels(scope["method"], route, str(status)).observe(
                        perf_counter() - begun
                    )
