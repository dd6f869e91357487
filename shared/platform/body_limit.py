"""A limit on request bodies, held before anything reads them: frameworks read a body before they ask who sends it."""

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.contracts.problems import CONTENT_TYPE, TooLarge

BODY_LIMIT_BYTES = 1024 * 1024


class BodyLimitMiddleware:
    """Refuses bodies above `BODY_LIMIT_BYTES` with 413, but for the paths in `streams`, which read as they go."""

    def __init__(self, app: ASGIApp, streams: frozenset[str]) -> None:
        self._app = app
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._streams:
            await self._app(scope, receive, send)
            return
        if _declared_length(scope) > BODY_LIMIT_BYTES:
            problem = TooLarge("body_too_large", _DETAIL, limit_bytes=BODY_LIMIT_BYTES)
            answer = JSONResponse(problem.document(), status_code=problem.status, media_type=CONTENT_TYPE)
            await answer(scope, receive, send)
            return
        await self._app(scope, _limited(receive), send)


_DETAIL = f"the request body is larger than {BODY_LIMIT_BYTES} bytes"


def _declared_length(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


def _limited(receive: Receive) -> Receive:
    taken = 0

    async def receive_some() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY_LIMIT_BYTES:
            # Not a Problem: FastAPI turns all but this class into "error parsing the body".
            raise HTTPException(TooLarge.status, _DETAIL)
        return message

    return receive_some
