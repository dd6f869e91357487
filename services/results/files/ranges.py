"""Which bytes of a file a request wants (RFC 9110, section 14). Pure."""

import re
from dataclasses import dataclass

from shared.contracts.problems import Problem

# More digits than any file's size has: such a number is not even read.
_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class ByteRange:
    """Bytes of a file from offset `start` on, up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


class RangeUnsatisfiable(Problem):
    """None of the bytes asked for is in the file."""

    status = 416
    title = "Range not satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(
            "range_not_satisfiable",
            f"the file has {size} bytes, and none where the range begins",
            hint=f"ask for bytes from 0 to {size - 1}",
        )
        self.answered_with({"Content-Range": f"bytes */{size}"})


def range_of(header: str | None, size: int, *, etag: str, if_range: str | None) -> ByteRange | None:
    """The one range that a request asks for of a file of `size` bytes; None: it gets the whole file.

    That is also what it gets if the file is not the one it knows (`if_range`), or if it asks for several ranges, in
    another unit or in a way that is none: a server may always answer so (section 14.2).

    Raises:
        RangeUnsatisfiable: no byte of the file is in it.
    """
    asked = _ONE_RANGE.fullmatch(header or "")
    if asked is None or if_range not in {None, etag}:
        return None
    first, last = asked.groups()
    if first:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    elif last:
        start, stop = max(size - int(last), 0), size
    else:
        return None
    if start >= stop:
        raise RangeUnsatisfiable(size)
    return ByteRange(start, stop)
