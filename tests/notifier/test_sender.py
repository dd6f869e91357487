"""One attempt, and all that may be at the other end of it."""

import asyncio
import errno
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from aiohttp import ClientConnectorError
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.delivery.answers import KEPT_BYTES, LONGEST_WAIT, seconds_to_wait
from services.notifier.delivery.connections import ANSWER_BYTES, HEADS_BYTES
from services.notifier.delivery.failures import in_words
from services.notifier.delivery.sender import HEAD_BYTES, Sender
from services.notifier.targets.guard import Guard
from services.notifier.targets.policy import TargetPolicy
from services.notifier.targets.resolver import Resolver
from tests.notifier.peer import CLOSE, HANG, RESET, THANKS, Says, peer

NO_ANSWER = "the connection was closed without an answer"
NO_HTTP = "what came back is no HTTP answer, or its head is malformed or too long"
BROKEN_OFF = "the answer broke off, or its body is malformed"
LATE = "no complete answer within 0.5 s"


@pytest.fixture
async def sender():
    guard = Guard(TargetPolicy(allow_private=True), Resolver())
    sender = Sender(guard, total_seconds=0.5, connect_seconds=0.3)
    yield sender
    await sender.close()
    await guard.close()


async def test_what_is_sent(sender):
    async with peer() as receiver:
        attempt = await sender.post(f"{receiver.url}?a=%2F#part", {"X-One": "1"}, b'{"a": 1}')
    assert (attempt.response_status, attempt.response_body, attempt.error) == (200, "thanks", None)
    assert receiver.heads[0].split("\r\n")[0] == "POST /hook?a=/ HTTP/1.1"
    assert {line.partition(":")[0].lower() for line in receiver.heads[0].split("\r\n")[1:]} == {
        "host",
        "content-length",
        "x-one",
    }
    assert receiver.bodies == [b'{"a": 1}']


async def test_connections_are_kept(sender):
    async with peer() as receiver:
        for _ in range(5):
            assert (await sender.post(receiver.url, {}, b"{}")).succeeded
        assert (receiver.connections, len(receiver.bodies)) == (1, 5)


def head(*lines, status="200 OK"):
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("says", "status", "body", "error"),
    [
        (Says(b"HTTP/1.0 200 OK\r\n\r\nold", CLOSE), 200, "old", None),
        (Says(head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"), 200, "abc", None),
        (Says(head("Link: x", status="103 Early Hints") + THANKS), 200, "thanks", None),
        (Says(head(status="204 No Content")), 204, "", None),
        (Says(head("Upgrade: x", "Connection: upgrade", status="101 Switching")), 101, "", None),
        (Says(head("Content-Encoding: gzip", "Content-Length: 3") + b"abc"), 200, "abc", None),
        (Says(head("X: " + "a" * (HEAD_BYTES - 100), "Content-Length: 0")), 200, "", None),
        (Says(head("X: " + "a" * 2 * HEAD_BYTES, "Content-Length: 0")), None, None, NO_HTTP),
        (Says(head(*["X: a"] * 5000)), None, None, NO_HTTP),
        (Says(head("Content-Length: -1")), None, None, NO_HTTP),
        (Says(b"SSH-2.0-OpenSSH\r\n\r\n"), None, None, NO_HTTP),
        (Says(b"", CLOSE), None, None, NO_ANSWER),
        (Says(b"HTTP/1.1 200 OK\r\nContent-Le", CLOSE), None, None, NO_ANSWER),
        (Says(b"", RESET), None, None, "the connection broke: connection reset by peer"),
        (Says(head("Content-Length: 10") + b"abc", CLOSE), 200, "abc", BROKEN_OFF),
        (Says(head("Content-Length: 10") + b"abc", RESET), 200, "abc", BROKEN_OFF),
        (Says(head("Transfer-Encoding: chunked") + b"nonsense\r\n"), None, None, NO_HTTP),
        (Says(head("Content-Length: 10") + b"abc", HANG), 200, "abc", LATE),
        (Says(head("Content-Length: 10"), HANG), 200, "", LATE),
        (Says(b"", HANG), None, None, LATE),
        (Says(head("Content-Length: 500"), drip=0.02), None, None, LATE),
    ],
)
async def test_whatever_comes_back_is_an_attempt(sender, says, status, body, error):
    async with peer(says) as receiver:
        attempt = await sender.post(receiver.url, {}, b"{}")
    assert (attempt.response_status, attempt.response_body, attempt.error) == (status, body, error)
    assert len(receiver.bodies) == 1
    assert attempt.latency_ms < 3000
    assert datetime.now(UTC) - attempt.attempted_at < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("says", "status", "body", "error"),
    [
        (Says(head(status="103 Early Hints") * (HEADS_BYTES // 20), HANG), None, None, NO_HTTP),
        (Says(head("Transfer-Encoding: chunked") + b"5;" + b"x" * ANSWER_BYTES, HANG), 200, "", BROKEN_OFF),
    ],
    ids=["interim answers", "a chunk's extension"],
)
async def test_a_flood_is_read_up_to_a_bound(says, status, body, error):
    guard = Guard(TargetPolicy(allow_private=True), Resolver())
    patient = Sender(guard, total_seconds=60)
    async with peer(says) as receiver:
        attempt = await patient.post(receiver.url, {}, b"{}")
    assert (attempt.response_status, attempt.response_body, attempt.error) == (status, body, error)
    await patient.close()
    await guard.close()


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (OSError(errno.EHOSTUNREACH, "Connect call failed ('10.1.2.3', 80)"), "no route to host"),
        (
            OSError("Multiple exceptions: [Errno 101] Connect call failed ('fd00::1', 80), [Errno 113] …"),
            "none of the host's addresses can be reached",
        ),
        (PermissionError(errno.EACCES, "webhooks may not go there"), "webhooks may not go there"),
    ],
)
def test_a_connection_that_fails_does_not_tell_the_addresses(cause, words):
    failure = ClientConnectorError(None, cause)
    failure.__cause__ = cause
    assert in_words(failure, connect_seconds=5, total_seconds=15) == f"no connection: {words}"


async def test_an_answer_before_the_request_is_read(sender):
    async def refuse(_, writer):
        writer.write(head("Content-Length: 0", "Connection: close", status="413 Too Large"))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        attempt = await sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")
    assert (attempt.response_status, attempt.error) == (413, None)


async def test_a_kept_connection_is_cut_when_unasked_bytes_come(sender):
    answered, cut = asyncio.Event(), asyncio.Event()

    async def flood(reader, writer):
        await reader.readuntil(b"{}")
        writer.write(THANKS)
        await answered.wait()
        with suppress(ConnectionError):
            writer.write(THANKS * (2 * ANSWER_BYTES // len(THANKS)))
            await reader.read()
        cut.set()
        writer.close()

    async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")).succeeded
        answered.set()
        async with asyncio.timeout(5):  # it would be kept for 15
            await cut.wait()


async def test_a_long_response_is_cut(sender):
    async with peer(Says(head(f"Content-Length: {10**9}") + b"\0\xff" * KEPT_BYTES, HANG)) as receiver:
        attempt = await sender.post(receiver.url, {}, b"{}")
    assert (attempt.response_status, attempt.error) == (200, None)
    assert attempt.response_body == "\N{REPLACEMENT CHARACTER}" * KEPT_BYTES


async def test_a_redirect_is_not_followed(sender):
    async with (
        peer() as target,
        peer(Says(head(f"Location: {target.url}", "Content-Length: 0", status="307 Over There"))) as receiver,
    ):
        attempt = await sender.post(receiver.url, {}, b"{}")
        assert (attempt.response_status, attempt.succeeded, target.connections) == (307, False, 0)


async def test_proxies_of_the_environment_passwords_and_cookies_are_not_used(sender, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with peer() as proxy, peer(Says(head("Set-Cookie: a=b", "Content-Length: 0"))) as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for _ in range(2):
            assert (await sender.post(receiver.url, {}, b"{}")).succeeded
        assert proxy.connections == 0
        assert receiver.header("cookie") == receiver.header("authorization") == []


@pytest.mark.parametrize("how", [CLOSE, RESET])
async def test_a_connection_that_was_closed_meanwhile_costs_no_attempt(sender, how):
    async with peer(Says(), Says(b"", how)) as receiver:
        for _ in range(2):
            attempt = await sender.post(receiver.url, {"webhook-id": "msg_1"}, b"{}")
            assert (attempt.response_status, attempt.error) == (200, None)
        assert (receiver.connections, len(receiver.bodies)) == (2, 3)
        assert receiver.header("webhook-id") == ["msg_1"]


@pytest.mark.parametrize(
    ("script", "posts", "error"),
    [
        ([Says(b"", CLOSE)], 1, NO_ANSWER),  # a new connection
        ([Says(), Says(b"HTTP/1.1 2", CLOSE)], 2, NO_ANSWER),  # the answer had begun
        ([Says(), Says(b"", HANG)], 2, LATE),
        ([Says(), Says(b"", CLOSE), Says(b"", CLOSE)], 3, NO_ANSWER),  # not a third time
    ],
)
async def test_what_is_not_sent_again(sender, script, posts, error):
    async with peer(*script) as receiver:
        for _ in script[: 2 if len(script) > 1 else 1]:
            attempt = await sender.post(receiver.url, {}, b"{}")
        assert (attempt.response_status, attempt.error) == (None, error)
        assert len(receiver.bodies) == posts


async def test_nobody_listens(sender):
    async with peer() as receiver:
        url = receiver.url
    attempt = await sender.post(url, {}, b"{}")
    assert (attempt.response_status, attempt.response_body) == (None, None)
    assert attempt.error == "connection refused"


async def test_a_connection_that_does_not_come_about(sender):
    async with peer() as receiver:  # it waits for a request, not for TLS
        attempt = await sender.post(receiver.url.replace("http:", "https:"), {}, b"{}")
    assert (attempt.response_status, attempt.error) == (None, "no connection within 0.3 s")
    assert 250 <= attempt.latency_ms < 2000


@pytest.mark.parametrize("found", [["127.0.0.1"], ["127.0.0.1", "::1"]])
async def test_what_was_not_vetted_is_not_dialled(found):
    class Careless(Guard):
        async def addresses(self, host):
            return [ip_address(address) for address in found]

    sender = Sender(Careless(TargetPolicy(), Resolver()))
    async with peer() as receiver:
        attempt = await sender.post(f"http://hook.example:{receiver.port}/", {}, b"{}")
    assert (attempt.error, receiver.connections) == ("no connection: webhooks may not go there", 0)
    await sender.close()


async def test_an_unknown_host_and_a_url_that_cannot_be_called(sender):
    assert (await sender.post("http://" + "a" * 64 + ".example/", {}, b"{}")).error
    assert "brackets" in ((await sender.post("http://::1/", {}, b"{}")).error or "")


async def test_a_name_with_a_dot_at_its_end_is_the_same_host(sender):
    async with peer() as receiver:
        assert (await sender.post(f"http://localhost.:{receiver.port}/", {}, b"{}")).succeeded
    assert receiver.header("host") == [f"localhost:{receiver.port}"]


async def test_a_retry_is_asked_for(sender):
    async with peer(Says(head("Retry-After: 120", "Content-Length: 0", status="503 Busy"))) as receiver:
        attempt = await sender.post(receiver.url, {}, b"{}")
    assert (attempt.response_status, attempt.retry_after) == (503, 120)


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("-5", 0),
        ("9" * 400, LONGEST_WAIT),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sunday, 01-Mar-26 12:00:30 GMT", 30),
        ("Sun Mar  1 12:00:30 2026", 30),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
        ("soon", None),
        ("nan", None),
        ("1e5", None),
        ("１２", None),
    ],
)
def test_retry_after(value, seconds):
    assert seconds_to_wait(value, NOW) == seconds


@given(
    st.text() | st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} \d\d:\d\d:\d\d [+-]?\w{1,6}\Z")
)
def test_any_retry_after_is_a_time_to_wait_or_nothing(value):
    seconds = seconds_to_wait(value, NOW)
    assert seconds is None or 0 <= seconds <= LONGEST_WAIT
