"""Bytes of CSV files as a partner might write them, and how tests read them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle

from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from shared.reading.batch import Checkpoint, Position, Record, RecordBatch
from shared.reading.records import MAX_RECORD_BYTES, RecordReader
from shared.reading.tables import first_table

MARKS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
ENCODINGS = ["utf-8", "utf-16-le", "utf-16-be", "cp1252", "cp1251", "latin-1"]
LINE_END = re.compile(r"\r\n|\r|\n")

# Much of what breaks readers: quotes, delimiters, every line separator of Unicode, two and four byte characters, and
# in UTF-16 a character whose bytes are LF and CR.
TROUBLE = st.sampled_from(
    [*'"",;\t|| \r\n \'\\\\aé€', "\x0b", "\x1c", "\x1f", "\x85", "\u2028", "\ufeff", "\u0a0d", "😀"]
)
VALUES = st.text(TROUBLE | st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
BLOCK_SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6)

DIALECTS = st.builds(
    lambda encoding, delimiter, quoting, header_rows: Dialect(
        encoding=encoding, delimiter=delimiter, quote=quoting[0], escape=quoting[1], header_rows=header_rows
    ),
    st.sampled_from(ENCODINGS),
    st.sampled_from([",", ";", "\t", "|", " ", ", ", "||", "<=>"]),
    st.sampled_from([('"', '"'), ('"', '"'), ("'", "'"), ('"', "\\"), ("'", "\\"), ("", "\\")]),
    st.integers(0, 2),
)


@dataclass(frozen=True)
class File:
    """A file whose writer counted.

    Attributes:
        records: Place, length in bytes and values of each record of the first table.
        width: Fields of the header, or of the first record.
        lines: Physical lines of the whole file.
        is_cut: Whether something follows the first table.
    """

    data: bytes
    dialect: Dialect
    records: list[tuple[Position, int, list[str]]]
    width: int | None
    lines: int
    is_cut: bool


@st.composite
def files(draw: st.DrawFn, *, even: bool = False, dialects: st.SearchStrategy[Dialect] = DIALECTS) -> File:
    """A well-formed file. `even`: all records have the same number of fields, and no line is blank."""
    dialect = draw(dialects)
    rows = draw(_tables(dialect, even=even))
    mark = MARKS.get(dialect.encoding, b"") if draw(st.booleans()) else b""
    preamble = draw(st.sampled_from(["", "From: x\r\n\n"]))
    start = mark + preamble.encode(dialect.encoding)
    first_line = len(LINE_END.findall(preamble))
    dialect = dialect.model_copy(update={"start_byte": len(start), "start_line": first_line})
    # After a lone CR no line end begins with LF, so that a blank line behind it is one.
    line_ends = draw(st.sampled_from([["\n"], ["\r\n"], ["\r"], ["\r", "\r\n", "\n"]]))
    written = [
        written_row(row, dialect, always=draw(st.booleans())) + line_end
        for row, line_end in zip(rows, cycle(line_ends), strict=False)
    ]
    if rows and rows[-1] and draw(st.booleans()):
        written[-1] = written[-1].removesuffix(line_ends[(len(rows) - 1) % len(line_ends)])
    return _as_read(start, dialect, rows, written)


def _tables(dialect: Dialect, *, even: bool) -> st.SearchStrategy[list[list[str]]]:
    # Where nothing is quoted, a CR at the end cannot be told from half a line end, nor a part of a long delimiter
    # from the delimiter behind it.
    forbidden = set() if dialect.quote or len(dialect.delimiter) == 1 else set(dialect.delimiter)
    values = VALUES.map(
        lambda value: "".join(
            letter
            for letter in value.encode(dialect.encoding, "ignore").decode(dialect.encoding)
            if letter not in forbidden
        ).rstrip("" if dialect.quote else "\r")
    )
    if even:
        widths = st.integers(1, 4)
        return widths.flatmap(
            lambda width: st.lists(st.lists(values, min_size=width, max_size=width).filter(any))
        )
    # An empty record may be a gap between tables; that is told the same way where a slice begins with it, but not
    # by the record before.
    return st.lists(st.lists(values, max_size=4).map(lambda row: row if any(row) else []), max_size=8)


def written_row(row: Sequence[str], dialect: Dialect, *, always: bool) -> str:
    """As a writer would that quotes only what it must, or `always`."""
    quote, escape = dialect.quote, dialect.escape
    special = {*dialect.delimiter, *"\r\n", quote} - {""}

    def field(value: str) -> str:
        if not quote:
            for sign in (escape, dialect.delimiter, "\r", "\n"):
                value = value.replace(sign, escape + sign)
            return value
        if not (always or row == [""] or special & set(value)):
            return value if escape == quote else value.replace(escape, escape * 2)
        if escape != quote:
            value = value.replace(escape, escape * 2)
        return quote + value.replace(quote, escape + quote) + quote

    return dialect.delimiter.join(map(field, row))


def _as_read(start: bytes, dialect: Dialect, rows: Sequence[list[str]], written: Sequence[str]) -> File:
    """The file, cut where `first_table` says, which has its own tests."""
    records = []
    data, line = start, dialect.start_line + 1
    for row, text in zip(rows, written, strict=True):
        encoded = text.encode(dialect.encoding)
        if row:
            number = max(len(records) + 1 - dialect.header_rows, 0)
            records.append((Position(number, line, len(data)), len(encoded), row))
        data += encoded
        line += len(LINE_END.findall(text))
    lines = line if written and not written[-1].endswith(("\r", "\n")) else line - 1
    width = next((len(row) for *_, row in records[max(dialect.header_rows - 1, 0) :]), None)
    places = [index for index, row in enumerate(rows) if row]
    data_start = places[dialect.header_rows - 1] + 1 if 0 < dialect.header_rows <= len(places) else 0
    if dialect.header_rows > len(places):
        return File(data, dialect, records, width, lines, False)
    count, rest = first_table(rows[data_start:], width, behind_record=False, settled=True)
    kept = sum(map(bool, rows[: data_start + count]))
    return File(data, dialect, records[:kept], width, lines, rest is not None)


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
    data: bytes,
    dialect: Dialect,
    sizes: Sequence[int],
    records_per_slice: int,
    *,
    limit: int = MAX_RECORD_BYTES,
    width: int | None = None,
) -> list[Record]:
    """Every slice has its own reader and takes the first records of the first batch that moves on only."""
    records: list[Record] = []
    checkpoint = Checkpoint()
    while True:
        reader = RecordReader(dialect, checkpoint, width=width, max_record_bytes=limit)
        for batch in batches(reader, data[checkpoint.byte_offset :], sizes):
            assert reader.checkpoint == batch.checkpoint
            part = batch.part(0, min(records_per_slice, len(batch)))
            records += part
            if part.checkpoint != checkpoint:
                break
        else:
            return records
        checkpoint = part.checkpoint
