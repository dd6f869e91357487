"""The public HTTP API as calls. Everything goes through HTTP: what this can do, any client can."""

import ipaddress
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit
from uuid import UUID

import httpx

from shared.client.errors import ClientError, Refused, Unreachable, refused
from shared.client.sse import Event, events

API = "/api/v1"
CHUNK_BYTES = 256 * 1024
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 120.0  # the end of an upload waits for the object store
SILENCE_SECONDS = 10.0  # progress is promised once a second
POLL_SECONDS = 0.5
EVENTS_SECONDS = 30.0  # 500 events are logged in some tens of milliseconds
PATIENCE_SECONDS = (
    600.0  # a tenant's uploads a minute are free again after 60, its imports after those before them
)
TOO_MANY = 429
ENDED = frozenset({"completed", "failed", "cancelled"})

Json = dict[str, Any]

_EVENTS = httpx.Timeout(EVENTS_SECONDS, connect=CONNECT_SECONDS)


class PenstockClient:
    """Speaks to one Penstock with one token. A context manager; safe to use from one thread.

    Every call raises `Refused` where the server answers with a problem, `Unreachable` where no answer comes.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        try:
            self._http = httpx.Client(
                base_url=self._url,
                headers={"Authorization": f"Bearer {token}"},
                timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                # A proxy for the world outside does not reach this machine.
                trust_env=not is_loopback(urlsplit(self._url).hostname),
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise ClientError(
                f"{url!r} is no address: {error}", hint="it looks like https://host:port"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its connections."""
        self._http.close()

    def wait_until_ready(self, *, patience: float = 60.0) -> None:
        """Return when every service says that it can work.

        Raises:
            Unreachable, Refused: what was last heard after `patience` seconds.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                self._json("GET", "/health/ready")
            except (Unreachable, Refused):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def upload(
        self,
        file: Path | BinaryIO,
        *,
        dataset: str | None = None,
        source: str | None = None,
        file_name: str | None = None,
        fields: Mapping[str, object] = MappingProxyType({}),
        on_sent: Callable[[int], None] = lambda _: None,
        on_wait: Callable[[Refused, int], None] = lambda _error, _seconds: None,
    ) -> Json:
        """Send a file, streamed: its size does not matter to memory. Where the tenant's limits are used up, wait.

        Args:
            file: A path, or a stream that is read to its end.
            dataset: What the file is, for example `books`; None: that of the import that it `corrects`.
            source: Who sent the file: a partner, a supplier.
            file_name: What to call a stream; a path has its own name.
            fields: What else to ask, as the API names it: `corrects`, `dry_run`, `delimiter` …; None: left out.
            on_sent: Called with the number of bytes handed to the network so far.
            on_wait: Called before a file is sent again that came too soon: with the refusal, and the seconds until then.

        Returns:
            The answer to the upload: `id` of the import, `rows_detected`, `links` and more.

        Raises:
            OSError: the file cannot be read.
        """
        if isinstance(file, Path):
            with file.open("rb") as stream:
                name = file_name or os.fsencode(file.name).decode("utf-8", "replace")
                return self.upload(
                    stream,
                    dataset=dataset,
                    source=source,
                    file_name=name,
                    fields=fields,
                    on_sent=on_sent,
                    on_wait=on_wait,
                )
        query = {"dataset": dataset, "data_source_name": source, "file_name": file_name, **fields}
        packed = (file_name or "").lower().endswith(".gz")
        start = file.tell() if file.seekable() else None
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self._json(
                    "POST",
                    f"{API}/uploads",
                    params={name: _text(value) for name, value in query.items() if value is not None},
                    headers={"Content-Type": "application/gzip" if packed else "text/csv"},
                    content=_chunks(file, on_sent),
                )
            except Refused as error:
                wait = error.retry_after or 1
                if error.status != TOO_MANY or start is None or time.monotonic() + wait > until:
                    raise
                on_wait(error, wait)
                time.sleep(wait)
                file.seek(start)

    def cancel(self, import_id: UUID | str) -> Json:
        """Ask for the end of an import that has not ended. The answer has the state that it was in."""
        return self._json("POST", f"{API}/uploads/{import_id}/cancel")

    def retry(self, import_id: UUID | str) -> Json:
        """Ask for a failed import to go on. The answer has the `run` that failed; the next one follows."""
        return self._json("POST", f"{API}/uploads/{import_id}/retry")

    def import_status(self, import_id: UUID | str) -> Json:
        """The import as it stands, with its first row errors."""
        return self._json("GET", f"{API}/imports/{import_id}")

    def follow(self, import_id: UUID | str, *, beyond_run: int = 0, patience: float = 60.0) -> Iterator[Json]:
        """The import's states as they come, the last one being its end.

        A stream that ends early is taken up where it was; one that breaks, or brings nothing, is replaced by asking
        until it is back. So a restart of the server goes unnoticed.

        Args:
            beyond_run: After a retry, the run that had failed: what is heard of it is passed over.
            patience: Seconds.

        Raises:
            Unreachable: no answer for `patience` seconds.
        """
        last_answer = time.monotonic()
        last_id: str | None = None
        is_streaming = True
        while True:
            try:
                for event in self._events(import_id, last_id) if is_streaming else self._asked(import_id):
                    last_answer = time.monotonic()
                    last_id = event.last_id or last_id
                    state = json.loads(event.data)
                    if state["run"] <= beyond_run:
                        continue
                    yield state
                    if state["status"] in ENDED:
                        return
                last_answer, is_streaming = time.monotonic(), True
            except (Unreachable, Refused) as error:
                temporary = isinstance(error, Unreachable) or error.is_temporary
                if not temporary or time.monotonic() - last_answer > patience:
                    raise
                is_streaming = False
            time.sleep(POLL_SECONDS)

    def imports(self, **filters: str) -> Iterator[Json]:
        """Imports, newest first; `filters` as the API has them: `status`, `dataset`, `source`, `file_name` and more."""
        return self._items(f"{API}/imports", filters)

    def errors(self, import_id: UUID | str, **filters: str) -> Iterator[Json]:
        """The row errors of an import, in file order; `filters` as the API has them: `code`, `column`, `text`, `status`."""
        return self._items(f"{API}/imports/{import_id}/errors", filters)

    def errors_summary(self, import_id: UUID | str) -> Json:
        """The row errors of an import by what they are, with examples and what has likely caused them."""
        return self._json("GET", f"{API}/imports/{import_id}/errors/summary")

    def errors_csv(self, import_id: UUID | str) -> Iterator[bytes]:
        """Every record of an import that was not loaded, as a CSV file, a piece at a time."""
        with (
            self._talking(),
            self._http.stream("GET", f"{API}/imports/{import_id}/errors.csv") as response,
        ):
            if response.is_error:
                raise refused(response.status_code, response.reason_phrase, response.read())
            yield from response.iter_bytes()

    def log_investigation_event(self, event: Mapping[str, Any]) -> Json:
        """Report an error of a pipeline; `event` as the API names its members. The answer says what became of it."""
        return self._json("POST", f"{API}/investigation-events", json=event, timeout=_EVENTS)

    def log_investigation_events(self, events: Sequence[Mapping[str, Any]]) -> list[Json]:
        """Report up to 500 errors at once. The answer has an item for each, with the `status` that it would have alone."""
        path = f"{API}/investigation-events/batch"
        answer = self._json("POST", path, json={"events": events}, timeout=_EVENTS)
        items = answer.get("items")
        if not isinstance(items, list) or len(items) != len(events):
            raise ClientError(f"{self._url} does not answer as Penstock does", hint="check the address")
        return items

    def receipt(self, import_id: UUID | str) -> Json:
        """The final balance of a completed import."""
        return self._json("GET", f"{API}/imports/{import_id}/receipt")

    def _events(self, import_id: UUID | str, last_id: str | None) -> Iterator[Event]:
        """What the live stream tells until it ends or breaks; nothing, if `last_id` is of the import's end."""
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        headers = {"Last-Event-ID": last_id} if last_id else {}
        path = f"{API}/imports/{import_id}/events"
        with (
            self._talking(),
            self._http.stream("GET", path, headers=headers, timeout=timeout) as response,
        ):
            if response.is_error:
                raise refused(response.status_code, response.reason_phrase, response.read())
            yield from events(response.iter_lines(), last_id)

    def _asked(self, import_id: UUID | str) -> Iterator[Event]:
        """How the import stands, as the only event of a stream."""
        yield Event(json.dumps(self.import_status(import_id)), None)

    def _items(self, path: str, filters: Mapping[str, str] | None = None) -> Iterator[Json]:
        query = dict(filters or {})
        while True:
            page = self._json("GET", path, params=query)
            yield from page["items"]
            if not page.get("next_cursor"):
                return
            query["cursor"] = page["next_cursor"]

    def _json(self, method: str, path: str, **arguments: Any) -> Json:
        with self._talking():
            response = self._http.request(method, path, **arguments)
        if response.is_error:
            retry_after = response.headers.get("retry-after", "")
            raise refused(response.status_code, response.reason_phrase, response.content, retry_after)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ClientError(f"{self._url} does not answer as Penstock does", hint="check the address")
        return answer

    @contextmanager
    def _talking(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise Unreachable(
                f"nobody answers at {self._url} ({error})",
                hint="is Penstock running? start it with `penstock up`",
            ) from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"the request to {self._url} did not get through: {reason}") from error


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _chunks(stream: BinaryIO, on_sent: Callable[[int], None]) -> Iterator[bytes]:
    sent = 0
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk
        sent += len(chunk)
        on_sent(sent)


def is_loopback(host: str | None) -> bool:
    """Whether `host` is this machine, by its name or address."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host or "").is_loopback
    return False
