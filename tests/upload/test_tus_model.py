"""Whatever requests do to an upload, and wherever they break off: what it has is the beginning of the file."""

import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.upload.tus import parts as receiving
from services.upload.tus.protocol import checksum_of
from shared.contracts.problems import Problem
from tests.upload.replica import Replica, replicas
from tests.upload.resumable import books, digest, trickle

CONTENT = books(100)
PART_BYTES = 700  # so that the file has several


@pytest.fixture
async def pair(environment, monkeypatch):
    monkeypatch.setattr(receiving, "part_bytes_of", lambda _limit: PART_BYTES)
    async with replicas(environment, 2) as running:
        yield running


class CutOff(Exception):
    """The client went away."""


@dataclass
class Hanging:
    """A request that is being sent, bit by bit."""

    offset: int
    task: asyncio.Task | None = None
    sent: int = 0
    bits: asyncio.Queue = field(default_factory=asyncio.Queue)
    waits: asyncio.Event = field(default_factory=asyncio.Event)

    async def body(self):
        while True:
            if self.bits.empty():
                self.waits.set()
            bit = await self.bits.get()
            if bit is None:
                return
            if isinstance(bit, Exception):
                raise bit
            yield bit

    async def send(self, bit):
        """Hand `bit` over, and wait until it was dealt with."""
        self.waits.clear()
        self.bits.put_nowait(bit)
        waiting = asyncio.create_task(self.waits.wait())
        await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()


@dataclass
class Model:
    """The upload as it must be. `least`: bytes that no request may lose; `hanging` may have brought more."""

    replicas: list[Replica]
    database: object
    store: Path
    upload_id: object
    least: int = 0
    hanging: Hanging | None = None

    async def received(self):
        return await self.database.fetchval(
            "SELECT received FROM upload.tus_uploads WHERE id = $1", self.upload_id
        )

    async def check(self):
        """What there is, is the beginning of the file, without gaps; and the store has nothing that no row names."""
        received = await self.received()
        rows = await self.database.fetch(
            "SELECT * FROM upload.tus_parts WHERE upload_id = $1 AND state = 'kept' ORDER BY start",
            self.upload_id,
        )
        kept = b"".join((self.store / row["object_key"]).read_bytes() for row in rows)
        assert [row["start"] for row in rows] == [
            sum(row["size"] for row in rows[:n]) for n in range(len(rows))
        ]
        assert kept == CONTENT[:received]
        named = {
            row["object_key"] for row in await self.database.fetch("SELECT object_key FROM upload.tus_parts")
        }
        assert {f"tus/{path.name}" for path in (self.store / "tus").glob("*")} <= named
        if self.hanging is None:
            assert received == self.least
        else:
            assert self.least <= received <= max(self.least, self.hanging.offset + self.hanging.sent)
        return received

    async def patch(self, replica, size, chunk, how):
        offset = await self.received()
        body = CONTENT[offset : offset + size]
        said = {}
        if how in {"right checksum", "wrong checksum", "cut off with checksum"}:
            summed = body if how != "wrong checksum" else body + b"x"
            said["checksum"] = checksum_of({"upload-checksum": digest(hashlib.sha1, summed)})
        if how == "too long":
            body = CONTENT[offset:] + b"x"
        ending = CutOff() if how.startswith("cut off") else None
        begin = offset + 1 if how == "wrong offset" else offset
        counts = {"whole": len(body), "right checksum": len(body), "cut off": len(body)}
        appended = self.replicas[replica].append(self.upload_id, begin, trickle(body, chunk, ending), **said)
        if how in {"whole", "right checksum"}:
            await appended
        elif ending:
            with pytest.raises(CutOff):
                await appended
        else:
            codes = {"wrong checksum": "checksum_mismatch", "wrong offset": "upload_offset_conflict"}
            with pytest.raises(Problem) as raised:
                await appended
            assert raised.value.code == codes.get(how, "upload_too_long")
        if how == "too long":
            self.least = await self.received()  # full parts count, but never the last byte
            assert offset <= self.least < len(CONTENT) or offset == len(CONTENT)
        else:
            self.least = offset + counts.get(how, 0)
        if how != "wrong offset" and self.hanging is not None:
            await self.is_taken_over()

    async def is_taken_over(self):
        """Whoever hung hears so with its next part, and changes nothing."""
        hanging, self.hanging = self.hanging, None
        before = await self.received()
        await hanging.send(CONTENT[:1])
        await hanging.send(None)
        with pytest.raises(Problem) as raised:
            await hanging.task
        assert raised.value.code == "upload_taken_over"
        assert await self.received() == before

    async def hang(self, replica):
        if self.hanging is None and self.least < len(CONTENT) - 1:
            self.hanging = Hanging(await self.received())
            appended = self.replicas[replica].append(self.upload_id, self.hanging.offset, self.hanging.body())
            self.hanging.task = asyncio.create_task(appended)
            await self.hanging.waits.wait()

    async def go_on(self, size):
        hanging = self.hanging
        if hanging is not None:
            begin = hanging.offset + hanging.sent
            bit = CONTENT[begin : min(begin + size, len(CONTENT) - 1)]
            hanging.sent += len(bit)
            await hanging.send(bit)

    async def end(self, how):
        if self.hanging is not None:
            hanging, self.hanging = self.hanging, None
            await hanging.send(CutOff() if how == "cut off" else None)
            with pytest.raises(CutOff) if how == "cut off" else _nothing():
                await hanging.task
            self.least = hanging.offset + hanging.sent

    async def act(self, action, *arguments):
        await getattr(self, action)(*arguments)
        received = await self.check()
        self.least = max(self.least, received)

    async def sweep(self, replica):
        await self.replicas[replica].sweep()


class _nothing:  # noqa: N801 - stands where `pytest.raises` does
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


WHICH = st.integers(0, 1)
HOW = [
    "whole",
    "cut off",
    "right checksum",
    "wrong checksum",
    "cut off with checksum",
    "too long",
    "wrong offset",
]
ACTIONS = st.one_of(
    st.tuples(st.just("patch"), WHICH, st.integers(0, 1500), st.integers(1, 900), st.sampled_from(HOW)),
    st.tuples(st.just("hang"), WHICH),
    st.tuples(st.just("go_on"), st.integers(1, 1000)),
    st.tuples(st.just("go_on"), st.integers(1, 1000)),
    st.tuples(st.just("end"), st.sampled_from(["whole", "cut off"])),
    st.tuples(st.just("sweep"), WHICH),
)


@settings(max_examples=100)
@given(actions=st.lists(ACTIONS, max_size=15))
async def test_what_has_arrived_is_the_beginning_of_the_file(pair, database, environment, actions):
    store = Path(environment["PENSTOCK_STORE_URL"].removeprefix("file://"))
    model = Model(pair, database, store, await pair[0].create(len(CONTENT), force="true"))
    for action in actions:
        if model.least == len(CONTENT):
            break
        await model.act(*action)
    await model.end("whole")
    await model.check()
    if rest := CONTENT[model.least :]:
        await pair[0].append(model.upload_id, model.least, rest)
    await pair[1].finish(model.upload_id)
    row = await database.fetchrow("SELECT * FROM upload.imports WHERE import_id = $1", model.upload_id)
    assert row["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert (store / row["object_key"]).read_bytes() == CONTENT
    assert await database.fetchval("SELECT count(*) FROM upload.tus_parts") == 0
    assert not list((store / "tus").glob("*"))
