"""Errors of a pipeline on their way to Penstock. The pipeline never waits for it, and nothing is lost while it is away."""

import asyncio
import atexit
import encodings.idna  # noqa: F401 - see below
import logging
import os
import random
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

import certifi
import httpcore  # noqa: F401 - see below

from shared.client.client import PenstockClient
from shared.client.errors import ClientError, Refused
from shared.client.investigation_event import EventFields, Json, investigation_event
from shared.client.spool import BATCH_EVENTS, DAMAGED, REFUSED, SPOOL_BYTES, Batch, Spool, line_of

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 600.0
LOOK_SECONDS = 30.0  # how often an idle process looks for what others have left
EXIT_SECONDS = 2.0  # the end of a program waits no longer than that; the rest stays in the spool
SILENCE_SECONDS = 300.0  # the same warning is not said again before
MEMORY_EVENTS = 10_000  # where nothing can be written: some 10 MB
# The event itself is wrong; sent again it would be refused again. All else (a token, an address, a server that is away) may
# be mended while the event waits.
HOPELESS = frozenset({400, 409, 413, 415, 422})
TOO_LARGE = 413
NOT_BY_PENSTOCK = "http_error"

logger = logging.getLogger(__name__)

# httpx imports some modules when it is first used, and so does what it uses. A fork while our thread does that would leave
# them half imported in the child, for good; so they are imported here.
certifi.where()
# OpenSSL loads certificates for some tens of milliseconds, under locks that a child would find locked for good; a fork waits.
_no_fork = threading.Lock()

_logs: "weakref.WeakSet[InvestigationLog]" = weakref.WeakSet()
_sending = threading.local()


def default_spool() -> Path:
    """Where events wait, unless said: the folder for the state of this user's programs (XDG Base Directory)."""
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:  # a container runs this as a user that it does not know
        user = os.getuid() if hasattr(os, "getuid") else "user"
        return Path(tempfile.gettempdir()) / f"penstock-spool-{user}"
    return state / "penstock" / "spool"


def is_sending() -> bool:
    """Whether this thread is the one that sends events: what it logs must not become one."""
    return getattr(_sending, "now", False)


class InvestigationLog:
    """Takes investigation events at once, and sends them from a thread of its own. Any thread may use it; so may a fork.

    `log` writes the event to a spool on disk and returns. The thread sends what waits there, in order, up to 500 events in
    a request, until Penstock has taken it: with growing pauses (jittered; or as `Retry-After` says) while Penstock is away,
    the token is wrong or the quota used up, all of which is said as warnings of this module's logger. An event that is
    itself refused (409, 422) is set aside in `refused.jsonl` in the spool, with the reason, and warned of. Sending is
    repeated under the same event id, so that nothing counts twice.

    When the program ends, what waits has two seconds to go out; the rest stays for the next program with this spool. A
    killed one loses nothing that `log` has returned from. Only where the spool cannot be written, events wait in memory
    (up to 10,000), with a warning.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str],
        *,
        spool: Path | str | None = None,
        spool_bytes: int = SPOOL_BYTES,
    ) -> None:
        """No file is made and no connection opened before the first event.

        Args:
            token: With the scope `investigations:write`; a function is asked again after every failure.
            spool: A folder, which other processes may share if they report to the same tenant. Default: `default_spool`.
            spool_bytes: When so much waits, the oldest events are dropped, with a warning.
        """
        self._url = url
        self._token = token if callable(token) else lambda: token
        self._spool = Spool(Path(spool) if spool else default_spool(), max_bytes=spool_bytes)
        self._begin()
        _logs.add(self)
        atexit.register(self.close)

    def _begin(self) -> None:
        self._memory: deque[Json] = deque()
        self._changed = threading.Condition()  # reentrant: a signal handler may log
        self._thread: threading.Thread | None = None
        self._has_news = False
        self._asked = self._answered = 0  # flushes
        self._is_closing = False
        self._client: PenstockClient | None = None
        self._in_hand: Batch | None = None
        self._said: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def log(self, **fields: Unpack[EventFields]) -> str:
        """Report an error, or with `action="resolve"` its end. Returns the event's id at once; never raises."""
        return self.add(investigation_event(fields))

    async def log_async(self, **fields: Unpack[EventFields]) -> str:
        """The same for coroutines: while the event is written, the event loop goes on."""
        return await asyncio.to_thread(self.add, investigation_event(fields))

    def add(self, event: Json) -> str:
        """`log` for an event that was made already."""
        dropped = self._spool.dropped
        try:
            self._spool.append(event)
        except OSError as error:
            self._remember(event)
            self._warn(
                f"the spool {self._spool.folder} cannot be written ({error.strerror or error}); events wait in memory,"
                " and are lost if this process is killed"
            )
        if lost := self._spool.dropped - dropped:
            self._warn(f"the spool {self._spool.folder} is full; its {lost} oldest events were dropped")
        with self._changed:
            self._has_news = True
            self._changed.notify_all()
        self._start()
        return str(event.get("event_id", ""))

    def send_now(self, **fields: Unpack[EventFields]) -> Json:
        """Report an error past the spool, and wait for the answer: `outcome`, `investigation_id`, `count` …

        Raises:
            ClientError: it was refused, or there was no answer. It is not kept; `add` takes the same event.
        """
        with PenstockClient(self._url, self._token()) as client:
            return client.log_investigation_event(investigation_event(fields))

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until all that waits here was sent, also what ended processes have left. False: not within `timeout` seconds."""
        self._spool.look_again()
        with self._changed:
            self._asked += 1
            asked = self._asked
            self._changed.notify_all()
        self._start()
        with self._changed:
            return self._changed.wait_for(lambda: self._answered >= asked, timeout)

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Try once more to send what waits, for up to `timeout` seconds; what is left stays in the spool."""
        atexit.unregister(self.close)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            self._spool.close()
        else:
            thread.join(timeout)  # it closes the spool
        self._save_memory()
        in_hand = self._in_hand
        lost = len(self._memory)
        if in_hand is not None and in_hand.segment is None:
            lost += len(in_hand.events)
        if lost:
            logger.warning(
                "%d investigation events are lost: neither Penstock nor the spool takes them", lost
            )

    def after_fork(self) -> None:
        """Begin anew in a child process: with a segment, a thread and a connection of its own."""
        self._spool.after_fork()
        self._begin()

    def _start(self) -> None:
        with self._changed:
            if self._is_closing or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._work, name="penstock-investigation-log", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is ending; the event is in the spool
                self._thread = None

    def _work(self) -> None:
        """Send what waits, until closed."""
        _sending.now = True
        failures = 0
        is_last = False
        while not is_last:
            with self._changed:
                asked, self._has_news, is_last = self._asked, False, self._is_closing
            try:
                while self._send_next():
                    failures = 0
            except Exception as error:  # noqa: BLE001 - whatever it is, the next events must find a thread that sends
                failures += 1
                self._failed(error)
                self._wait(_pause(failures, error), news=False, asked=asked)
                continue
            with self._changed:
                self._answered = asked
                self._changed.notify_all()
            self._wait(LOOK_SECONDS, news=True, asked=asked)
        self._disconnect()
        self._spool.close()

    def _wait(self, seconds: float, *, news: bool, asked: int) -> None:
        """Wait so long, or until it is closed, flushed, or where `news` matter, there is another event."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closing or self._asked > asked or (news and self._has_news), seconds
            )

    def _send_next(self) -> bool:
        """Send a batch. False: nothing waits.

        Raises:
            ClientError, OSError: it waits on, or some of it does.
        """
        batch = self._in_hand = self._in_hand or self._taken()
        if batch is None:
            return False
        if batch.events:  # else it was only not settled
            batch.events, why = self._send(batch.events)
            if why is not None:
                raise why
        self._spool.settle(batch)
        self._in_hand = None
        return True

    def _taken(self) -> Batch | None:
        try:
            batch = self._spool.take()
        except OSError:
            if not self._memory:
                raise
            batch = None
        if self._spool.damaged:
            self._warn(
                f"lines of the spool are damaged; they are set aside in {self._spool.folder / DAMAGED}"
            )
        with self._changed:
            if batch is None and self._memory:
                some = [self._memory.popleft() for _ in range(min(len(self._memory), BATCH_EVENTS))]
                batch = Batch(some, [], None, 0)
        return batch

    def _send(self, events: list[Json]) -> tuple[list[Json], ClientError | None]:
        """Send these at once; set aside those that are refused. Returns those that have to be sent again, and why.

        Raises:
            ClientError: all of them have to be.
        """
        try:
            items = self._connected().log_investigation_events(events)
        except Refused as error:
            if not is_hopeless(error):
                raise
            if len(events) == 1:
                self._set_aside([(events[0], error.document | {"status": error.status})])
                return [], None
            # The request as a whole is refused, by the server or something before it: find out which event it is.
            middle = len(events) // 2
            first, why = self._send(events[:middle])
            if why is not None:
                return first + events[middle:], why
            return self._send(events[middle:])
        answered = [(event, item) for event, item in zip(events, items, strict=True) if item["status"] >= 400]
        refused = [(event, item) for event, item in answered if item["status"] in HOPELESS]
        later = [(event, item) for event, item in answered if item["status"] not in HOPELESS]
        self._set_aside(refused)
        return [event for event, _ in later], _reason([item for _, item in later])

    def _set_aside(self, refused: Sequence[tuple[Json, Json]]) -> None:
        if not refused:
            return
        for event, answer in refused:
            self._spool.set_aside(REFUSED, line_of({"event": event, "refused": answer}))
        event, answer = refused[0]
        logger.warning(
            "%d investigation event(s) were refused, and set aside in %s; the first is of %s / %s: %s (%s)",
            len(refused),
            self._spool.folder / REFUSED,
            event.get("stage"),
            event.get("reason"),
            answer.get("detail"),
            answer.get("code"),
        )

    def _connected(self) -> PenstockClient:
        if self._client is None:
            token = self._token()
            with _no_fork:
                self._client = PenstockClient(self._url, token)
        return self._client

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _failed(self, error: Exception) -> None:
        """Make sure of what waits, and say why it does."""
        self._disconnect()  # the next try has a new token, and looks the address up anew
        if self._in_hand is not None and self._in_hand.segment is None:
            with self._changed:
                self._memory.extendleft(reversed(self._in_hand.events))
            self._in_hand = None
        self._save_memory()
        with suppress(OSError):
            self._spool.sync()
        said = str(error) if isinstance(error, ClientError | OSError) else repr(error)
        code = f" ({error.code})" if isinstance(error, Refused) else ""
        hint = f"; {error.hint}" if isinstance(error, ClientError) and error.hint else ""
        self._warn(f"investigation events wait in {self._spool.folder}: {said}{code}{hint}")

    def _remember(self, event: Json) -> None:
        with self._changed:
            is_full = len(self._memory) == MEMORY_EVENTS
            if is_full:
                self._memory.popleft()
            self._memory.append(event)
        if is_full:
            self._warn("too many investigation events wait in memory; the oldest are dropped")

    def _save_memory(self) -> None:
        """Move events from memory to the spool, if that can be written again."""
        with self._changed, suppress(OSError):
            while self._memory:
                self._spool.append(self._memory[0])
                self._memory.popleft()

    def _warn(self, text: str) -> None:
        now = time.monotonic()
        if now - self._said.get(text, -SILENCE_SECONDS) >= SILENCE_SECONDS:
            self._said[text] = now
            logger.warning("%s", text)


def is_hopeless(error: Refused) -> bool:
    """Whether the event itself is wrong. What is not said by Penstock may be the doing of a wrong address."""
    return error.status in HOPELESS and (error.code != NOT_BY_PENSTOCK or error.status == TOO_LARGE)


def _reason(later: Sequence[Json]) -> Refused | None:
    """Why some of a batch have to be sent again: as the one says that has to wait longest."""
    if not later:
        return None
    item = max(later, key=lambda each: each.get("retry_after") or 0)
    return Refused(item["status"], item, retry_after=item.get("retry_after"))


def _pause(failures: int, error: Exception) -> float:
    """Seconds until the next try, after so many that failed; jittered, as many programs wait for the same server."""
    if isinstance(error, Refused) and error.retry_after is not None:
        return min(error.retry_after, LONGEST_RETRY_AFTER_SECONDS) * random.uniform(1.0, 1.1)
    ceiling = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE_SECONDS)
    return random.uniform(ceiling / 2, ceiling)


def _after_fork() -> None:
    _no_fork.release()
    for log in list(_logs):
        log.after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(before=_no_fork.acquire, after_in_parent=_no_fork.release, after_in_child=_after_fork)
