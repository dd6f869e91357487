"""A limit on the time until an answer begins."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.contracts.problems import Unavailable
from shared.platform.edge.answers import answer_to
from shared.platform.edge.request import Streams
from shared.platform.logs import get_logger

log = get_logger(__name__)


class TimeLimitMiddleware:
    """Gives up a request whose answer has not begun after `seconds`: its task is cancelled, the caller hears 503.

    An answer that has begun may take as long as it likes; so may an upload, which lasts as long as its file.
    """

    def __init__(self, app: ASGIApp, *, seconds: float, streams: Streams) -> None:
        self._app = app
        self._seconds = seconds
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._streams:
            await self._app(scope, receive, send)
            return

        async def send_in_time(message: Message) -> None:
            if message["type"] == "http.response.start":
                limit.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(self._seconds) as limit:
                await self._app(scope, receive, send_in_time)
        except TimeoutError:
            if not limit.expired():
                raise
            log.warning("request.too_slow", path=scope["path"], seconds=self._seconds)
            await answer_to(_too_slow(self._seconds))(scope, receive, send)


def _too_slow(seconds: float) -> Unavailable:
    return Unavailable(
        "response_timeout",
        f"there was no answer within {seconds:g} s; what was asked for may have been done all the same",
        hint="look whether it was done, and try again if not",
    )
