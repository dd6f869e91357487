"""Gunzip while bytes stream by (RFC 1952), with limits that stop a bomb before it is unpacked."""

import zlib
from collections.abc import Iterator

from shared.reading.errors import GzipInvalid, GzipRatioTooHigh, GzipTruncated, UnpackedTooLarge

GZIP_MAGIC = b"\x1f\x8b"
PIECE_BYTES = 1 << 20
RATIO_JUDGED_BYTES = 10 << 20  # unpacked: small files may be as repetitive as they like

_STEP_BYTES = 1 << 14  # zlib copies what is behind a member: more would make thousands of tiny ones slow
_GZIP_FORMAT = zlib.MAX_WBITS | 16


class Gunzip:
    """Unpacks one file of one or more gzip members, fed in chunks of any size.

    Args:
        max_bytes: The largest unpacked size.
        max_ratio: How many times the packed size the unpacked one may be, once it is beyond RATIO_JUDGED_BYTES.
    """

    def __init__(self, max_bytes: int, max_ratio: int) -> None:
        self._max_bytes = max_bytes
        self._max_ratio = max_ratio
        self._member = zlib.decompressobj(_GZIP_FORMAT)
        self._behind_member = False  # and before the next
        self._packed = 0
        self._unpacked = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What `chunk` unpacks to, in pieces of at most PIECE_BYTES.

        Raises:
            GzipInvalid: the bytes are not gzip, or their checksum is wrong.
            UnpackedTooLarge: more than `max_bytes` come out.
            GzipRatioTooHigh: more than `max_ratio` times what went in comes out.
        """
        self._packed += len(chunk)
        for start in range(0, len(chunk), _STEP_BYTES):
            yield from self._pieces(chunk[start : start + _STEP_BYTES])

    def finish(self) -> None:
        """The file ends here.

        Raises:
            GzipTruncated: in the middle of a member, or before the first.
        """
        if not self._behind_member:
            raise GzipTruncated(
                f"The gzip file ends too early, after {self._packed:,} bytes.",
                hint="Check that the file was sent whole, compress it anew and send it again.",
            )

    def _pieces(self, packed: bytes) -> Iterator[bytes]:
        piece = b""
        while packed or len(piece) == PIECE_BYTES:
            if self._behind_member:
                packed = packed.lstrip(b"\0")  # with which some tools fill up the last block
                if not packed:
                    return
                self._behind_member = False
            piece = self._piece(packed)
            if piece:
                yield piece
            if self._member.eof:
                packed, piece = self._member.unused_data, b""
                self._member = zlib.decompressobj(_GZIP_FORMAT)
                self._behind_member = True
            else:
                packed = self._member.unconsumed_tail

    def _piece(self, packed: bytes) -> bytes:
        try:
            piece = self._member.decompress(packed, PIECE_BYTES)
        except zlib.error as error:
            raise GzipInvalid(
                f"The gzip file cannot be unpacked behind byte {self._unpacked:,} of its content: {error}.",
                hint="Compress it anew, or send it as it is, uncompressed.",
            ) from error
        self._unpacked += len(piece)
        self._check_size()
        return piece

    def _check_size(self) -> None:
        if self._unpacked > self._max_bytes:
            raise UnpackedTooLarge(
                f"The file has more than {self._max_bytes:,} bytes when it is unpacked.",
                hint="Split it into smaller files, each with the header.",
            )
        if self._unpacked > max(RATIO_JUDGED_BYTES, self._packed * self._max_ratio):
            raise GzipRatioTooHigh(
                f"The file unpacks to more than {self._max_ratio:,} times its size.",
                hint="Send it uncompressed, if it is what it should be.",
            )
