"""Requests that are in hand when the process stops."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.contracts.problems import Unavailable
from shared.platform.edge.answers import answer_to
from shared.platform.edge.request import has_body
from shared.platform.logs import get_logger

RETRY_SECONDS = 2  # until another process serves, or this one does again
# RFC 9112, section 9.6: closed at once, a reset may take the answer from a client that is still sending.
LINGER_SECONDS = 0.5

log = get_logger(__name__)


class InHand:
    """How many requests are being answered."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    async def none(self, seconds: float) -> None:
        """Wait until there are none, but not longer than `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._count:
                    self._none.clear()
                    await self._none.wait()


class StoppingMiddleware:
    """Answers 503 for requests that the server cancels because the process stops.

    By then the service has cleaned up behind them. One whose answer has begun is cut off.
    """

    def __init__(self, app: ASGIApp, *, in_hand: InHand, stopping: Callable[[], bool]) -> None:
        self._app = app
        self._in_hand = in_hand
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        with self._in_hand:
            try:
                await self._app(scope, receive, send_and_note)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or not self._stopping():
                    raise
                task.uncancel()
                log.warning("request.cut_off", path=scope["path"], answered=not begun)
                if not begun:
                    await _say_last(scope, receive, send)


async def _say_last(scope: Scope, receive: Receive, send: Send) -> None:
    answer = answer_to(
        Unavailable(
            "service_stopping",
            "this process stops and could not finish the request",
            retry_after=RETRY_SECONDS,
        )
    )
    answer.headers["Connection"] = "close"
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    if has_body(scope):
        await _let_it_end(receive)
    await send({"type": "http.response.body", "body": b""})


async def _let_it_end(receive: Receive) -> None:
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body"):
                pass
