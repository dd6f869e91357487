"""What a request's body may be: size, pace, JSON; held for every route before it is asked."""

import asyncio
import json

import httpx
import pytest
from fastapi import APIRouter, Request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from shared.contracts.problems import RequestTimeout, Unprocessable
from shared.platform.edge.request import Streams
from shared.platform.edge.request_body import BODY_LIMIT_BYTES, check_json
from shared.platform.service import compose
from shared.platform.settings import ProcessSettings
from tests.platform.serving import served, service_of

POST = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%b\r\n"


class Note(BaseModel):
    text: str
    number: float = 0
    extra: object = None


class Heard:
    """What the routes saw."""

    def __init__(self):
        self.cleaned_up = 0


def routes_of(heard):
    routes = APIRouter()

    @routes.post("/notes")
    async def note(body: Note) -> int:
        return len(body.text)

    @routes.post("/ignores")
    async def ignores() -> str:
        return "ignored"

    @routes.post("/files")
    @routes.post("/tree/{leaf}")
    async def file(request: Request) -> int:
        try:
            return sum([len(chunk) async for chunk in request.stream()])
        except RequestTimeout:
            heard.cleaned_up += 1
            raise

    return routes


def service(heard):
    return service_of(routes_of(heard), streams=["/files", "/tree/*"])


@pytest.fixture
async def client():
    transport = httpx.ASGITransport(compose([service(Heard())], ProcessSettings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


async def chunks(count: int):
    for _ in range(count):
        yield b" " * 65536


def assert_problem(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_declared_length_above_the_limit_is_refused(client):
    assert_problem(await client.post("/notes", content=b" " * (BODY_LIMIT_BYTES + 1)), 413, "body_too_large")


@pytest.mark.parametrize("path", ["/notes", "/ignores"])
async def test_an_undeclared_length_is_counted(client, path):
    response = await client.post(path, content=chunks(17), headers={"content-type": "application/json"})
    assert_problem(response, 413, "body_too_large")


async def test_what_is_below_the_limit_goes_through(client):
    assert (await client.post("/notes", json={"text": "x" * 1_000_000})).json() == 1_000_000
    whole = json.dumps({"text": "x" * 1_000_000}).encode()

    async def pieces():
        for start in range(0, len(whole), 1000):
            yield whole[start : start + 1000]

    headers = {"content-type": "application/json"}
    assert (await client.post("/notes", content=pieces(), headers=headers)).json() == 1_000_000


@pytest.mark.parametrize("path", ["/files", "/tree/leaf"])
async def test_a_streamed_path_has_no_limit(client, path):
    assert (await client.post(path, content=chunks(40))).json() == 40 * 65536


def test_a_stream_is_a_path_or_all_below_one():
    streams = Streams(["/one", "/tree/*"])
    assert all(path in streams for path in ("/one", "/tree", "/tree/", "/tree/leaf", "/tree/a/b"))
    assert not any(path in streams for path in ("/", "/one/", "/one/two", "/trees", "/tre", "/tree*"))


BAD = {
    "no JSON": b"hello",
    "cut off": b'{"text": "a"',
    "no UTF-8": b'{"text": "\xff"}',
    "UTF-16": '{"text": "a"}'.encode("utf-16"),
    "NaN": b'{"text": "a", "number": NaN}',
    "infinity": b'{"text": "a", "number": -Infinity}',
    "too large a number": b'{"text": "a", "number": 1e999}',
    "too large a number in full": b'{"text": "a", "number": ' + b"9" * 400 + b".0}",
    "too many digits": b'{"text": "a", "number": ' + b"9" * 5000 + b"}",
    "NUL": b'{"text": "a\\u0000"}',
    "NUL behind a backslash": b'{"text": "a\\\\\\u0000"}',
    "NUL in a name": b'{"text": "a", "extra": {"\\u0000": 1}}',
    "unpaired surrogate": b'{"text": "a", "extra": ["\\ud800"]}',
    "unpaired surrogate in bytes": b'{"text": "a", "extra": ["\xed\xa0\x80"]}',
    "deep": b'{"text": "a", "extra": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"text": "a", "extra": ' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}",
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
@pytest.mark.parametrize("path", ["/notes", "/ignores"])
async def test_json_that_no_route_could_keep_is_refused(client, body, path):
    response = await client.post(path, content=body, headers={"content-type": "application/json"})
    assert_problem(response, 422, "request_invalid")
    assert [fault["field"] for fault in response.json()["errors"]] == ["body"]


GOOD = {
    "plain": b'{"text": "a"}',
    "byte order mark": b'\xef\xbb\xbf{"text": "a"}',
    "a pair of surrogates": b'{"text": "a", "extra": "\\ud83d\\ude00"}',
    "no NUL but its name": b'{"text": "a", "extra": "\\\\u0000"}',
    "a large number": b'{"text": "a", "number": 1e308}',
    "a small number": b'{"text": "a", "number": 1e-999}',
    "digits in a string": b'{"text": "a", "extra": "1e999"}',
    "deep enough": b'{"text": "a", "extra": ' + b"[" * 190 + b"]" * 190 + b"}",
}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize(
    "kind", ["application/json", "application/JSON; charset=utf-8", "application/x+json"]
)
async def test_other_json_is_taken(client, body, kind):
    response = await client.post("/notes", content=body, headers={"content-type": kind})
    assert (response.status_code, response.text) == (200, "1")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
async def test_another_media_type_is_named(client, kind):
    response = await client.post("/notes", content=b'{"text": "a"}', headers={"content-type": kind})
    assert_problem(response, 415, "media_type_unsupported")


async def test_no_body_is_said_to_be_missing(client):
    response = await client.post("/notes")
    assert_problem(response, 422, "request_invalid")
    assert response.json()["errors"] == [{"field": "body", "message": "Field required"}]


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value:
            yield from strings_in(part)
        if isinstance(value, dict):
            yield from strings_in(list(value.values()))


@given(any_json, st.booleans())
def test_what_passes_can_be_written_and_kept(value, escaped):
    """Whatever Python can make of JSON: once it is past the edge it is storable text and finite numbers."""
    body = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    try:
        check_json(body)
    except Unprocessable:
        return
    read = json.loads(body)
    assert json.dumps(read, allow_nan=False, ensure_ascii=False).encode()
    assert not any("\0" in text for text in strings_in(read))


@given(st.binary())
def test_any_bytes_are_taken_or_refused(body):
    try:
        check_json(body)
    except Unprocessable:
        return
    assert body.removeprefix(b"\xef\xbb\xbf") == b"" or json.loads(body) is not NotImplemented


# On a real server, with limits of a fraction of a second.


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def door(heard):
    with served(service(heard), body_idle_seconds=0.3, request_seconds=1.0) as door:
        yield door


def split(answer):
    """The status, the lower-case header lines and the document of the answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    return int(lines[0].split()[1]), lines, json.loads(body)


@pytest.mark.parametrize("path", [b"notes", b"ignores", b"files", b"tree/leaf"])
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n"], ids=["length", "chunks"]
)
@pytest.mark.parametrize("begun", [False, True])
def test_a_body_that_stands_still_is_given_up(door, heard, path, framing, begun):
    sent = POST % (path, framing) + ((b"1\r\na\r\n" if b"chunked" in framing else b"a") if begun else b"")
    status, lines, document = split(door.ask(sent))
    assert (status, document["code"]) == (408, "request_timeout")
    assert b"connection: close" in lines
    assert heard.cleaned_up == (path in {b"files", b"tree/leaf"})


def test_a_body_that_trickles_is_given_up_but_a_file_is_not(door):
    head = POST % (b"notes", b"Content-Length: 1000\r\n")
    with door.peer() as peer:
        peer.send(head)
        peer.trickle(b" " * 999, every=0.1)
        status, _, document = split(peer.read())
    assert (status, document["code"]) == (408, "request_timeout")
    with door.peer() as peer:
        peer.send(POST % (b"files", b"Connection: close\r\nContent-Length: 16\r\n"))
        peer.trickle(b" " * 15, every=0.1)  # longer than `request_seconds`
        peer.send(b" ")
        assert peer.read().endswith(b"\r\n\r\n16")


def test_a_length_that_says_too_little_is_never_answered_twice(door):
    """What follows the body counts as another request, which is none."""
    body = b'{"text": "abc"}'
    with door.peer() as peer:
        peer.send(POST % (b"notes", b"Content-Length: %d\r\n" % len(body)) + body)
        assert peer.read(until=b"\r\n\r\n3").startswith(b"HTTP/1.1 200 ")
        peer.send(b'{"text": "d"}')
        assert peer.read().startswith(b"HTTP/1.1 400 ")
    assert door.ask(POST % (b"notes", b"Content-Length: %d\r\n" % len(body)) + body + b'{"text": "d"}') == b""


async def test_a_declared_length_above_the_limit_is_refused_unread(door):
    """The client waits for leave to send (RFC 9110, section 10.1.1), and gets none."""
    head = POST % (b"notes", b"Expect: 100-continue\r\nContent-Length: 2000000\r\n")
    with door.peer() as peer:
        peer.send(head)
        answer = await asyncio.to_thread(peer.read, b"}")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_client_that_goes_in_the_middle_is_no_crash(door, capsys):
    with door.peer() as peer:
        peer.send(POST % (b"notes", b"Content-Length: 100\r\n") + b"{")
    with door.peer() as peer:
        peer.send(POST % (b"files", b"Content-Length: 100\r\n") + b"{")
    assert door.ask(POST % (b"ignores", b"Connection: close\r\n")).startswith(b"HTTP/1.1 200 ")
    assert "crashed" not in "".join(capsys.readouterr())
