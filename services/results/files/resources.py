"""What is known of a file in the store, and of one record in it."""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.results.files.ranges import ByteRange
from shared.contracts.dialect import Dialect
from shared.contracts.problems import NotFound, Removed
from shared.reading.batch import Checkpoint

_PACKED = re.compile(r"\.gz$", re.IGNORECASE)


@dataclass(frozen=True)
class StoredFile:
    """The file of an import, as it was read: unpacked, if it came packed.

    Attributes:
        size: Bytes.
        sha256: Of these bytes, in hexadecimal digits.
        width: Columns of its header.
    """

    import_id: UUID
    name: str
    object_key: str
    size: int
    sha256: str
    dialect: Dialect
    width: int

    @property
    def unpacked_name(self) -> str:
        """What to call these bytes."""
        return _PACKED.sub("", self.name)

    @property
    def etag(self) -> str:
        """Strong: the same bytes and no others have it."""
        return f'"{self.sha256}"'


@dataclass(frozen=True)
class Search:
    """A record to be found: number `row_number`, in `file`, from `start` on."""

    file: StoredFile
    row_number: int
    start: Checkpoint


@dataclass(frozen=True)
class Place:
    """Where a record stands: its first physical line, from 1, and its bytes, line end included."""

    line_number: int
    bytes: ByteRange


def file_not_found(import_id: UUID) -> NotFound:
    """The problem that the store has the file no more."""
    return NotFound(
        "file_not_found",
        f"the file of import {import_id} is no longer in the store, or not whole",
        hint="what was loaded of it stays; who sent it may have it still, as may a backup of the store",
    )


def file_removed(import_id: UUID, removed_at: datetime) -> Removed:
    """The problem that the file was kept for some time only."""
    return Removed(
        "file_removed",
        f"the file of import {import_id} was removed at {removed_at:%Y-%m-%d}",
        hint="what was loaded of it stays; who sent it may have it still, as may a backup of the store",
    )
