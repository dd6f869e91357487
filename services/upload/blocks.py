"""A file's bytes as they are kept: in blocks worth a thread's while, unpacked where they come packed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from services.upload.inspection import problem_of
from shared.contracts.problems import TooLarge
from shared.reading.errors import UnreadableFile
from shared.reading.unpacking import GZIP_MAGIC, Gunzip

BLOCK_BYTES = 512 * 1024  # inspecting one takes about a millisecond, handing it to a thread a tenth of that


@dataclass(frozen=True)
class FileLimits:
    """How large a file may be, in bytes as it comes and unpacked; and how much larger unpacked than packed."""

    max_bytes: int
    max_ratio: int


async def blocks_of(chunks: AsyncIterator[bytes], limits: FileLimits) -> AsyncIterator[bytes]:
    """The file in `chunks`; what begins as gzip does (RFC 1952) is unpacked, whatever it is called.

    Raises:
        Problem: it is too large, packed or unpacked, or cannot be unpacked.
    """
    gunzip: Gunzip | None = None
    received = 0
    async for block in _joined(chunks):
        if not received and block.startswith(GZIP_MAGIC):
            gunzip = Gunzip(limits.max_bytes, limits.max_ratio)
        received += len(block)
        if received > limits.max_bytes:
            raise file_too_large(limits.max_bytes)
        if gunzip is None:
            yield block
        else:
            async for piece in _unpacked(gunzip.feed(block)):
                yield piece
    if gunzip is not None:
        _finish(gunzip)


async def _joined(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    gathered: list[bytes] = []
    length = 0
    async for chunk in chunks:
        gathered.append(chunk)
        length += len(chunk)
        if length >= BLOCK_BYTES:
            yield b"".join(gathered)
            gathered.clear()
            length = 0
    if length:
        yield b"".join(gathered)


async def _unpacked(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    try:
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece
    except UnreadableFile as error:
        raise problem_of(error) from error


def _finish(gunzip: Gunzip) -> None:
    try:
        gunzip.finish()
    except UnreadableFile as error:
        raise problem_of(error) from error


def file_too_large(limit: int) -> TooLarge:
    """The problem of a file of more than `limit` bytes."""
    return TooLarge(
        "file_too_large",
        f"the file is larger than {limit} bytes",
        hint="split it into smaller files, each with the header",
        limit_bytes=limit,
    )
