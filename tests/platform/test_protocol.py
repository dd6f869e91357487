"""Connections that send no request, send it slowly, or too much of it; on a real server."""

import asyncio
import json
from contextlib import suppress

import pytest
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from shared.platform.edge import protocol
from tests.platform.serving import served, service_of

LINE = b"GET /short HTTP/1.1\r\nHost: x\r\n"
KIB = 1024


@pytest.fixture
def door(monkeypatch):
    """Heads get 0.3 s; no body may stand still for longer either."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "DRAIN_SECONDS", 0.3)
    routes = APIRouter()

    @routes.post("/short")
    @routes.get("/short")
    async def short():
        return "short"

    @routes.get("/long")
    async def long():
        async def events():
            for number in range(12):
                yield f"{number}\n"
                await asyncio.sleep(0.1)

        return StreamingResponse(events())

    @routes.post("/early")
    async def early(request: Request):
        return "I did not read it"

    with served(service_of(routes, streams=["/early"]), body_idle_seconds=0.3) as door:
        yield door


def problem_in(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    document = json.loads(body)
    assert document["status"] == status
    lines = head.lower().split(b"\r\n")
    assert b"content-type: application/problem+json" in lines
    assert b"connection: close" in lines
    assert b"x-content-type-options: nosniff" in lines
    return status, document["code"]


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET", LINE, b"\r\n\r\n", LINE + b"X-Half: of a he"],
    ids=["nothing", "method", "line", "empty lines", "half"],
)
def test_a_head_that_does_not_end_ends_the_connection(door, sent):
    assert door.ask(sent) == b""


def test_a_head_that_comes_byte_by_byte_ends_the_connection(door):
    with door.peer() as peer:
        peer.trickle(LINE + b"X-Slow: " + b"a" * 100, every=0.05)
        assert peer.read() == b""


def test_empty_lines_byte_by_byte_end_the_connection(door):
    with door.peer() as peer:
        peer.trickle(b"\r\n" * 50, every=0.05)
        assert peer.read() == b""


def test_the_second_head_has_the_same_limit(door):
    with door.peer() as peer:
        peer.send(LINE + b"\r\n")
        assert peer.read(until=b'"short"').startswith(b"HTTP/1.1 200 ")
        peer.trickle(LINE + b"X-Slow: " + b"a" * 100, every=0.05)
        assert peer.read() == b""


def test_an_answer_takes_as_long_as_it_likes(door):
    """Four times as long as a head may take, also with the next request's head half there."""
    with door.peer() as peer:
        peer.send(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n" + LINE)
        answer = peer.read(until=b"\r\n0\r\n\r\n")
        assert b"11\n" in answer


def test_a_connection_is_used_again(door):
    with door.peer() as peer:
        for _ in range(5):
            peer.send(LINE + b"\r\n")
            assert peer.read(until=b'"short"').startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered(door):
    with door.peer() as peer:
        peer.send((LINE + b"\r\n") * 3 + LINE + b"Connection: close\r\n\r\n")
        assert peer.read().count(b'"short"') == 4


def test_a_body_that_nobody_reads_may_go_on_but_not_stand_still(door):
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with door.peer() as peer:
        peer.send(head)
        peer.read(until=b'"I did not read it"')
        peer.trickle(b"a" * 8, every=0.1)  # longer than the limit, but it moves
        peer.send(b"a" * (1000000 - 8) + LINE + b"\r\n")
        assert b'"short"' in peer.read(until=b'"short"')
    with door.peer() as peer:
        peer.send(head)
        peer.read(until=b'"I did not read it"')
        peer.send(b"a")
        assert peer.read() == b""


@pytest.mark.parametrize(
    "sent",
    [
        LINE + b"X-Large: " + b"a" * 70 * KIB + b"\r\n\r\n",
        LINE + b"".join(b"X-%d: a\r\n" % number for number in range(10000)) + b"\r\n",
        b"GET /" + b"a" * 70 * KIB + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        LINE + b"X-Endless: " + b"a" * 1000 * KIB,
        b"GET /" + b"a" * 1000 * KIB,
    ],
    ids=["one header", "many headers", "request line", "endless header", "endless line"],
)
def test_a_head_that_is_too_large_is_refused(door, sent):
    with door.peer() as peer:
        with suppress(ConnectionError):
            peer.send(sent)
        answer = peer.read()
    assert answer == b"" or problem_in(answer) == (431, "headers_too_large")


def test_a_head_just_too_large_hears_why(door):
    sent = LINE + b"X-Large: " + b"a" * 66 * KIB + b"\r\n\r\n"
    assert problem_in(door.ask(sent)) == (431, "headers_too_large")


def test_a_large_head_below_the_limit_is_taken(door):
    sent = LINE + b"Connection: close\r\nX-Large: " + b"a" * 60 * KIB + b"\r\n\r\n"
    assert door.ask(sent).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "rest",
    [b"0\r\nX-Trailer: " + b"a" * 300 * KIB, b"1;" + b"a" * 300 * KIB],
    ids=["trailers", "chunk extensions"],
)
def test_what_hides_behind_a_body_is_limited_too(door, rest):
    head = b"POST /short HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
    with door.peer() as peer:
        peer.send(head)
        with suppress(ConnectionError):
            for start in range(0, len(rest), KIB):
                peer.send(rest[start : start + KIB])
        answer = peer.read()
    # None, if it closed before it had taken all that was sent; 408 would mean that it did take all.
    assert answer == b"" or problem_in(answer) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELLO\r\n\r\n",
        b"GET /short HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"POST /short HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /short HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /short HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /short HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /short HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=[
        "TLS",
        "no HTTP",
        "header name",
        "negative",
        "two lengths",
        "length and chunks",
        "length",
        "chunk size",
        "connect",
    ],
)
def test_what_is_no_http_is_refused(door, sent):
    assert problem_in(door.ask(sent)) == (400, "http_invalid")
