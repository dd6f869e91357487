"""Connections that are cut where the other end sends more than any answer needs.

Reading is what an answer costs this process: without a bound, one receiver that sends interim answers, chunk extensions
or unasked bytes as fast as it can takes the event loop from everybody for as long as an attempt lasts.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

HEADS_BYTES = 128 * 1024  # of an answer's head, with all interim ones (1xx) before it
ANSWER_BYTES = 512 * 1024  # in all; of the body 16 kB are kept, and a socket gives at most 256 kB at a time
PIECE_BYTES = 8 * 1024  # are parsed before it is seen how many there are


class BoundedConnector(TCPConnector):
    """Makes connections that end where they have brought more than `HEADS_BYTES` or `ANSWER_BYTES` for a request."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        made: Callable[..., ResponseHandler] = _BoundedResponses
        self._factory = partial(made, loop=self._loop)


class _BoundedResponses(ResponseHandler):
    """What comes in after a request, and while a connection that is kept waits for the next one."""

    _received = 0
    _answered = False  # the head of the final answer is there

    def set_response_params(self, **options: Any) -> None:
        self._received, self._answered = 0, False
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        if len(data) <= PIECE_BYTES:  # also none, with which the client goes on
            self._take(data)
            return
        for begin in range(0, len(data), PIECE_BYTES):
            if self.transport is None or self.transport.is_closing():
                return
            self._take(data[begin : begin + PIECE_BYTES])

    def feed_data(self, data: Any, size: int = 0) -> None:
        self._answered = self._answered or data[0].code >= 200
        super().feed_data(data, size)

    def _take(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > (ANSWER_BYTES if self._answered else HEADS_BYTES):
            if not self._answered:
                self.set_exception(HttpProcessingError(message="too long"))
            if self.transport is not None:
                self.transport.abort()
            return
        super().data_received(data)
