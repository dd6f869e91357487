"""Object storage by URL: a local folder, S3, Google or Azure, one set of calls."""

from collections.abc import AsyncIterator

import obstore
from obstore.exceptions import BaseError, GenericError, NotFoundError
from obstore.store import ObjectStore, from_url

from shared.contracts.problems import Unavailable
from shared.platform.health import Check
from shared.platform.logs import get_logger

CHUNK_BYTES = 8 * 1024 * 1024

log = get_logger(__name__)


class ObjectMissing(LookupError):
    """The object is not in the store: it was never put there, or somebody removed it."""


class StoreUnavailable(Unavailable):
    """The store refused a request or does not answer. To be tried again later."""

    def __init__(self) -> None:
        super().__init__("store_unavailable", "the file store does not answer at present")


class Objects:
    """The files of this deployment, each under a key such as `uploads/<import id>`."""

    def __init__(self, url: str) -> None:
        if url.startswith("file://"):
            self._store: ObjectStore = from_url(url, mkdir=True)
        else:
            self._store = from_url(url)

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Store what `chunks` yields, in parts, holding a few of them at most. Whatever it raises: nothing is stored.

        Raises:
            StoreUnavailable: the store refused it or does not answer.
        """
        try:
            await obstore.put_async(self._store, key, chunks, chunk_size=CHUNK_BYTES, max_concurrency=2)
        except BaseError as error:
            log.exception("store.put_failed", key=key)
            raise StoreUnavailable from error

    async def read(self, key: str, start: int, length: int) -> bytes:
        """Up to `length` bytes from offset `start`; fewer at the object's end, none behind it.

        Raises:
            ObjectMissing: no such object.
            StoreUnavailable: the store does not answer.
        """
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
        """Remove the object; one that is not there is fine."""
        try:
            await obstore.delete_async(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return

    async def check(self) -> Check:
        """Whether the store answers, and the bucket exists: lists a folder that is not there."""
        try:
            await obstore.list_with_delimiter_async(self._store, "health")
        except Exception as error:  # noqa: BLE001 - whatever the reason, it is not there
            return Check("store", ok=False, detail=type(error).__name__)
        return Check("store", ok=True)
