"""What every HTTP response has: a correlation id, and problem details where something is wrong (RFC 9457)."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.contracts.problems import CONTENT_TYPE, Problem, Unavailable, Unprocessable
from shared.platform.body_limit import BodyLimitMiddleware
from shared.platform.logs import bound, get_logger, new_traceparent, trace_id_of

log = get_logger(__name__)

# SQLSTATE classes: connection exception, insufficient resources, server going down or coming up.
AWAY_STATES = ("08", "53", "57P")

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "description": "A URN that names the kind of problem"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable name of the problem, for programs"},
        "detail": {"type": "string", "description": "What is wrong, and where"},
        "hint": {"type": "string", "description": "What to do about it"},
    },
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for the problems a route may answer with."""
    return {
        status: {"description": "Problem details", "content": {CONTENT_TYPE: {"schema": PROBLEM_SCHEMA}}}
        for status in statuses
    }


def add_edge(app: FastAPI, *, streams: frozenset[str] = frozenset()) -> None:
    """Give `app` correlation ids and body limits (not for the paths in `streams`), and problem documents for errors."""
    app.add_middleware(BodyLimitMiddleware, streams=streams)
    app.add_middleware(TraceMiddleware)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    # OSError: what asyncpg raises where nobody listens, the socket is not there or the name is unknown.
    for away in (OperationalError, InterfaceError, PoolTimeout, OSError):
        app.add_exception_handler(away, _on_away)
    app.add_exception_handler(DBAPIError, _on_database)


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
                await _crash_answer()(scope, receive, send_with_id)


def _answer(problem: Problem) -> Response:
    return JSONResponse(
        problem.document(),
        status_code=problem.status,
        headers=dict(problem.headers()),
        media_type=CONTENT_TYPE,
    )


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(error)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        {"field": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]}
        for fault in error.errors()
    ]
    detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
    return _answer(Unprocessable("request_invalid", detail, errors=faults))


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}.get(
        error.status_code, "http_error"
    )
    problem = Problem(code, str(error.detail))
    document = problem.document() | {"status": error.status_code, "title": str(error.detail)}
    return JSONResponse(
        document, status_code=error.status_code, headers=error.headers, media_type=CONTENT_TYPE
    )


async def _on_away(_: Request, error: Exception) -> Response:
    log.warning("request.dependency_away", error=repr(error))
    return _answer(
        Unavailable("database_unavailable", "the database does not answer at present", retry_after=5)
    )


async def _on_database(request: Request, error: Exception) -> Response:
    assert isinstance(error, DBAPIError)
    state = getattr(error.orig, "sqlstate", None) or ""
    if error.connection_invalidated or state.startswith(AWAY_STATES):
        return await _on_away(request, error)
    raise error


def _crash_answer() -> Response:
    problem = Problem(
        "internal_error", "something went wrong on our side; it has been logged", hint="try again later"
    )
    document = problem.document() | {"status": 500, "title": "Internal error"}
    return JSONResponse(document, status_code=500, media_type=CONTENT_TYPE)
