"""The complete error file of an import: parts in the object store, one after the other, in constant memory.

It has the bad records as they came, with three columns more that say what is wrong. Those are passed over in an upload,
so the file may be mended and sent again as it is.
"""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from shared.contracts.problems import NotFound
from shared.platform.objects import CHUNK_BYTES, ObjectMissing, Objects

_SUFFIXES = re.compile(r"(\.(csv|tsv|txt))?(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """A piece of the file: one object of `size` bytes."""

    object_key: str
    size: int


@dataclass(frozen=True)
class ErrorFile:
    """The file as it is at present: `parts`, of which the first begins with the header, or the `header` alone."""

    name: str
    header: bytes
    parts: Sequence[Part]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(part.size for part in self.parts) or len(self.header)

    async def chunks(self, objects: Objects) -> AsyncIterator[bytes]:
        """The file's bytes, a few MiB at a time.

        Raises:
            NotFound: `error_file_not_found`: somebody removed a part from the store.
        """
        if not self.parts:
            yield self.header
        for part in self.parts:
            for start in range(0, part.size, CHUNK_BYTES):
                yield await _read(objects, part, start)


async def _read(objects: Objects, part: Part, start: int) -> bytes:
    length = min(CHUNK_BYTES, part.size - start)
    try:
        chunk = await objects.read(part.object_key, start, length)
    except ObjectMissing:
        chunk = b""
    if len(chunk) < length:
        raise NotFound(
            "error_file_not_found",
            "a part of this import's error file is no longer in the store",
            hint="its first row errors are still at `errors`; to have all, send the file again with `dry_run`",
        )
    return chunk


def error_file_name(file_name: str) -> str:
    """What to call the error file of `file_name`."""
    return _SUFFIXES.sub("", file_name) + "-errors.csv"
