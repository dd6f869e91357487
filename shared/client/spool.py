"""Investigation events on disk until Penstock has them: a folder that any number of processes share.

Each process appends to a segment of its own, a file of JSON lines, and holds its lock (flock) as long as it lives; so no
process ever waits for another one. A segment whose process has ended is adopted by the next one that looks. A segment is
removed when all of it was delivered: a process that is killed between the server's answer and that leaves some events to be
sent twice, under the same ids, which count once. Where a system has no such locks (Windows), nothing can be written to it.

What is written is with the operating system: it outlives the process, also `kill -9`. `sync` makes it outlive the machine:
the thread that sends does that for what cannot be sent, at each try, so that no pipeline ever waits for a disk.
"""

import errno
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shared.client.investigation_event import Json

try:
    import fcntl
except ImportError:  # the rest of the client works all the same
    fcntl = None  # type: ignore[assignment]

SPOOL_BYTES = 64 * 1024 * 1024  # of all segments: some 100,000 events
SEGMENT_BYTES = 256 * 1024  # what is sent again at most after a crash: one or two batches
CHUNK_BYTES = 1024 * 1024  # an event is below 40 kB
BATCH_EVENTS = 500  # what the API takes at once
BATCH_BYTES = 900 * 1024  # of 1 MiB, which the API takes
ASIDE_BYTES = 4 * 1024 * 1024
LOOK_SECONDS = 30.0  # how long what an ended process left waits for the next one at most
SEGMENTS = "*.events"
REFUSED = "refused.jsonl"
DAMAGED = "damaged.txt"


class SpoolFull(OSError):
    """There is no room, and nothing old that may be dropped for it. The event is not in the spool."""


class NoLocks(OSError):
    """This system cannot share a spool among processes. The event is not in the spool."""

    def __init__(self) -> None:
        super().__init__(errno.ENOTSUP, "it needs file locks of POSIX, which this system does not have")


class Lines(NamedTuple):
    """What stands in a piece of a segment.

    Attributes:
        damaged: Lines that are no event.
        end: Bytes that the events and the damaged lines take.
    """

    events: list[Json]
    damaged: list[bytes]
    end: int


@dataclass(eq=False)
class Segment:
    """A file whose lock this process holds.

    Attributes:
        size: Bytes of it that are whole lines.
        settled: Bytes from its beginning that need not be sent any more.
        synced: Bytes that outlive the machine.
    """

    path: Path
    descriptor: int
    size: int
    settled: int = 0
    synced: int = 0


@dataclass
class Batch:
    """Events to send at once; `events` may be put to what is left of them.

    Attributes:
        damaged: Lines among them that are no event.
        segment: Where they are from; None: from memory.
        end: Where they end in it.
    """

    events: list[Json]
    damaged: list[bytes]
    segment: Segment | None
    end: int


def line_of(event: Json) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read_lines(data: bytes, *, whole: bool) -> Lines:
    """The first events in `data`, as many as are sent at once. Any bytes can be read: what is no event is damaged.

    Args:
        data: From the beginning of a line.
        whole: Nothing follows. Else an unfinished last line is left to the next time, unless there is nothing but it.
    """
    events: list[Json] = []
    damaged: list[bytes] = []
    end = 0
    for line in _lines(data):
        is_unfinished = not line.endswith(b"\n") and not whole
        if events and (is_unfinished or len(events) == BATCH_EVENTS or end + len(line) > BATCH_BYTES):
            break
        if is_unfinished and end:
            break
        if (event := event_of(line)) is not None:
            events.append(event)
        elif line.strip():
            damaged.append(line)
        end += len(line)
    return Lines(events, damaged, end)


def _lines(data: bytes) -> Iterator[bytes]:
    begin = 0
    while begin < len(data):
        end = data.find(b"\n", begin) + 1 or len(data)
        yield data[begin:end]
        begin = end


def event_of(line: bytes) -> Json | None:
    """The line as an event that can be sent; None: it is damaged."""
    try:
        event = json.loads(line)
        json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


class Spool:
    """The spool as one process has it. Safe to use from any thread, and from a signal handler.

    Attributes:
        dropped: Events that this process has dropped, the oldest first, because the spool was full.
        damaged: Lines that it has found to be no event, and set aside.
    """

    def __init__(self, folder: Path, *, max_bytes: int = SPOOL_BYTES) -> None:
        self.folder = folder
        self.dropped = self.damaged = 0
        self._max_bytes = max_bytes
        self._segment_bytes = min(SEGMENT_BYTES, max_bytes // 4)
        self._lock = threading.RLock()  # a signal handler may log while its thread is within it
        self._begin()

    def _begin(self) -> None:
        self._current: Segment | None = None
        self._waiting: list[Segment] = []  # full ones of this process, and adopted ones
        self._look_at = 0.0

    def after_fork(self) -> None:
        """Begin anew in a child: segments stay the parent's, whose locks must not outlive it here."""
        for segment in self._segments():
            with suppress(OSError):
                os.close(segment.descriptor)
        self.dropped = self.damaged = 0
        self._lock = threading.RLock()  # a thread that is not in the child may hold the one before
        self._begin()

    def append(self, event: Json) -> None:
        """Write the event.

        Raises:
            OSError: it cannot be written, and nothing of it is; SpoolFull is one.
        """
        line = line_of(event)
        with self._lock:
            segment = self._writable()
            try:
                _write(segment.descriptor, line)
            except OSError:
                self._take_back(segment)
                raise
            segment.size += len(line)

    def take(self) -> Batch | None:
        """The next events to send; None: nothing waits. They stay in the spool until they are settled.

        Raises:
            OSError: the spool cannot be read.
        """
        with self._lock:
            while (segment := self._next()) is not None:
                left = segment.size - segment.settled
                data = os.pread(segment.descriptor, min(left, CHUNK_BYTES), segment.settled)
                lines = read_lines(data, whole=len(data) == left)
                end = segment.settled + lines.end if data else segment.size  # somebody else cut it off
                batch = Batch(lines.events, lines.damaged, segment, end)
                if batch.events:
                    return batch
                self.settle(batch)
            return None

    def settle(self, batch: Batch) -> None:
        """These events need not be sent any more."""
        segment = batch.segment
        if segment is None:
            return
        self.damaged += len(batch.damaged)
        for line in batch.damaged:
            self.set_aside(DAMAGED, line.rstrip(b"\n") + b"\n")
        with self._lock:
            if segment not in self._segments():
                return  # it was dropped meanwhile
            segment.settled = batch.end
            if segment.settled < segment.size:
                return
            if segment is self._current:
                os.ftruncate(segment.descriptor, 0)
                segment.size = segment.settled = segment.synced = 0
            else:
                self._remove(segment)

    def set_aside(self, name: str, line: bytes) -> None:
        """Keep what will not be sent, for people to look at: up to 8 MiB of it, the newest."""
        path = self.folder / name
        with suppress(OSError):  # it was said in the log too
            if path.exists() and path.stat().st_size > ASIDE_BYTES:
                path.replace(path.with_name(f"{path.stem}.old{path.suffix}"))
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)

    def sync(self) -> None:
        """Let what was written outlive the machine. It takes as long as the disk does, and holds nobody up."""
        with self._lock:
            unsynced = [segment for segment in self._segments() if segment.synced < segment.size]
            descriptors = [os.dup(segment.descriptor) for segment in unsynced]
            for segment in unsynced:
                segment.synced = segment.size
        if descriptors:
            descriptors.append(os.open(self.folder, os.O_RDONLY))
        for descriptor in descriptors:
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def look_again(self) -> None:
        """Let the next `take` see what other processes have left since."""
        self._look_at = 0.0

    def close(self) -> None:
        """Leave what waits to other processes."""
        with self._lock:
            if self._current is not None and self._current.size == 0:
                self._remove(self._current)
            for segment in self._segments():
                os.close(segment.descriptor)
            self._begin()

    def _segments(self) -> list[Segment]:
        return [*self._waiting, *([self._current] if self._current else [])]

    def _next(self) -> Segment | None:
        for segment in self._segments():
            if segment.settled < segment.size:
                return segment
            if segment is not self._current:
                self._remove(segment)
        return self._adopted()

    def _adopted(self) -> Segment | None:
        """The oldest segment that an ended process has left."""
        if time.monotonic() < self._look_at:
            return None
        for path in self._orphans():
            if (segment := _held(path, os.O_RDWR)) is None:
                continue
            self._waiting.append(segment)
            if segment.size:
                return segment
            self._remove(segment)
        self._look_at = time.monotonic() + LOOK_SECONDS
        return None

    def _orphans(self) -> list[Path]:
        """Segments of other processes, the oldest first, whether these have ended or not."""
        own = {segment.path for segment in self._segments()}
        return sorted(path for path in self.folder.glob(SEGMENTS) if path not in own)

    def _writable(self) -> Segment:
        current = self._current
        if current is not None:
            is_gone = os.fstat(current.descriptor).st_nlink == 0  # somebody has emptied the folder
            if current.size < self._segment_bytes and not is_gone:
                return current
            self._waiting.append(current)
            self._current = None
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room()
        segment = None
        while segment is None:  # another process took it for an orphan, in the moment before it was locked
            name = f"{time.time_ns():020d}-{secrets.token_hex(4)}{SEGMENTS[1:]}"
            segment = _held(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        self._current = segment
        return segment

    def _take_back(self, segment: Segment) -> None:
        """Half a line would spoil the next one: cut it off, or let nothing follow it."""
        try:
            os.ftruncate(segment.descriptor, segment.size)
        except OSError:
            self._waiting.append(segment)
            self._current = None

    def _make_room(self) -> None:
        """Drop the oldest segments while there is no room for a new one, those of living processes excepted.

        The oldest: a late trigger without its resolve would leave an investigation open that is over.
        """
        sizes = {path: _size(path) for path in self.folder.glob(SEGMENTS)}
        excess = sum(sizes.values()) + self._segment_bytes - self._max_bytes
        own = {segment.path: segment for segment in self._waiting}
        for path in sorted(sizes):
            if excess <= 0:
                return
            segment = own.get(path) or _held(path, os.O_RDWR)
            if segment is None:
                continue
            self.dropped += _count(segment)
            if path not in own:
                self._waiting.append(segment)
            self._remove(segment)
            excess -= sizes[path]
        if excess > 0:
            raise SpoolFull(f"{self.folder} has {self._max_bytes} bytes of events that wait already")

    def _remove(self, segment: Segment) -> None:
        segment.path.unlink(missing_ok=True)
        os.close(segment.descriptor)
        if segment is self._current:
            self._current = None
        else:
            self._waiting.remove(segment)


def _held(path: Path, flags: int) -> Segment | None:
    """The segment, if it is there and no other process has it.

    Raises:
        OSError: it cannot be made, where `flags` ask for that; or this system has no locks.
    """
    if fcntl is None:
        raise NoLocks
    try:
        descriptor = os.open(path, flags, 0o600)
    except (FileNotFoundError, PermissionError):
        if flags & os.O_CREAT:
            raise
        return None  # sent and removed just now, or another user's
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    if status.st_nlink == 0:  # removed between opening and locking it
        os.close(descriptor)
        return None
    return Segment(path, descriptor, status.st_size)


def _write(descriptor: int, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _count(segment: Segment) -> int:
    """Events that wait in it."""
    count, place = 0, segment.settled
    while data := os.pread(segment.descriptor, CHUNK_BYTES, place):
        count += data.count(b"\n")
        place += len(data)
    return count
