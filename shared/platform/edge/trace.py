"""The correlation id of a request, and the answer to one that crashed."""

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.platform.edge.answers import crash_answer
from shared.platform.logs import bound, get_logger, new_traceparent, trace_id_of

log = get_logger(__name__)


class TraceMiddleware:
    """Takes the caller's `traceparent` (W3C Trace Context) or begins one; answers with `X-Request-Id`.

    What no handler took ends here, not in Starlette's outermost layer, where log and answer would lack the id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        traceparent = headers.get(b"traceparent", b"").decode("latin-1")
        trace_id = trace_id_of(traceparent)
        if trace_id is None:
            traceparent = new_traceparent()
            trace_id = trace_id_of(traceparent) or ""

        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (b"x-request-id", trace_id.encode())]
            await send(message)

        with bound(traceparent=traceparent):
            try:
                await self._app(scope, receive, send_with_id)
            except ClientDisconnect:
                log.info("request.abandoned", path=scope["path"])
            except Exception:
                log.exception("request.crashed", path=scope["path"])
                if started:
                    raise  # only the server can cut off what was begun
                await crash_answer()(scope, receive, send_with_id)
