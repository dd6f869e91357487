"""How the routes of resumable uploads are described in OpenAPI: headers there and back."""

from collections.abc import Sequence
from typing import Any

from fastapi import Response

from services.upload.fields import query_parameters
from services.upload.limits import QUOTA_HEADERS
from services.upload.tus.protocol import ALGORITHMS, MEDIA_TYPE, VERSION
from shared.platform.edge import problem_responses

_BYTES = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}

_REQUEST: dict[str, tuple[dict[str, Any], str]] = {
    "Tus-Resumable": ({"type": "string", "enum": [VERSION]}, "The protocol's version."),
    "Upload-Length": (_BYTES, "Bytes of the whole file."),
    "Upload-Defer-Length": (
        {"type": "string", "enum": ["1"]},
        "Instead of Upload-Length: it comes with a later PATCH.",
    ),
    "Upload-Metadata": (
        _TEXT,
        "Keys and their values in Base64: `filename`, and fields of `POST /api/v1/uploads`, as in `dataset Ym9va3M=`.",
    ),
    "Upload-Concat": (
        _TEXT,
        "`partial`, or `final;` and the URLs of partial uploads with blanks between them.",
    ),
    "Upload-Offset": (_BYTES, "Where the body belongs: how many bytes have arrived before."),
    "Upload-Checksum": (
        _TEXT,
        f"The body's digest, without which nothing of it counts: {', '.join(ALGORITHMS)}, a blank, and Base64.",
    ),
}
_RESPONSE: dict[str, tuple[dict[str, Any], str]] = {
    "Tus-Resumable": (_TEXT, "The protocol's version."),
    "Tus-Version": (_TEXT, "The versions that the server speaks."),
    "Tus-Extension": (_TEXT, "The protocol's extensions that the server has."),
    "Tus-Max-Size": (
        _BYTES,
        "Bytes of the largest file, unless the tenant or the dataset has a limit of its own.",
    ),
    "Tus-Checksum-Algorithm": (_TEXT, "What Upload-Checksum may be."),
    "Location": (_TEXT, "The upload: where to send its bytes."),
    "Upload-Offset": (_BYTES, "How many bytes have arrived."),
    "Upload-Length": (
        _BYTES,
        "Bytes of the whole file; while it is not known, there is Upload-Defer-Length.",
    ),
    "Upload-Defer-Length": (_TEXT, "`1`: the length is not known yet."),
    "Upload-Expires": (_TEXT, "Until then the upload can be resumed; each PATCH puts it off."),
    "Upload-Metadata": (_TEXT, "As it came."),
    "Upload-Concat": (_TEXT, "As it came."),
    "Penstock-Import": (_TEXT, "The import that the file has become."),
    **{name: (_TEXT, meaning) for name, meaning in QUOTA_HEADERS.items()},
}
_BODY = {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}


def _parameters(*names: str, required: Sequence[str] = ("Tus-Resumable",)) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "header",
            "required": name in required,
            "schema": _REQUEST[name][0],
            "description": _REQUEST[name][1],
        }
        for name in names
    ]


def _answers(description: str, *names: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {
            name: {"schema": _RESPONSE[name][0], "description": _RESPONSE[name][1]} for name in names
        },
    }


OPTIONS: dict[str, Any] = {
    "responses": {
        204: _answers(
            "What it can do",
            "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm",
        )
    }
}  # fmt: skip
CREATE: dict[str, Any] = {
    "response_class": Response,  # without a body
    "responses": {
        201: _answers(
            "Created", "Tus-Resumable", "Location", "Upload-Offset", "Upload-Expires", "Penstock-Import",
            *QUOTA_HEADERS,
        )
    }
    | problem_responses(400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 429, 460, 503),
    "openapi_extra": {
        "parameters": [
            *_parameters(
                "Tus-Resumable", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Concat",
                "Upload-Checksum",
            ),
            *query_parameters("The file's name."),
        ],
        "requestBody": {"required": False, **_BODY},
    },
}  # fmt: skip
HEAD: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: _answers(
            "How it stands",
            "Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Expires",
            "Upload-Metadata", "Upload-Concat", "Penstock-Import",
        )
    }
    | problem_responses(401, 403, 404, 410, 412, 422, 503),
    "openapi_extra": {"parameters": _parameters("Tus-Resumable")},
}  # fmt: skip
APPEND: dict[str, Any] = {
    "responses": {
        204: _answers("Added", "Tus-Resumable", "Upload-Offset", "Upload-Expires", "Penstock-Import")
    }
    | problem_responses(400, 401, 403, 404, 408, 409, 410, 412, 413, 415, 422, 460, 503),
    "openapi_extra": {
        "parameters": _parameters(
            "Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Checksum",
            required=("Tus-Resumable", "Upload-Offset"),
        ),
        "requestBody": {"required": True, **_BODY},
    },
}  # fmt: skip
REMOVE: dict[str, Any] = {
    "responses": {204: _answers("Removed", "Tus-Resumable")}
    | problem_responses(401, 403, 404, 409, 412, 422, 503),
    "openapi_extra": {"parameters": _parameters("Tus-Resumable")},
}
SHOW: dict[str, Any] = {"responses": problem_responses(401, 403, 404, 410, 422, 503)}
