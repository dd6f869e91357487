"""Bytes of CSV files as a partner might write them, and how tests read them."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle

from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from shared.reading.batch import Checkpoint, Position, Record, RecordBatch
from shared.reading.records import MAX_RECORD_BYTES, RecordReader

BOM = b"\xef\xbb\xbf"
LINE_END = re.compile(rb"\r\n|\r|\n")

# Much of what breaks readers: quotes, delimiters, every line separator of Unicode, two and four byte characters.
TROUBLE = st.sampled_from([*'"",;\t|\r\n \'\\aé€', "\x0b", "\x1c", "\x85", "\u2028", "\ufeff", "😀"])
VALUES = st.text(TROUBLE | st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
BLOCK_SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@dataclass(frozen=True)
class File:
    data: bytes
    dialect: Dialect
    records: list[tuple[Position, list[str]]]


@st.composite
def files(draw: st.DrawFn) -> File:
    """A well-formed file, with each record's place counted by its writer."""
    encoding = draw(st.sampled_from(["utf-8", "cp1252"]))
    bom = BOM if encoding == "utf-8" and draw(st.booleans()) else b""
    dialect = Dialect(
        encoding=encoding,
        bom=len(bom),
        delimiter=draw(st.sampled_from([",", ";", "\t", "|"])),
        header=draw(st.booleans()),
    )
    values = VALUES.map(lambda value: value.encode(encoding, "ignore").decode(encoding))
    rows = draw(st.lists(st.lists(values, max_size=4), max_size=8))
    line_end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quoting = draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    data, line, records = bom, 1, []
    for row in rows:
        if row:
            records.append((Position(len(records) + (not dialect.header), line, len(data)), row))
        written = _written(row, dialect, line_end, quoting)
        line += len(LINE_END.findall(written))
        data += written
    if draw(st.booleans()) and rows:
        data = data.removesuffix(line_end.encode())
    return File(data, dialect, records)


def _written(row: Sequence[str], dialect: Dialect, line_end: str, quoting: int) -> bytes:
    text = io.StringIO(newline="")
    plain = [
        value
        and (
            value
            if set(value).isdisjoint('"\r\n' + dialect.delimiter)
            else '"' + value.replace('"', '""') + '"'
        )
        for value in row
    ]
    if quoting == csv.QUOTE_ALL or row == [""]:
        csv.writer(
            text, delimiter=dialect.delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL
        ).writerow(row)
    else:
        text.write(dialect.delimiter.join(plain) + line_end)
    return text.getvalue().encode(dialect.encoding)


def blocks(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    start = 0
    for size in cycle(sizes):
        if start >= len(data):
            return
        yield data[start : start + size]
        start += size


def batches(reader: RecordReader, data: bytes, sizes: Sequence[int]) -> Iterator[RecordBatch]:
    return chain(chain.from_iterable(map(reader.feed, blocks(data, sizes))), reader.finish())


def read(
    data: bytes, dialect: Dialect, sizes: Sequence[int] = (1 << 20,), limit: int = MAX_RECORD_BYTES
) -> list[Record]:
    reader = RecordReader(dialect, max_record_bytes=limit)
    return list(chain.from_iterable(batches(reader, data, sizes)))


def read_in_slices(
    data: bytes, dialect: Dialect, sizes: Sequence[int], limit: int, records_per_slice: int
) -> list[Record]:
    """Every slice has its own reader and takes the first records of the first batch only."""
    records: list[Record] = []
    checkpoint = Checkpoint()
    while True:
        reader = RecordReader(dialect, checkpoint, limit)
        batch = next(batches(reader, data[checkpoint.byte_offset :], sizes), None)
        if batch is None:
            return records
        assert reader.checkpoint == batch.checkpoint
        part = batch.part(0, min(records_per_slice, len(batch)))
        records += part
        checkpoint = part.checkpoint
