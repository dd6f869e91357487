"""Looks at a file while it flows to the store: size, hash, dialect, header, number of records and lines. Pure."""

import hashlib
from collections.abc import Iterator
from itertools import chain, islice

from shared.contracts.datasets import Dataset, datasets
from shared.contracts.dialect import Dialect, DialectExplanation
from shared.contracts.error_file import is_error_file, restored
from shared.contracts.problems import Problem, TooLarge, Unprocessable, UnsupportedMedia
from shared.reading.batch import RecordBatch
from shared.reading.counting import RecordCounter
from shared.reading.dialect import HEAD_BYTES, Detected, DialectOverrides, detect
from shared.reading.encoding import EncodingEvidence
from shared.reading.errors import FileNotText, GzipRatioTooHigh, UnpackedTooLarge, UnreadableFile
from shared.reading.header import HeaderMatch, columns_by_position, columns_of, joined_names, match_header
from shared.reading.records import RecordReader

_NOTHING_GIVEN = DialectOverrides()
_FIRST_RECORDS = 50  # by which columns without a header are told
_KINDS: dict[type[UnreadableFile], type[Problem]] = {
    FileNotText: UnsupportedMedia,
    UnpackedTooLarge: TooLarge,
    GzipRatioTooHigh: TooLarge,
}


class Inspection:
    """Feed it every chunk, then `finish`. Each raises a `Problem` as soon as the file is known to be no good.

    Args:
        given: What the request says of the dialect.
        dataset: What the file is, if that is known yet; its column names are the best evidence for the header.
        corrects: Whether it is to correct an earlier import.

    Attributes (`dialect` and those below it are there once the head was read, and final after `finish`):
        size: Bytes.
        sha256: Hexadecimal digest.
        dialect: How the file is written.
        explanation: Why it is read so.
        header: The column names as they came; empty if the file names none.
        width: Cells of the header; of most records where there is none.
        rows_detected: Data records.
        lines_detected: Physical lines.
    """

    def __init__(
        self,
        *,
        given: DialectOverrides = _NOTHING_GIVEN,
        dataset: Dataset | None = None,
        corrects: bool = False,
    ) -> None:
        self.size = 0
        self.rows_detected = 0
        self.lines_detected = 0
        self.dialect: Dialect | None = None
        self.explanation: DialectExplanation | None = None
        self.header: list[str] = []
        self.width = 0
        self._given = given
        self._corrects = corrects
        self._expected = columns_of(dataset) if dataset else None
        self._hash = hashlib.sha256()
        self._encoding = EncodingEvidence()
        self._head = bytearray()
        self._detected: Detected | None = None
        self._first_records: list[list[str]] = []
        self._counter: RecordCounter | None = None

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def feed(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._hash.update(chunk)
        if self._detected is None or self._detected.encoding_is_open:
            self._encoding.feed(chunk)
        if self._counter is not None:
            self._counter.feed(chunk)
            return
        self._head += chunk
        if len(self._head) >= HEAD_BYTES:
            self._read_head(complete=False)

    def finish(self) -> None:
        if self._detected is None:
            self._read_head(complete=True)
        assert self._detected is not None
        assert self._counter is not None
        self._encoding.finish()
        found = self._detected.with_encoding_of(self._encoding)
        if found.dialect != self.dialect:
            self._read_names(found, complete=self.size == len(self._head))
        self.dialect, self.explanation = found.dialect, found.explanation
        self.rows_detected = self._counter.finish()
        self.lines_detected = self._counter.lines

    def match(self, dataset: Dataset) -> HeaderMatch:
        """Where the dataset's columns are: by their names, or where the file names none, by their places.

        Raises:
            Unprocessable: a required column is missing, two headers mean the same column, or nothing tells the columns.
        """
        assert self.dialect is not None
        try:
            if self.dialect.header_rows == 0:
                return columns_by_position(self._first_records, columns_of(dataset))
            return match_header(self.header, columns_of(dataset))
        except UnreadableFile as error:
            raise problem_of(error) from error

    def _read_head(self, *, complete: bool) -> None:
        head = bytes(self._head)
        try:
            found = detect(head, complete=complete, given=self._given, expected=self._expected)
        except UnreadableFile as error:
            raise problem_of(error) from error
        self._read_names(found, complete=complete)
        self._detected, self.dialect, self.explanation = found, found.dialect, found.explanation
        self._counter = RecordCounter(found.dialect)
        self._counter.feed(head)

    def _read_names(self, found: Detected, *, complete: bool) -> None:
        batches = _batches(bytes(self._head), found.dialect, complete=complete)
        names = [_names_of(batch, len(self._head)) for batch in islice(batches, found.dialect.header_rows)]
        if len(names) < found.dialect.header_rows:
            raise _header_unreadable(f"it does not end within {len(self._head)} bytes")
        header = joined_names(names)
        restores = is_error_file(header, corrects=self._corrects)
        self.header = list(map(restored, header)) if restores else header
        records = chain.from_iterable(batch.fields for batch in batches)
        self._first_records = list(islice(records, _FIRST_RECORDS))
        # Without names the columns are told by the first record, which may be wider than most.
        self.width = len(self.header) or max(found.width, *map(len, self._first_records[:1]), 1)


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


def problem_of(error: UnreadableFile) -> Problem:
    """What a request is told about a file that cannot be taken."""
    kind = next((kind for errors, kind in _KINDS.items() if isinstance(error, errors)), Unprocessable)
    return kind(error.code, error.message, hint=error.hint)


def _batches(head: bytes, dialect: Dialect, *, complete: bool) -> Iterator[RecordBatch]:
    reader = RecordReader(dialect)
    yield from reader.feed(head)
    if complete:
        yield from reader.finish()


def _names_of(batch: RecordBatch, read: int) -> list[str]:
    if not batch.is_header:
        raise _header_unreadable(f"it does not end within {read} bytes")
    if batch.faults:
        raise _header_unreadable(batch.faults[0].message)
    return batch.fields[0]


def _header_unreadable(reason: str) -> Unprocessable:
    return Unprocessable(
        "header_unreadable",
        f"the first record cannot be read as a header: {reason}",
        hint="begin the file with one line of column names",
    )
