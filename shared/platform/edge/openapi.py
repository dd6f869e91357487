"""What the OpenAPI description says of every route, said once."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shared.contracts.problems import CONTENT_TYPE

JSON = "application/json"
PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details (RFC 9457)",
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
MEANINGS = {
    400: "The request cannot be understood",
    401: "No token, or one that is wrong, expired or revoked; or a session that is over",
    403: "The token's scopes are not enough; or a page of another site asks with a session",
    404: "There is no such thing for this tenant",
    405: "It does not take this method; `Allow` names those it does",
    408: "The request's body stood still",
    409: "It does not fit what is there",
    410: "It was removed, as the operator keeps such things for some days only",
    412: "It is not as `If-Match` says; `ETag` says how it is now",
    413: "Too large",
    415: "A media type that this route does not take",
    416: "None of the bytes asked for is there; `Content-Range` says how many there are",
    422: "Something in the request is wrong",
    429: "The tenant's limit is used up; `Retry-After` says for how long",
    431: "The request's head, its query included, is larger than is taken",
    503: "Something of ours is away, or took too long; `Retry-After` says when to try again",
    504: "It may have been done, or not: what does it was lost in the middle",
}
ALWAYS = (431, 503)
WITH_JSON = (408, 413, 415, 422)  # the edge itself answers these to any body


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for the problems a route may answer with. What the edge answers need not be named."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    description = MEANINGS.get(status, "Problem details")
    return {"description": description, "content": {CONTENT_TYPE: {"schema": schema}}}


def described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description of `app`, with what the edge answers on every route."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        webhooks=app.webhooks.routes,
    )
    document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    for path, item in document["paths"].items():
        if path.startswith("/api/"):
            for operation in item.values():
                _complete(operation)
    return document


def _complete(operation: dict[str, Any]) -> None:
    content = operation.get("requestBody", {}).get("content", {})
    statuses = (*ALWAYS, *WITH_JSON) if JSON in content else ALWAYS
    responses = operation["responses"]
    for status in statuses:
        responses.setdefault(str(status), _problem(status))
    for response in responses.values():
        for media in response.get("content", {}).values():
            if "itemSchema" in media:
                media.pop("schema", None)  # FastAPI's "a string", which is not what a stream is
    operation["responses"] = dict(sorted(responses.items()))
