"""Object storage by URL: a local folder, S3, Google or Azure, one set of calls."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from shutil import disk_usage
from time import perf_counter
from types import MappingProxyType
from typing import Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, GenericError, NotFoundError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store, from_url

from shared.contracts.problems import Unavailable
from shared.platform.health import Check, in_time
from shared.platform.logs import get_logger
from shared.platform.telemetry.figures import STORE_FREE_BYTES, STORE_SECONDS, Sample
from shared.platform.telemetry.tracing import SpanKind, span

CHUNK_BYTES = 8 * 1024 * 1024
SMALL_BYTES = 512 * 1024
RETRY_TIMEOUT = timedelta(seconds=20)  # of one request to a store; the library gives each attempt 30 s
MOST_UNFINISHED = 8  # attempts to store one object whose processes were all killed, before a sweep came by
# What a store's URL looks like. The library knows more, which are no stores to us: http(s):// lists and deletes nothing
# that all servers understand, and what is in memory:// no other process sees, and is lost with its own.
FORMS: Mapping[str, str] = MappingProxyType(
    {
        "file": "file:///folder",
        "s3": "s3://bucket",
        "gs": "gs://bucket",
        "az": "az://container, with AZURE_STORAGE_ACCOUNT_NAME set",
        "abfs": "abfs://container@account.dfs.core.windows.net",
        "abfss": "abfss://container@account.dfs.core.windows.net",
    }
)

log = get_logger(__name__)


class ObjectMissing(LookupError):
    """The object is not in the store: it was never put there, or somebody removed it."""


class StoreUrlInvalid(ValueError):
    """There is no store at this URL, whatever may come; the message says why and what to write, never the URL itself."""


class StoreUnavailable(Unavailable):
    """The store refused a request or does not answer. To be tried again later."""

    def __init__(self) -> None:
        super().__init__("store_unavailable", "the file store does not answer at present")


class Objects:
    """The files of this deployment, each under a key such as `uploads/<import id>`."""

    def __init__(self, url: str) -> None:
        """Nothing is asked of the store yet, but that a folder is there or can be made.

        Raises:
            StoreUrlInvalid: no store has this URL.
        """
        scheme = _scheme_of(url)
        self._folder = Path(unquote(urlsplit(url).path)) if scheme == "file" else None
        try:
            self._store: ObjectStore = (
                from_url(url, mkdir=True)
                if self._folder is not None
                else from_url(url, retry_config={"retry_timeout": RETRY_TIMEOUT})
            )
        except (BaseError, OSError, ValueError) as error:
            raise StoreUrlInvalid(f"{_reason(error)}; write {FORMS[scheme]}") from error

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Store what `chunks` yields, in parts, holding a few of them at most. Whatever it raises: nothing is stored.

        Raises:
            StoreUnavailable: the store refused it or does not answer.
        """
        feed = _Feed(chunks)
        with _measured("put", feed):
            storing = asyncio.create_task(self._put(key, feed))
            try:
                await asyncio.shield(storing)
            except asyncio.CancelledError:
                feed.break_off()
                await asyncio.gather(storing, return_exceptions=True)
                raise
            except BaseError as error:
                log.exception("store.put_failed", key=key)
                raise StoreUnavailable from error

    async def put_whole(self, key: str, content: bytes | bytearray) -> None:
        """Store `content` by one request.

        Raises:
            StoreUnavailable: the store refused it or does not answer.
        """
        with _measured("put"):
            storing = asyncio.create_task(self._put_whole(key, content))
            try:
                await asyncio.shield(storing)
            except asyncio.CancelledError:
                # It may arrive yet: then it can be removed.
                await asyncio.gather(storing, return_exceptions=True)
                raise
            except BaseError as error:
                log.exception("store.put_failed", key=key)
                raise StoreUnavailable from error

    async def _put_whole(self, key: str, content: bytes | bytearray) -> None:
        await obstore.put_async(self._store, key, content, use_multipart=False)

    async def _put(self, key: str, feed: "_Feed") -> None:
        gathered: list[bytes] = []
        length = 0
        async for chunk in feed:
            gathered.append(chunk)
            length += len(chunk)
            if length > SMALL_BYTES:
                feed.put_back(gathered)
                await obstore.put_async(
                    self._store, key, feed, chunk_size=CHUNK_BYTES, max_concurrency=2, use_multipart=True
                )
                return
        # In parts, it would be three requests to a cloud store.
        await obstore.put_async(self._store, key, b"".join(gathered), use_multipart=False)

    async def read(self, key: str, start: int, length: int) -> bytes:
        """Up to `length` bytes from offset `start`; fewer at the object's end, none behind it.

        Raises:
            ObjectMissing: no such object.
            StoreUnavailable: the store does not answer.
        """
        with _measured("read"):
            try:
                return await self._read(key, start, length)
            except (NotFoundError, FileNotFoundError) as error:
                raise ObjectMissing(f"object {key!r} is not in the store") from error
            except BaseError as error:
                log.warning("store.read_failed", key=key, error=str(error))
                raise StoreUnavailable from error

    async def _read(self, key: str, start: int, length: int) -> bytes:
        try:
            return bytes(await obstore.get_range_async(self._store, key, start=start, length=length))
        except GenericError:
            # How the stores refuse a start behind the end.
            if start < (await obstore.head_async(self._store, key))["size"]:
                raise
            return b""

    async def delete(self, key: str) -> None:
        """Remove the object; one that is not there is fine.

        Raises:
            StoreUnavailable: the store refused it or does not answer.
        """
        with _measured("delete"):
            try:
                await obstore.delete_async(self._store, key)
            except (NotFoundError, FileNotFoundError):
                return
            except BaseError as error:
                log.warning("store.delete_failed", key=key, error=str(error))
                raise StoreUnavailable from error

    async def discard(self, key: str) -> None:
        """Remove the object, and what a process that was killed has left of it: in a folder, files called `<key>#<n>`.

        What a killed process has left in a cloud store are parts of an unfinished upload, which cannot be seen here: a
        lifecycle rule of the bucket removes them.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        await self.delete(key)
        if self._folder is not None:
            await asyncio.to_thread(_remove_unfinished, self._folder / key)

    async def presigned(self, key: str, seconds: int) -> str | None:
        """A URL where whoever has it may GET the object, or a range of it, for `seconds`; None: it is in a folder.

        For readers that are to fetch large files from the store itself; no route of ours hands one out yet.

        Raises:
            StoreUnavailable: there is nothing to sign it with.
        """
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        try:
            return await obstore.sign_async(self._store, "GET", key, timedelta(seconds=seconds))
        except BaseError as error:
            log.warning("store.sign_failed", key=key, error=str(error))
            raise StoreUnavailable from error

    async def check(self) -> Check:
        """Whether the store answers, and the bucket exists: lists a folder that is not there."""

        async def ask() -> None:
            with _measured("check", cut_off="failed"):
                await obstore.list_with_delimiter_async(self._store, "health")

        return await in_time("store", ask())

    async def figures(self) -> Sequence[Sample]:
        """How much room there is, where the store is a folder."""
        if self._folder is None:
            return []
        usage = await asyncio.to_thread(disk_usage, self._folder)
        return [STORE_FREE_BYTES.of(usage.free)]


@contextmanager
def _measured(operation: str, feed: "_Feed | None" = None, *, cut_off: str = "") -> Iterator[None]:
    """Around a request to the store: its span, its time and how it ended.

    What was waited for `feed` is no time of the store. `cut_off`: as what it counts if its caller breaks it off; by default
    it does not, as that says nothing of the store.
    """
    begun, outcome = perf_counter(), cut_off
    with span(f"store {operation}", SpanKind.CLIENT):
        try:
            yield
            outcome = "ok"
        except ObjectMissing:
            outcome = "missing"
            raise
        except (StoreUnavailable, BaseError):
            outcome = "failed"
            raise
        finally:
            if outcome:
                took = perf_counter() - begun - (feed.waited if feed else 0.0)
                STORE_SECONDS.labels(operation, outcome).observe(took)


def _remove_unfinished(path: Path) -> None:
    # The library counts from 1 on, past those that are there.
    for number in range(1, MOST_UNFINISHED + 1):
        path.with_name(f"{path.name}#{number}").unlink(missing_ok=True)


class _Feed:
    """Chunks on their way to the store.

    A `put` that is cancelled forgets the parts it has stored; one whose feed breaks off removes them. `waited`: seconds that
    the store could have taken more, and nothing had come.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._first: deque[bytes] = deque()
        self._next: asyncio.Future[bytes] | None = None
        self._is_broken_off = False
        self.waited = 0.0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_broken_off:
            raise _BrokenOff
        if self._first:
            return self._first.popleft()
        self._next = asyncio.ensure_future(anext(self._chunks))
        begun = perf_counter()
        try:
            return await self._next
        except asyncio.CancelledError:
            raise _BrokenOff from None
        finally:
            self.waited += perf_counter() - begun

    def put_back(self, chunks: Iterable[bytes]) -> None:
        """Let what was taken come again, before the rest."""
        self._first.extend(chunks)

    def break_off(self) -> None:
        self._is_broken_off = True
        if self._next is not None:
            self._next.cancel()


class _BrokenOff(Exception):
    """The caller was cancelled."""


def _scheme_of(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if scheme.lower() in FORMS:
        return scheme.lower()
    what = f"{scheme}:// is no kind of store that can be used" if separator else "it is no URL"
    raise StoreUrlInvalid(f"{what}; write one of: {'; '.join(FORMS.values())}")


def _reason(error: Exception) -> str:
    """Why there is no such store, in one line; what quotes the URL may quote a password."""
    if isinstance(error, OSError):
        return f"the folder cannot be made ({error.strerror or type(error).__name__})"
    line = str(error).partition("\n")[0]
    return "it cannot be read" if "://" in line or "URL" in line else line
