"""HTTP/1.1 with limits on the head of a request. uvicorn has none for the parser that it takes, httptools."""

from asyncio import Handle, Transport
from http import HTTPStatus
from json import dumps

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.contracts.problems import CONTENT_TYPE, Problem
from shared.platform.edge.cutting import CUT
from shared.platform.edge.headers import NOT_KEPT

HEAD_SECONDS = 20.0  # from connecting, or the first byte after the request before, to the end of the head
HEAD_LIMIT_BYTES = 64 * 1024  # request line and headers; nginx takes 32 KiB, and lets 8 KiB be one of them
DRAIN_SECONDS = 20.0  # how long a body that nobody reads any more may bring nothing
FIRST_SECONDS = 1.0  # what a connection without a request yet gets for it when the process stops


class HttpProtocol(HttpToolsProtocol):
    """Ends connections that send no request, send it too slowly (also byte by byte), or send too large a head."""

    _timer: Handle | None = None
    _in_body = False  # the head is there, the body has not ended
    _head_bytes = 0
    _barren_bytes = 0  # received since anything came of it: a part of a head, chunk extensions, trailers
    _fruitful = False
    _head_too_large = False
    _asked = False  # a request's head has been read
    _leaving = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._expect(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Leave when the request in hand is answered. One that is on its way, over a new connection, is taken, too:
        a gateway must not send it again, as it cannot know how far it came.
        """
        if self._asked:
            super().shutdown()
            return
        self._leaving = True
        self.loop.call_later(FIRST_SECONDS, self._leave_unasked)

    def _leave_unasked(self) -> None:
        if not self._asked:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._fruitful = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        self._barren_bytes = 0 if self._fruitful else self._barren_bytes + len(data)
        if self._barren_bytes > HEAD_LIMIT_BYTES:
            self._refuse_head()
        elif self.cycle is not None and not self.cycle.response_complete:
            return  # the request in hand has limits of its own
        elif self._in_body:
            self._expect_nothing()
            self._expect(DRAIN_SECONDS)
        elif self._timer is None:
            self._expect(HEAD_SECONDS)

    def on_message_begin(self) -> None:
        self._fruitful = True
        self._head_bytes = 0
        super().on_message_begin()
        # Not `close`, which would wait until the client has read what it does not read.
        self.scope["extensions"] = {CUT: {"cut": self.transport.abort}}

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._fruitful = self._in_body = self._asked = True
        self._expect_nothing()
        super().on_headers_complete()
        if self._leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._fruitful = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._fruitful = True
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; uvicorn calls this for whatever its parser, or a callback of it, has refused."""
        if self._head_too_large:
            self._refuse_head()
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, Problem("http_invalid", "this is no valid HTTP/1.1 request"))

    def _count(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > HEAD_LIMIT_BYTES:
            self._head_too_large = True
            raise ValueError("the head is too large")  # which stops the parser

    def _refuse_head(self) -> None:
        detail = f"the request line and the headers are larger than {HEAD_LIMIT_BYTES} bytes"
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, Problem("headers_too_large", detail))

    def _refuse(self, status: HTTPStatus, problem: Problem) -> None:
        """Answer and close; only close where a complete request before this one has no answer yet, or half of one."""
        cycle = self.cycle
        unanswered = cycle is not None and not cycle.response_complete
        # Of CONNECT the headers are complete, and yet there is no cycle.
        in_its_body = cycle is not None and self._in_body and not self.pipeline and not cycle.response_started
        if not unanswered or in_its_body:
            self.transport.write(_answer(status, problem))
        self.transport.close()

    def _expect(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _expect_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        self.transport.close()


def _answer(status: HTTPStatus, problem: Problem) -> bytes:
    body = dumps(problem.document() | {"status": status.value, "title": status.phrase}).encode()
    headers = (
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *NOT_KEPT,
    )
    lines = b"".join(b"%s: %s\r\n" % header for header in headers)
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, status.phrase.encode(), lines, body)
