"""Looks at a file while it flows to the store: size, hash, dialect, header, number of records. Pure."""

import hashlib
from itertools import chain

from shared.contracts.datasets import Dataset, datasets
from shared.contracts.dialect import Dialect
from shared.contracts.problems import Problem, TooLarge, Unprocessable, UnsupportedMedia
from shared.reading.counting import RecordCounter
from shared.reading.dialect import HEAD_BYTES, detect
from shared.reading.errors import FileNotText, UnreadableFile
from shared.reading.header import HeaderMatch, columns_of, match_header
from shared.reading.records import RecordReader


class Inspection:
    """Feed it every chunk, then `finish`. Each raises a `Problem` as soon as the file is known to be no good.

    Attributes (complete after `finish`):
        size: Bytes.
        sha256: Hexadecimal digest.
        rows_detected: Data records.
    """

    def __init__(self, max_bytes: int) -> None:
        self.size = 0
        self.rows_detected = 0
        self.dialect: Dialect | None = None
        self.header: list[str] = []
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._head: bytearray | None = bytearray()
        self._counter: RecordCounter | None = None

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def feed(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self._max_bytes:
            raise TooLarge(
                "file_too_large",
                f"the file is larger than {self._max_bytes} bytes",
                hint="split it into smaller files, each with the header",
                limit_bytes=self._max_bytes,
            )
        self._hash.update(chunk)
        if self._counter is not None:
            self._counter.feed(chunk)
            return
        assert self._head is not None
        self._head += chunk
        if len(self._head) >= HEAD_BYTES:
            self._read_head(complete=False)

    def finish(self) -> None:
        if self._head is not None:
            self._read_head(complete=True)
        assert self._counter is not None
        self.rows_detected = self._counter.finish()

    def match(self, dataset: Dataset) -> HeaderMatch:
        """Where the dataset's columns are.

        Raises:
            Unprocessable: a required column is missing, or two headers mean the same column.
        """
        try:
            return match_header(self.header, columns_of(dataset))
        except UnreadableFile as error:
            raise _problem_of(error) from error

    def _read_head(self, *, complete: bool) -> None:
        assert self._head is not None
        head, self._head = bytes(self._head), None
        try:
            self.dialect = detect(head, complete=complete)
        except UnreadableFile as error:
            raise _problem_of(error) from error
        self.header = _header_of(head, self.dialect, complete=complete)
        self._counter = RecordCounter(self.dialect)
        self._counter.feed(head)


def dataset_named(name: str | None) -> Dataset:
    """The declared dataset.

    Raises:
        Unprocessable: none was named, or there is none of that name.
    """
    known = ", ".join(datasets())
    if not name:
        raise Unprocessable(
            "dataset_missing", "the request names no dataset", hint=f"send `dataset`, one of: {known}"
        )
    if name not in datasets():
        raise Unprocessable("dataset_unknown", f"there is no dataset {name!r}", hint=f"datasets are: {known}")
    return datasets()[name]


def _header_of(head: bytes, dialect: Dialect, *, complete: bool) -> list[str]:
    reader = RecordReader(dialect)
    first = next(chain(reader.feed(head), reader.finish() if complete else ()), None)
    if first is None or first.faults:
        raise Unprocessable(
            "header_unreadable",
            "the first record cannot be read as a header"
            + (f": {first.faults[0].message}" if first else f": it does not end within {len(head)} bytes"),
            hint="begin the file with one line of column names",
        )
    return first.fields[0]


def _problem_of(error: UnreadableFile) -> Problem:
    kind = UnsupportedMedia if isinstance(error, FileNotText) else Unprocessable
    return kind(error.code, error.message, hint=error.hint)
