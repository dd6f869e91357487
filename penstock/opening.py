"""Files on this machine, read as the upload service would read them: unpacked, in blocks, however large."""

import codecs
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from unicodedata import category

from shared.reading.dialect import HEAD_BYTES, Detected, DialectOverrides, detect
from shared.reading.encoding import EncodingEvidence
from shared.reading.header import ColumnSpec
from shared.reading.unpacking import GZIP_MAGIC, Gunzip

BLOCK_BYTES = 1 << 20
# Who runs a command on a file of their own has room for it: only what cannot be honest is refused.
MAX_UNPACKED_BYTES = 1 << 40
MAX_RATIO = 2_000


def shown(path: Path) -> str:
    """`path` as it can be printed: the system allows any bytes in a name, also those of control characters."""
    name = os.fsencode(path).decode("utf-8", "replace")
    return "".join("\N{REPLACEMENT CHARACTER}" if category(letter) == "Cc" else letter for letter in name)


@dataclass(frozen=True)
class InputFile:
    """A file to read, more than once: first to find how it is written.

    Attributes:
        transcode_from: Python's name of an encoding to turn into UTF-8 first, where the reader does not know it.

    Raises:
        OSError: it is not there, or it is a pipe or device, whose bytes come only once.
    """

    path: Path
    transcode_from: str | None = None

    def __post_init__(self) -> None:
        mode = self.path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.ESPIPE, "It is no regular file. Save what it gives to a file first.")

    def is_compressed(self) -> bool:
        with self.path.open("rb") as file:
            return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC

    def blocks(self) -> Iterator[bytes]:
        """Its bytes, unpacked.

        Raises:
            UnreadableFile: it is compressed, and damaged.
            OSError: it cannot be read.
        """
        stored = self._stored()
        first = next(stored, b"")
        blocks: Iterator[bytes] = chain((first,), stored)
        if first.startswith(GZIP_MAGIC):
            blocks = _unpacked(blocks)
        if self.transcode_from is not None:
            blocks = _transcoded(blocks, self.transcode_from)
        yield from blocks

    def detected(self, given: DialectOverrides, expected: Sequence[ColumnSpec] | None = None) -> Detected:
        """How it is written, by all of its bytes where these may correct its encoding.

        Raises:
            UnreadableFile: it is no text, or empty.
            OSError: it cannot be read.
        """
        head = bytearray()
        evidence = EncodingEvidence()
        found: Detected | None = None
        for block in self.blocks():
            evidence.feed(block)
            if found is None:
                head += block
                if len(head) >= HEAD_BYTES:
                    found = detect(bytes(head), complete=False, given=given, expected=expected)
            if found is not None and not found.encoding_is_open:
                return found
        evidence.finish()
        if found is None:
            found = detect(bytes(head), complete=True, given=given, expected=expected)
        return found.with_encoding_of(evidence)

    def _stored(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block


def _unpacked(blocks: Iterator[bytes]) -> Iterator[bytes]:
    gunzip = Gunzip(MAX_UNPACKED_BYTES, MAX_RATIO)
    for block in blocks:
        yield from gunzip.feed(block)
    gunzip.finish()


def _transcoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for block in blocks:
        yield decoder.decode(block).encode()
    yield decoder.decode(b"", final=True).encode()
