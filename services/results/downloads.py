"""Answers that are files from the store: their names, and their bytes a piece at a time."""

from collections.abc import AsyncIterator
from urllib.parse import quote

from shared.contracts.dialect import Encoding
from shared.platform.objects import ObjectMissing, Objects

PIECE_BYTES = 2 * 1024**2  # what a download holds; at 30 ms a request to a cloud store, 60 MB/s

# As browsers and `iconv` know them (IANA, WHATWG Encoding).
CHARSETS: dict[Encoding, str] = {
    "utf-8": "utf-8",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    "cp1252": "windows-1252",
    "cp1251": "windows-1251",
    "latin-1": "iso-8859-1",
}


def csv_type(encoding: Encoding) -> str:
    """The media type of a CSV file (RFC 7111)."""
    return f"text/csv; charset={CHARSETS[encoding]}"


def attachment(name: str) -> str:
    """`Content-Disposition` for a download called `name`, whatever characters that has (RFC 6266, appendix D)."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def begun(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks, the first of which is read now: what is wrong with the store is said before the answer begins."""
    first = await anext(chunks)
    return resumed(first, chunks)


async def resumed(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`first`, which was read before, then the rest."""
    yield first
    async for chunk in rest:
        yield chunk


async def stored_bytes(objects: Objects, key: str, start: int, length: int) -> AsyncIterator[bytes]:
    """`length` bytes of an object from offset `start` on.

    Raises:
        ObjectMissing: it is not in the store, or ends before.
        StoreUnavailable: the store does not answer.
    """
    end = start + length
    while start < end:
        piece = await objects.read(key, start, min(PIECE_BYTES, end - start))
        if not piece:
            raise ObjectMissing(f"object {key!r} ends at byte {start}")
        yield piece
        start += len(piece)
