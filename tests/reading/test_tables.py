from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from shared.reading import records
from shared.reading.batch import Checkpoint
from shared.reading.records import RecordReader
from shared.reading.tables import GAP_ROWS, TableEnd, first_table
from tests.reading.tables import BLOCK_SIZES, batches

BLANK = 0
EMPTY = -3  # a record of three empty fields


def rows(*widths):
    return [[""] * -width if width < 0 else ["x"] * width for width in widths]


TABLE = (3, 3, 3)


@pytest.mark.parametrize(
    ("widths", "kept", "rest"),
    [
        pytest.param((*TABLE, BLANK, 2, 2), 3, 4, id="another table"),
        pytest.param((*TABLE, BLANK, 5, 5, 5), 3, 4, id="a wider one"),
        pytest.param((*TABLE, BLANK, BLANK, 2, 2), 3, 5, id="behind two blank lines"),
        pytest.param((*TABLE, EMPTY, 2, 2), 3, 4, id="behind delimiters only"),
        pytest.param((*TABLE, BLANK, 2, 2, BLANK, 3, 3), 3, 4, id="a third table"),
        pytest.param((*TABLE, BLANK, 1, 2, 2), 3, 4, id="with a title"),
        pytest.param((*TABLE, BLANK, 1, BLANK, 2, 2), 3, 4, id="with a title and a blank line"),
        pytest.param((*TABLE, BLANK, *[2] * 8, 3), 3, 4, id="eight records alike"),
        pytest.param((1, 1, BLANK, 3, 3), 2, 3, id="behind a single column"),
        pytest.param((*TABLE, BLANK, 3, 3), 6, None, id="a blank line inside"),
        pytest.param((*TABLE, BLANK, 3, 2, 2), 7, None, id="ragged behind a blank line"),
        pytest.param((*TABLE, BLANK, 1), 5, None, id="a footer"),
        pytest.param((*TABLE, BLANK, 2), 5, None, id="a footer of two cells"),
        pytest.param((*TABLE, BLANK, 1, 1), 6, None, id="a footer of two lines"),
        pytest.param((*TABLE, BLANK, 1, BLANK, 3, 3), 8, None, id="a page break"),
        pytest.param((*TABLE, BLANK, 1, 3, 3), 7, None, id="a page title"),
        pytest.param((*TABLE, BLANK, 2, 4), 6, None, id="ragged records"),
        pytest.param((*TABLE, 2, 2, 2), 6, None, id="no gap"),
        pytest.param((3, 4, 4, BLANK, 4, 4), 6, None, id="a header shorter than its records"),
        pytest.param((BLANK, 2, 2), 3, None, id="nothing before"),
        pytest.param((*TABLE, BLANK, BLANK), 5, None, id="blank lines at the end"),
    ],
)
def test_where_the_first_table_ends(widths, kept, rest):
    assert first_table(rows(*widths), 3 if widths[0] != 1 else 1, behind_record=False, settled=True) == (
        kept,
        rest,
    )


WIDTHS = st.lists(st.sampled_from([3, 3, 3, 3, 2, 2, 1, 4, BLANK, BLANK, EMPTY]), max_size=40)


@given(WIDTHS, st.integers(0, 40))
def test_what_is_certain_stays_so_whatever_follows(widths, seen):
    everything = first_table(rows(*widths), 3, behind_record=False, settled=True)
    count, rest = first_table(rows(*widths[:seen]), 3, behind_record=False, settled=False)
    if rest is not None:
        assert (count, rest) == everything
    else:
        assert count <= everything[0]
        again = first_table(rows(*widths[count:]), 3, behind_record=count > 0, settled=True)
        kept = count + again[0], again[1] and count + again[1]
        has_record = any(width != BLANK for width in widths[:count])
        assert kept == everything or not has_record


def text_of(widths):
    lines = [",".join(["x"] * width) if width >= 0 else "," * (-width - 1) for width in widths]
    return "".join(line + "\n" for line in lines).encode()


@given(WIDTHS, BLOCK_SIZES, st.sampled_from([2, 16, records.PIECE_BYTES]), st.sampled_from([3, None]))
@settings(max_examples=500, deadline=None)
def test_the_reader_stops_there_however_the_file_is_cut(widths, sizes, window, width):
    widths = [3, *widths]
    count, rest = first_table(rows(*widths), 3, behind_record=False, settled=True)
    with patch.object(records, "PIECE_BYTES", window):
        reader = RecordReader(Dialect(header_rows=0), width=width)
        read = [row for batch in batches(reader, text_of(widths), sizes) for row in batch.fields]
    assert read == [row for row in rows(*widths)[:count] if row]
    expected = None if rest is None else TableEnd(rest + 1, len(text_of(widths[:rest])))
    assert reader.table_end == expected


def test_a_slice_that_begins_before_the_end_of_the_table_stops_there_too():
    data = text_of([3, 3, BLANK, 2, 2, 2])
    reader = RecordReader(Dialect())
    assert [len(batch) for batch in batches(reader, data, [100])] == [1, 1]
    assert reader.checkpoint == Checkpoint(12, 1, 2)
    resumed = RecordReader(Dialect(), reader.checkpoint, width=3)
    assert list(batches(resumed, data[12:], [100])) == []
    assert resumed.table_end == reader.table_end == TableEnd(4, 13)


@pytest.mark.parametrize("separator", [b"\n", b",,\n"])
def test_a_gap_longer_than_any_window_ends_the_table_too(separator):
    data = b"a,b,c\n" * 3 + separator * 1_200_000 + b"d,e\n" * 3
    reader = RecordReader(Dialect(header_rows=0))
    read = sum(map(len, batches(reader, data, [1 << 20])))
    assert reader.table_end == TableEnd(1_200_004, len(data) - 12)
    assert read == 3 + (0 if separator == b"\n" else 1_200_000 - GAP_ROWS)


GAPS = st.tuples(st.sampled_from(["\n", "\r", "\r\n", "\r\n\n\r"]), st.integers(0, 300)).map(
    lambda gap: (gap[0] * 300)[: gap[1]]
)
PIECES = st.sampled_from(["a,b,c\n", "1,2\r\n", '"x\n\n\n",y,z\n', ",,\n", "title\n"])


@settings(max_examples=300)
@given(
    st.lists(st.tuples(PIECES, GAPS), min_size=1, max_size=5),
    st.sampled_from(["utf-8", "utf-16-le", "cp1252"]),
    st.sampled_from([[1], [7], [64], [1000]]),
    st.sampled_from([100, 1000, 1 << 20]),
)
def test_a_long_gap_is_passed_over_without_a_trace(pieces, encoding, sizes, limit):
    data = "".join(piece + gap for piece, gap in pieces).encode(encoding)

    def seen():
        reader = RecordReader(Dialect(encoding=encoding, header_rows=0), width=3, max_record_bytes=limit)
        records = [
            (position, batch.raw(index), batch.fields[index], batch.faults.get(index))
            for batch in batches(reader, data, sizes)
            for index, position in enumerate(zip(batch.line_numbers, batch.offsets, strict=True))
        ]
        return records, reader.table_end

    with patch.object(records, "_BLANK_KEPT", len(data) + 1):
        expected = seen()
    assert seen() == expected
