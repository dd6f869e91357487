"""The upload service as a process of its own: clients that go away, files that are large."""

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.upload.conftest import BOOKS, Upload, bearer

ROOT = Path(__file__).parent.parent.parent
MIB = 1024**2
LINE = b"Momo und die grauen Herren,Michael Ende,9783522177504,1973\n"


class Process:
    """`penstock serve upload` on a free port."""

    def __init__(self, environment, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / "upload.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "penstock", "serve", "upload", "--port", str(self.port)],
                cwd=ROOT,
                env=os.environ | environment,
                stdout=log,
                stderr=log,
            )

    async def ready(self, client):
        for _ in range(600):
            assert self._process.poll() is None, self.log.read_text()
            try:
                if (await client.get("/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
        pytest.fail(self.log.read_text())

    def peak_memory(self):
        """The most it ever held, in bytes (VmHWM in proc(5))."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    def events(self):
        """The names of what it logged."""
        return [json.loads(line)["event"] for line in self.log.read_text().splitlines() if line[:1] == "{"]

    def stop(self):
        """End it in good order; how many seconds it took."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=20)
        return time.monotonic() - began


@pytest.fixture
async def process(environment, tmp_path):
    running = Process(environment, tmp_path)
    yield running
    running.stop()


@pytest.fixture
async def upload(process, environment, database):
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{process.port}", timeout=60, trust_env=False
    ) as client:
        await process.ready(client)
        store = Path(environment["PENSTOCK_STORE_URL"].removeprefix("file://"))
        yield Upload(client, database, store, environment["PENSTOCK_JWT_SECRET"])


def request_head(upload, *lines):
    token = bearer(upload.secret, "imports:write")["Authorization"]
    return "\r\n".join(
        ["POST /api/v1/uploads?dataset=books HTTP/1.1", "Host: x", f"Authorization: {token}", *lines, "", ""]
    ).encode()


async def eventually(true):
    for _ in range(500):
        if await true():
            return
        await asyncio.sleep(0.02)
    pytest.fail("still not so after 10 s")


@pytest.mark.parametrize("sent", [0, 100, 20 * MIB], ids=["nothing", "the header", "20 MiB"])
@pytest.mark.parametrize("multipart", [True, False], ids=["multipart", "raw"])
async def test_a_client_that_goes_away_leaves_nothing(upload, process, sent, multipart):
    media_type = "multipart/form-data; boundary=x" if multipart else "text/csv"
    head = request_head(upload, f"Content-Type: {media_type}", f"Content-Length: {100 * MIB}")
    if multipart:
        head += b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.csv"\r\n\r\n'
    body = (BOOKS + LINE * (20 * MIB // len(LINE) + 1))[:sent]
    with closing(socket.create_connection(("127.0.0.1", process.port))) as client:
        await asyncio.to_thread(client.sendall, head + body)
        if sent > MIB:  # some of it is on the disk before the client goes
            await eventually(lambda: asyncio.to_thread(upload.objects))
        await asyncio.sleep(0.1)
    await eventually(upload.left_nothing)
    assert (await upload.form()).status_code == 202
    assert len(upload.objects()) == 1
    assert not [event for event in process.events() if "crashed" in event or "Exception" in event]


async def test_a_refused_client_that_still_sends_gets_its_answer(upload, process):
    """It is refused by the first bytes, and reads only once it has sent everything, as most do."""
    body = b"no,header,of,ours\n" * (10 * MIB // 18)
    head = request_head(upload, "Content-Type: text/csv", f"Content-Length: {len(body)}", "Connection: close")

    def send_and_read():
        with closing(socket.create_connection(("127.0.0.1", process.port), timeout=20)) as client:
            client.sendall(head + body)
            return b"".join(iter(lambda: client.recv(65536), b""))

    answer = await asyncio.to_thread(send_and_read)
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert b'"code":"header_missing"' in answer
    assert await upload.left_nothing()


async def send_large(upload, size):
    """A file of about `size` bytes, made as it goes; its hash and number of records."""
    digest, count = hashlib.sha256(), size // len(LINE)
    block = LINE * 1000

    async def pieces():
        header = BOOKS[: BOOKS.index(b"\n") + 1]
        for piece in (header, *[block] * (count // 1000)):
            digest.update(piece)
            yield piece

    response = await upload.raw(pieces())
    assert response.status_code == 202, response.text
    assert response.json()["sha256"] == digest.hexdigest()
    assert response.json()["rows_detected"] == count // 1000 * 1000
    [stored] = upload.store.rglob(response.json()["id"])
    assert stored.stat().st_size == response.json()["file_size"]
    stored.unlink()


async def test_memory_does_not_grow_with_the_file(upload, process):
    await send_large(upload, 20 * MIB)
    small = process.peak_memory()
    await send_large(upload, 200 * MIB)
    assert process.peak_memory() - small < 24 * MIB
    assert process.peak_memory() < 200 * MIB


async def test_the_log_tells_of_an_upload_and_carries_its_trace(upload, process):
    response = await upload.form()
    lines = [json.loads(line) for line in process.log.read_text().splitlines() if line[:1] == "{"]
    [line] = [line for line in lines if line["event"] == "import.uploaded"]
    assert line["trace_id"] == response.headers["x-request-id"]
    assert (line["import_id"], line["bytes"]) == (response.json()["id"], len(BOOKS))
    assert upload.secret not in process.log.read_text()


async def test_a_process_that_is_stopped_leaves_no_half_file(upload, process):
    head = request_head(upload, "Content-Type: text/csv", f"Content-Length: {100 * MIB}")
    with closing(socket.create_connection(("127.0.0.1", process.port))) as client:
        await asyncio.to_thread(client.sendall, head + BOOKS + LINE * (20 * MIB // len(LINE)))
        await eventually(lambda: asyncio.to_thread(upload.objects))
        seconds = await asyncio.to_thread(process.stop)
    assert seconds < 10
    assert await upload.left_nothing()
