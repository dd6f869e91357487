"""Whatever goes wrong as a problem document (RFC 9457)."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from shared.contracts.problems import CONTENT_TYPE, Problem, Unavailable, Unprocessable, UnsupportedMedia
from shared.platform.edge.request import is_json
from shared.platform.faults import message_of
from shared.platform.logs import get_logger

log = get_logger(__name__)

# SQLSTATE classes: connection exception, insufficient resources, server going down or coming up.
AWAY_STATES = ("08", "53", "57P")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def add_answers(app: FastAPI) -> None:
    """Answer what `app` raises."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    # OSError: what asyncpg raises where nobody listens, the socket is not there or the name is unknown.
    for away in (OperationalError, InterfaceError, PoolTimeout, OSError):
        app.add_exception_handler(away, _on_away)
    app.add_exception_handler(DBAPIError, _on_database)


def answer_to(problem: Problem) -> Response:
    """The response that tells of `problem`."""
    return JSONResponse(
        problem.document(),
        status_code=problem.status,
        headers=dict(problem.headers()),
        media_type=CONTENT_TYPE,
    )


def crash_answer() -> Response:
    """The response that tells nothing but that it was our fault."""
    problem = Problem(
        "internal_error", "something went wrong on our side; it has been logged", hint="try again later"
    )
    document = problem.document() | {"status": 500, "title": "Internal error"}
    return JSONResponse(document, status_code=500, media_type=CONTENT_TYPE)


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return answer_to(error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        {
            "field": ".".join(str(part) for part in fault["loc"]),
            "message": message_of(fault),
            "type": fault["type"],
        }
        for fault in error.errors()
    ]
    sent = request.headers.get("content-type", "")
    if not is_json(sent) and any(f["field"] == "body" and f["type"] != "missing" for f in faults):
        return answer_to(
            UnsupportedMedia(
                "media_type_unsupported",
                f"this route takes JSON, not a body of type {sent or 'unknown'!r}",
                hint="send the header Content-Type: application/json",
            )
        )
    detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
    named = [{"field": fault["field"], "message": fault["message"]} for fault in faults]
    return answer_to(Unprocessable("request_invalid", detail, errors=named))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    problem = Problem(code, str(error.detail))
    title = HTTPStatus(error.status_code).phrase
    document = problem.document() | {"status": error.status_code, "title": title}
    answer = JSONResponse(
        document, status_code=error.status_code, headers=error.headers, media_type=CONTENT_TYPE
    )
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = ", ".join(_allowed(request))
    return answer


_LISTING = "penstock.listing"  # in a scope that only asks what there is


class RefusingRoute(APIRoute):
    """Says why a method is none of its path's, which `Allow` does therefore not name."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.NONE, {}) if _LISTING in scope else super().matches(scope)


def _allowed(request: Request) -> list[str]:
    """The methods of the request's path (RFC 9110, section 10.2.1); the framework knows those of one route of it."""
    return [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method, _LISTING: True})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


async def _on_away(_: Request, error: Exception) -> Response:
    log.warning("request.dependency_away", error=repr(error))
    return answer_to(
        Unavailable("database_unavailable", "the database does not answer at present", retry_after=5)
    )


async def _on_database(request: Request, error: Exception) -> Response:
    assert isinstance(error, DBAPIError)
    state = getattr(error.orig, "sqlstate", None) or ""
    if error.connection_invalidated or state.startswith(AWAY_STATES):
        return await _on_away(request, error)
    raise error
