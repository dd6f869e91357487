"""What becomes of requests in hand when a process is told to stop: each hears of it, and leaves nothing half."""

import asyncio
import json
import select
import socket
from contextlib import closing

import pytest

from tests.e2e.stack import Stack, token, until

MIB = 1024**2
LINE = b"Momo und die grauen Herren,Michael Ende,9783522177504,1973\n"
FILE = b"title,author,isbn,publication_year\n" + LINE * (4 * MIB // len(LINE))


@pytest.fixture
async def stack(database_url, tmp_path):
    running = Stack(tmp_path, database_url, None)
    yield await running.started()
    await running.close()


def head(target, *lines):
    return "\r\n".join(
        [f"POST /api/v1/{target} HTTP/1.1", "Host: x", f"Authorization: Bearer {token()}", *lines, "", ""]
    ).encode()


def connected(stack):
    return closing(socket.create_connection(("127.0.0.1", stack.ports["all"]), timeout=20))


def read(peer):
    answer = b"".join(iter(lambda: peer.recv(65536), b""))
    lines, _, body = answer.partition(b"\r\n\r\n")
    return lines.lower().split(b"\r\n"), json.loads(body)


def assert_stopping(lines, document):
    assert lines[0].startswith(b"http/1.1 503 ")
    assert document["code"] == "service_stopping"
    assert b"connection: close" in lines
    assert any(line.startswith(b"retry-after: ") for line in lines)


def stored(stack):
    return [path for path in (stack.folder / "store").rglob("*") if path.is_file()]


async def test_an_upload_in_the_middle_hears_of_it_and_leaves_nothing(stack):
    with connected(stack) as peer:
        sent = head("uploads?dataset=books", "Content-Type: text/csv", f"Content-Length: {100 * MIB}") + FILE
        await asyncio.to_thread(peer.sendall, sent)
        await until(lambda: asyncio.to_thread(stored, stack), 20)
        seconds = await asyncio.to_thread(stack.stop, "all")
        lines, document = await asyncio.to_thread(read, peer)
    assert_stopping(lines, document)
    assert seconds < 10
    assert stored(stack) == []
    assert await stack.rows("SELECT 1 FROM upload.imports") == []
    assert "Traceback" not in stack.log("all", most=10**6)


async def test_a_client_that_is_still_sending_hears_of_it_too(stack):
    """It looks for an answer between what it sends, as curl does."""

    def send_until_answered(peer):
        while not select.select([peer], [], [], 0.01)[0]:
            peer.sendall(LINE * 100)
        return read(peer)

    with connected(stack) as peer:
        peer.sendall(head("uploads?dataset=books", "Content-Type: text/csv", f"Content-Length: {100 * MIB}"))
        answered = asyncio.create_task(asyncio.to_thread(send_until_answered, peer))
        await until(lambda: asyncio.to_thread(stored, stack), 20)
        await asyncio.to_thread(stack.stop, "all")
        assert_stopping(*await answered)


async def test_half_a_json_body_hears_of_it(stack):
    with connected(stack) as peer:
        sent = head("webhooks", "Content-Type: application/json", "Content-Length: 100") + b"{"
        await asyncio.to_thread(peer.sendall, sent)
        await asyncio.sleep(0.2)  # on its way; otherwise nobody would know of it
        await asyncio.to_thread(stack.stop, "all")
        assert_stopping(*await asyncio.to_thread(read, peer))


async def test_a_request_that_needs_a_moment_is_answered(stack):
    """It ends within the time that requests in hand have."""
    small = b"title,author,isbn,publication_year\nMomo,Michael Ende,978-3-522-17750-4,1973\n"
    with connected(stack) as peer:
        sent = head("uploads?dataset=books", "Content-Type: text/csv", f"Content-Length: {len(small)}")
        await asyncio.to_thread(peer.sendall, sent + small[:-1])
        await asyncio.sleep(0.2)
        stopping = asyncio.create_task(asyncio.to_thread(stack.stop, "all"))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(peer.sendall, small[-1:])
        lines, document = await asyncio.to_thread(read, peer)
        await stopping
    assert lines[0].startswith(b"http/1.1 202 ")
    assert [str(row["id"]) for row in await stack.rows("SELECT import_id AS id FROM upload.imports")] == [
        document["id"]
    ]
