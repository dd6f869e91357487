"""Real processes on one database and one store, and clients of tus as they are out there."""

import asyncio
import hashlib
import itertools
import os
import signal
import socket
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed

from services.upload.tus.sweep import sweep
from shared.platform.database import engine_for
from shared.platform.objects import Objects
from tests.upload.conftest import bearer
from tests.upload.resumable import Tus, books, metadata
from tests.upload.test_process import MIB, Process

CONTENT = books(400_000)  # 12 MB
UNSEEN = 512 * 1024  # bytes that the server may have taken from a line, and not looked at, when it breaks
SAID = {"filename": "books.csv", "dataset": "books"}


class Replica(Process):
    """`penstock serve upload`, which may be killed."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def kill(self):
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self):
        return super().stop() if self._process.poll() is None else 0.0


@pytest.fixture
async def replicas(environment, tmp_path):
    """Two, both ready."""
    running = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        running.append(Replica(environment, tmp_path / name))
    for replica in running:
        async with httpx.AsyncClient(base_url=replica.url, trust_env=False) as client:
            await replica.ready(client)
    yield running
    for replica in running:
        replica.stop()


@pytest.fixture
async def both(replicas, environment):
    """A client of each."""
    async with (
        httpx.AsyncClient(base_url=replicas[0].url, timeout=60, trust_env=False) as one,
        httpx.AsyncClient(base_url=replicas[1].url, timeout=60, trust_env=False) as other,
    ):
        yield [Tus(client, environment["PENSTOCK_JWT_SECRET"]) for client in (one, other)]


@pytest.fixture
def headers(environment):
    return bearer(environment["PENSTOCK_JWT_SECRET"], "imports:write")


@pytest.fixture
def stored(environment, database):
    """The bytes of each import's file; and that nothing else is in the store."""
    store = Path(environment["PENSTOCK_STORE_URL"].removeprefix("file://"))

    async def files():
        keys = [row["object_key"] for row in await database.fetch("SELECT object_key FROM upload.imports")]
        async with asyncio.timeout(10):  # parts are removed behind the answer
            while {path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()} != set(
                keys
            ):
                await asyncio.sleep(0.1)
        return [(store / key).read_bytes() for key in keys]

    return files


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def uploader_of(address, headers, content, **options):
    client = TusClient(f"{address}/api/v1/tus", headers=headers)
    return client.uploader(file_stream=BytesIO(content), metadata=SAID, **options)


async def test_tuspy_sends_a_file(replicas, headers, stored):
    for checksum in (False, True):
        content = CONTENT if checksum else CONTENT[:-1] + b"\r\n"
        uploader = uploader_of(
            replicas[0].url, headers, content, chunk_size=5 * MIB, upload_checksum=checksum
        )
        await asyncio.to_thread(uploader.upload)
        assert uploader.request.response_headers["penstock-import"]
    assert sorted(map(len, await stored())) == [len(CONTENT), len(CONTENT) + 1]


async def test_tuspy_goes_on_at_another_replica_where_it_was_interrupted(replicas, headers, stored):
    uploader = uploader_of(replicas[0].url, headers, CONTENT, chunk_size=MIB)
    await asyncio.to_thread(uploader.upload, stop_at=3 * MIB)
    replicas[0].kill()
    with pytest.raises((TusUploadFailed, TusCommunicationError)):
        await asyncio.to_thread(uploader.upload)
    moved = uploader.url.replace(replicas[0].url, replicas[1].url)
    resumed = uploader_of(replicas[1].url, headers, CONTENT, chunk_size=4 * MIB, url=moved)
    assert resumed.offset == 3 * MIB
    await asyncio.to_thread(resumed.upload)
    assert [sha256(file) for file in await stored()] == [sha256(CONTENT)]


async def test_tuspy_is_told_why_a_file_is_refused(replicas, headers):
    with pytest.raises(TusUploadFailed) as raised:
        await asyncio.to_thread(uploader_of(replicas[0].url, headers, b"PK\x03\x04" + bytes(1000)).upload)
    assert raised.value.status_code == 415
    assert b"file_not_text" in raised.value.response_content


async def test_any_replica_takes_any_piece(both, stored):
    path = await both[0].created(len(CONTENT))
    offset = 0
    sizes = itertools.cycle([1, 700_001, 65_536, 4 * MIB, 13])
    for tus, size in zip(itertools.cycle(both), sizes, strict=False):
        assert await tus.offset(path) == offset
        response = await tus.patch(path, offset, CONTENT[offset : offset + size])
        assert response.status_code == 204, response.text
        offset = int(response.headers["upload-offset"])
        if offset == len(CONTENT):
            break
    assert response.headers["penstock-import"]
    assert [sha256(file) for file in await stored()] == [sha256(CONTENT)]


def begin_patch(replica, tus, path, offset, length):
    """A connection on which a PATCH has begun, whose body is still to come."""
    line = socket.create_connection(("127.0.0.1", replica.port), timeout=60)
    head = [
        f"PATCH {path} HTTP/1.1",
        "Host: penstock",
        f"Content-Length: {length}",
        f"Upload-Offset: {offset}",
    ]
    head += ["Content-Type: application/offset+octet-stream"]
    head += [f"{name}: {value}" for name, value in tus.headers.items()]
    line.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
    return line


async def test_what_had_arrived_when_the_client_went_away_is_kept(replicas, both, stored):
    tus = both[0]
    path = await tus.created(len(CONTENT))
    sent = 5 * MIB + 12_345
    with closing(begin_patch(replicas[0], tus, path, 0, len(CONTENT))) as line:
        await asyncio.to_thread(line.sendall, CONTENT[:sent])
    async with asyncio.timeout(10):
        while (offset := await both[1].offset(path)) < sent - UNSEEN:
            await asyncio.sleep(0.05)
    assert offset <= sent
    response = await both[1].patch(path, offset, CONTENT[offset:])
    assert response.headers["penstock-import"]
    assert [sha256(file) for file in await stored()] == [sha256(CONTENT)]


async def test_a_request_that_hangs_is_taken_over_by_another_replica(replicas, both, stored):
    path = await both[0].created(len(CONTENT))
    with closing(begin_patch(replicas[0], both[0], path, 0, len(CONTENT))) as line:
        await asyncio.to_thread(line.sendall, CONTENT[: 5 * MIB])
        async with asyncio.timeout(10):
            while not (offset := await both[1].offset(path)):
                await asyncio.sleep(0.05)
        response = await both[1].patch(path, offset, CONTENT[offset : offset + MIB])
        assert response.status_code == 204
        with suppress(ConnectionError):
            await asyncio.to_thread(line.sendall, CONTENT[5 * MIB :])
        assert b" 409 " in (await asyncio.to_thread(line.recv, 4096)).splitlines()[0]
    offset += MIB
    assert await both[0].offset(path) == offset
    assert (await both[0].patch(path, offset, CONTENT[offset:])).headers["penstock-import"]
    assert [sha256(file) for file in await stored()] == [sha256(CONTENT)]


async def test_a_process_killed_in_the_middle_of_a_piece_loses_at_most_that(
    replicas, both, stored, database, environment
):
    path = await both[0].created(len(CONTENT))
    with closing(begin_patch(replicas[0], both[0], path, 0, len(CONTENT))) as line:
        await asyncio.to_thread(line.sendall, CONTENT[: 9 * MIB])
        async with asyncio.timeout(10):
            while await both[1].offset(path) < 4 * MIB - 256 * 1024:
                await asyncio.sleep(0.01)
        replicas[0].kill()
    offset = await both[1].offset(path)
    assert offset > 0
    assert (await both[1].patch(path, offset, CONTENT[offset:])).headers["penstock-import"]
    await database.execute("UPDATE upload.tus_parts SET began_at = began_at - interval '1 hour'")
    replicas[1].stop()
    await _sweep_once(environment)
    assert [sha256(file) for file in await stored()] == [sha256(CONTENT)]
    assert await database.fetchval("SELECT count(*) FROM upload.tus_parts") == 0


async def _sweep_once(environment):
    engine = engine_for(environment["PENSTOCK_DATABASE_URL"], "upload", pool_size=1)
    try:
        await sweep(engine, Objects(environment["PENSTOCK_STORE_URL"]))
    finally:
        await engine.dispose()


@pytest.mark.parametrize("after", [0.02, 0.2])
async def test_a_process_killed_while_it_checks_a_file_leaves_that_to_another(
    replicas, both, stored, database, after
):
    path = await both[0].created(len(CONTENT))
    half = len(CONTENT) // 2
    await both[1].patch(path, 0, CONTENT[:half])
    last = asyncio.create_task(both[0].patch(path, half, CONTENT[half:]))
    async with asyncio.timeout(20):
        while await database.fetchval("SELECT count(finish_owner) FROM upload.tus_uploads") == 0:
            await asyncio.sleep(0.002)
    await asyncio.sleep(after)
    replicas[0].kill()  # it may have it in hand, or the other
    with suppress(httpx.TransportError):
        await last
    shown = await both[1].outcome(path, seconds=60)
    assert shown["state"] == "accepted"
    assert await database.fetchval("SELECT count(*) FROM upload.imports") == 1
    assert [sha256(file) for file in await stored()] == [sha256(CONTENT)]


async def test_a_stop_keeps_what_has_arrived(replicas, both, stored):
    path = await both[0].created(len(CONTENT))
    with closing(begin_patch(replicas[0], both[0], path, 0, len(CONTENT))) as line:
        await asyncio.to_thread(line.sendall, CONTENT[: 2 * MIB])
        await asyncio.sleep(0.5)
        replicas[0]._process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        with suppress(ConnectionError):
            await asyncio.to_thread(line.sendall, CONTENT[2 * MIB : 2 * MIB + 1000])
        replicas[0]._process.wait(timeout=20)
    offset = await both[1].offset(path)
    assert offset >= 2 * MIB
    assert (await both[1].patch(path, offset, CONTENT[offset:])).headers["penstock-import"]
    assert [sha256(file) for file in await stored()] == [sha256(CONTENT)]


async def test_memory_does_not_grow_with_the_request(replicas, both):
    size = 300 * MIB
    one = both[0]
    warm = await one.created(20 * MIB, Upload_Concat="partial")
    await one.patch(warm, 0, _zeros(20 * MIB))
    before = replicas[0].peak_memory()
    path = await one.created(size, Upload_Concat="partial")
    response = await one.patch(path, 0, _zeros(size), Content_Length=size)
    assert response.headers["upload-offset"] == str(size)
    assert replicas[0].peak_memory() - before < 32 * MIB


async def _zeros(size):
    block = bytes(MIB)
    for _ in range(size // MIB):
        yield block


async def test_pieces_may_come_side_by_side(both, stored):
    """The requests that tus-js-client sends with `parallelUploads`."""
    count = 3
    step = -(-len(CONTENT) // count)
    pieces = [CONTENT[n * step : (n + 1) * step] for n in range(count)]

    async def send(tus, piece):
        path = await tus.created(len(piece), Upload_Concat="partial")
        assert (await tus.patch(path, 0, piece)).status_code == 204
        return path

    paths = await asyncio.gather(
        *(send(tus, piece) for tus, piece in zip(itertools.cycle(both), pieces, strict=False))
    )
    response = await both[0].create(
        None, Upload_Concat="final;" + " ".join(paths), Upload_Metadata=metadata(**SAID)
    )
    assert response.headers["penstock-import"]
    assert [sha256(file) for file in await stored()] == [sha256(CONTENT)]
