"""Limits on request bodies, held before anything reads them: frameworks read a body before they ask who sends it."""

import asyncio
import json
import re
from math import isfinite

from pydantic_core import from_json
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.contracts.problems import Problem, RequestTimeout, TooLarge, Unprocessable
from shared.platform.edge.answers import answer_to
from shared.platform.edge.request import Streams, has_body, header, is_json

BODY_LIMIT_BYTES = 1024 * 1024

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # RFC 8259, section 8.1: a reader may ignore it
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_PERHAPS_INFINITE = re.compile(rb"[eE]\+?\d{3}|\d{309}")  # the largest float is about 1.8e308


class RequestBodyMiddleware:
    """Reads each body to its end, and refuses one that is too large, comes too slowly or is no good JSON.

    But for the paths in `streams`, which read as they go: there a body may only not stand still.

    Attributes:
        idle_seconds: How long a body may bring nothing.
        seconds: How long one that is no stream may take altogether.
    """

    def __init__(self, app: ASGIApp, *, idle_seconds: float, seconds: float, streams: Streams) -> None:
        self._app = app
        self._idle_seconds = idle_seconds
        self._seconds = seconds
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not has_body(scope):
            await self._app(scope, receive, send)
        elif scope["path"] in self._streams:
            await self._app(scope, _moving(receive, self._idle_seconds), send)
        else:
            await self._whole(scope, receive, send)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._read(scope, receive)
            if is_json(header(scope, b"content-type").decode("latin-1")):
                check_json(body)
        except Problem as problem:
            await answer_to(problem)(scope, receive, send)
            return
        await self._app(scope, _first(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        declared = header(scope, b"content-length")
        if declared.isdigit() and int(declared) > BODY_LIMIT_BYTES:
            raise _too_large()
        body, moving, more = bytearray(), _moving(receive, self._idle_seconds), True
        try:
            async with asyncio.timeout(self._seconds):
                while more:
                    message = await moving()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    body += message.get("body", b"")
                    if len(body) > BODY_LIMIT_BYTES:
                        raise _too_large()
                    more = message.get("more_body", False)
        except TimeoutError as error:
            raise RequestTimeout(
                "request_timeout", f"the request's body was not complete within {self._seconds:g} s"
            ) from error
        return bytes(body)


def _moving(receive: Receive, idle_seconds: float) -> Receive:
    """`receive`, which raises RequestTimeout if the body brings nothing for `idle_seconds`."""
    ended = False

    async def receive_soon() -> Message:
        nonlocal ended
        if ended:
            return await receive()  # which tells when the client goes; that may take hours
        try:
            async with asyncio.timeout(idle_seconds):
                message = await receive()
        except TimeoutError as error:
            raise RequestTimeout(
                "request_timeout", f"the request's body brought nothing for {idle_seconds:g} s"
            ) from error
        ended = not message.get("more_body", False)
        return message

    return receive_soon


def _first(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives all of `body`, and then what comes from `receive`."""
    given = False

    async def receive_next() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_next


def check_json(body: bytes) -> None:
    """Refuse what a strict reader does not take (RFC 8259, RFC 7493), nor PostgreSQL keeps.

    Nested deeper than 200 levels, not UTF-8, an unpaired surrogate, NaN or infinity, a number beyond a float's range,
    U+0000. Routes need not think of these.

    Raises:
        Unprocessable: `request_invalid`.
    """
    text = body.removeprefix(_BYTE_ORDER_MARK)
    if not text:
        return  # whether there must be a body, the route knows
    try:
        from_json(text, allow_inf_nan=False)
        if _PERHAPS_INFINITE.search(text):
            json.loads(text, parse_float=_finite)
    except ValueError as error:
        raise _no_json(f"this JSON cannot be read: {error}") from error
    if b"\\u0000" in text and _NUL.search(text):  # nearly never; to search takes longer than to parse
        raise _no_json("a string has the character U+0000, which cannot be kept")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("a number is beyond the range of a 64-bit float")
    return number


def _no_json(message: str) -> Unprocessable:
    return Unprocessable(
        "request_invalid", f"body: {message}", errors=[{"field": "body", "message": message}]
    )


def _too_large() -> TooLarge:
    return TooLarge(
        "body_too_large",
        f"the request body is larger than {BODY_LIMIT_BYTES} bytes",
        limit_bytes=BODY_LIMIT_BYTES,
    )
