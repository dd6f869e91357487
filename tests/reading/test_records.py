import csv
import re
from itertools import chain
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from shared.reading import records as module
from shared.reading.batch import Checkpoint, Position
from shared.reading.records import MAX_RECORD_BYTES, RecordReader
from shared.reading.structure import Structure
from tests.reading.tables import BLOCK_SIZES, LINE_END, File, batches, files, read, read_in_slices

HEADED = Dialect()
BARE = Dialect(header_rows=0)


def fields(data, dialect=BARE, **options):
    return [record.fields for record in read(data, dialect, **options)]


def faults(data, dialect=BARE, **options):
    return [record.fault and record.fault.code for record in read(data, dialect, **options)]


def assert_as_written(file: File, found):
    assert [(record.position, record.byte_length, record.fields) for record in found] == file.records
    assert all(record.fault is None for record in found)
    for record in found:
        start = record.position.byte_offset
        assert record.raw == file.data[start : start + record.byte_length]


WINDOWS = st.sampled_from([2, 8, 32, 100, module.PIECE_BYTES])


@given(files(), BLOCK_SIZES, WINDOWS)
@settings(max_examples=500, deadline=None)
def test_what_was_written_comes_back_with_its_place_however_it_is_cut(file: File, sizes, window):
    with patch.object(module, "PIECE_BYTES", window):
        reader = RecordReader(file.dialect)
        assert_as_written(file, list(chain.from_iterable(batches(reader, file.data, sizes))))
    assert (reader.table_end is not None) == file.is_cut
    if not file.is_cut and len(file.records) >= file.dialect.header_rows:
        assert reader.checkpoint.byte_offset == len(file.data)
        assert reader.checkpoint.line_number == file.lines


@given(files(even=True), st.lists(st.integers(20, 400), min_size=1, max_size=3), WINDOWS)
@settings(max_examples=500, deadline=None)
def test_records_of_one_width_come_back_the_quick_way(file: File, sizes, window):
    with patch.object(module, "PIECE_BYTES", window):
        assert_as_written(file, read(file.data, file.dialect, sizes))


@given(files(), BLOCK_SIZES, st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_slices_read_the_same_as_the_whole(file: File, sizes, records_per_slice):
    sliced = read_in_slices(file.data, file.dialect, sizes, records_per_slice, width=file.width)
    assert_as_written(file, sliced)


@given(files())
@settings(deadline=None)
def test_the_bytes_of_a_record_are_that_record(file: File):
    alone = file.dialect.model_copy(update={"header_rows": 0, "start_byte": 0, "start_line": 0})
    for record in read(file.data, file.dialect):
        assert fields(record.raw, alone) == [record.fields]


HOSTILE = st.lists(
    st.sampled_from([b'"', b'"', b",", b"\n", b"\r", b"a", b"\\", b"\xc3\xa9", b"\xff", b"\0"])
).map(b"".join)
HOSTILE_DIALECTS = st.builds(
    lambda encoding, signs: Dialect(encoding=encoding, header_rows=0, **signs),
    st.sampled_from(["utf-8", "utf-8", "utf-16-le", "utf-16-be"]),
    st.sampled_from(
        [
            {},
            {},
            {"escape": "\\"},
            {"escape": ""},
            {"quote": "", "escape": ""},
            {"quote": "", "escape": "\\"},
            {"delimiter": ",a"},
            {"quote": "é"},
        ]
    ),
)


@given(HOSTILE, HOSTILE_DIALECTS, BLOCK_SIZES, st.integers(8, 48), st.integers(0, 2))
@example(b'"a\n' + b'b","c\n' * 8, BARE, [1], 8, 0)
@example(b"aaaaaaa\r\nb", BARE, [1], 8, 0)
@settings(max_examples=2000, deadline=None)
def test_any_bytes_read_the_same_however_they_are_cut(data, dialect, sizes, limit, header_rows):
    dialect = dialect.model_copy(update={"header_rows": header_rows})
    whole = read(data, dialect, limit=limit)
    assert read(data, dialect, sizes, limit) == whole


@given(HOSTILE, HOSTILE_DIALECTS, BLOCK_SIZES, st.integers(1, 3), st.integers(8, 48))
@settings(max_examples=1000, deadline=None)
def test_any_bytes_read_the_same_in_slices(data, dialect, sizes, records_per_slice, limit):
    data = re.sub(
        rb"[\r\n]{2,}", b"\n", data
    )  # slices tell tables by a given width, not by the first record's
    whole = read(data, dialect, limit=limit)
    assert read_in_slices(data, dialect, sizes, records_per_slice, limit=limit) == whole


@given(HOSTILE, HOSTILE_DIALECTS, st.integers(8, 48))
@settings(max_examples=2000, deadline=None)
def test_no_byte_is_lost_or_read_twice(data, dialect, limit):
    end = 0
    reader = RecordReader(dialect, max_record_bytes=limit)
    structure = Structure(dialect)
    blank = "\r\n"
    for number, record in enumerate(chain.from_iterable(batches(reader, data, [1000])), 1):
        start = record.position.byte_offset
        assert not structure.text(data[end:start]).strip(blank), "only blank lines lie between records"
        lines = len(LINE_END.findall(structure.text(data[:start])))
        assert record.position == Position(number, lines + 1, start)
        end = start + record.byte_length
        assert record.byte_length <= limit or record.fault.code == "record_too_large"
        assert record.raw == data[start:end][: limit - limit % structure.unit]
    if reader.table_end is None:
        assert not structure.text(data[end:]).strip(blank)
        assert reader.checkpoint.byte_offset == len(data)
    else:
        rest = reader.table_end
        assert not structure.text(data[end : rest.byte_offset]).strip(
            blank + dialect.delimiter + dialect.quote
        )
        assert rest.line_number == len(LINE_END.findall(structure.text(data[: rest.byte_offset]))) + 1


@given(HOSTILE)
@settings(max_examples=500, deadline=None)
def test_fields_are_those_of_csv_until_a_quote_stays_open(data):
    lines = [line.decode("utf-8", "replace") for line in data.splitlines(keepends=True)]
    reader = RecordReader(BARE)
    found = list(chain.from_iterable(batches(reader, data, [1000])))
    if "quote_unterminated" not in [record.fault.code for record in found if record.fault]:
        expected = list(filter(None, csv.reader(lines)))
        assert [record.fields for record in found] == expected[: len(found)]
        assert len(found) == len(expected) or reader.table_end


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'5" pipe,x\n', [['5" pipe', "x"]]),
        (b'"a"b,c\n', [["ab", "c"]]),
        (b'"a""b",""\n', [['a"b', ""]]),
        (b' "a",b\n', [[' "a"', "b"]]),
        (b'"a\r\nb\rc\nd",e\n', [["a\r\nb\rc\nd", "e"]]),
        (b"a,b\rc,d\r\ne,f", [["a", "b"], ["c", "d"], ["e", "f"]]),
        (b'""\n', [[""]]),
        (b" \n", [[" "]]),
        (b",\n", [["", ""]]),
        (b"\n\r\n\r", []),
        (b"", []),
        (b"x" * 200_000 + b",y\n", [["x" * 200_000, "y"]]),
        ("a\u2028b\x85c\x0bd,é\n".encode(), [["a\u2028b\x85c\x0bd", "é"]]),
    ],
)
def test_quotes_line_ends_and_blank_lines(data, expected):
    assert fields(data) == expected


def test_a_line_that_begins_with_a_quote_may_be_cut_between_the_quotes():
    assert fields(b'"a""",b\n', sizes=[4, 1]) == [['a"', "b"]]


def test_blank_lines_are_no_records_but_count_as_lines():
    found = read(b"\n\r\na\n\n\nb\n", HEADED)
    assert [record.position for record in found] == [Position(0, 3, 3), Position(1, 6, 7)]


def test_the_header_is_alone_in_its_batch_and_not_expected_again():
    reader = RecordReader(HEADED)
    header, rest = reader.feed(b"a\n1\n2\n3")
    assert (header.is_header, len(header), len(rest), rest.first_number) == (True, 1, 1, 1)
    assert header.checkpoint == Checkpoint(2, 0, 1)
    (resumed,) = RecordReader(HEADED, header.checkpoint).feed(b"1\n2\n3")
    assert list(resumed) == list(rest)


def test_the_checkpoint_is_behind_the_last_batch_taken(monkeypatch):
    monkeypatch.setattr(module, "PIECE_BYTES", 6)
    reader = RecordReader(BARE)
    taken = reader.feed(b"1\n2\n3\n4\n\n\n")
    assert reader.checkpoint == Checkpoint()
    next(taken)
    assert reader.checkpoint == Checkpoint(4, 2, 2)
    assert [len(batch) for batch in taken] == [1]
    assert reader.checkpoint == Checkpoint(6, 3, 3), "a table may begin behind the record before a blank line"
    assert [len(batch) for batch in reader.finish()] == [1]
    assert reader.checkpoint == Checkpoint(10, 4, 6), "blank lines are behind it too"


def test_the_checkpoint_stays_before_a_record_that_is_not_complete():
    reader = RecordReader(BARE)
    assert len(list(reader.feed(b'0\n1\n"a\nb\nc'))) == 1
    assert reader.checkpoint == Checkpoint(2, 1, 1)


# Faults


def test_a_quote_never_closed_costs_its_own_line_only():
    found = read(b'a,b\n1,"x\n2,y\n3,z\n', BARE)
    assert [record.fields for record in found] == [["a", "b"], ["1", "x\n"], ["2", "y"], ["3", "z"]]
    assert [record.position.line_number for record in found] == [1, 2, 3, 4]
    fault = found[1].fault
    assert (fault.code, found[1].raw) == ("quote_unterminated", b'1,"x\n')
    assert "line 2" in fault.message


def test_a_quote_not_closed_within_the_limit_costs_its_own_line_only():
    data = b'1,"x\n' + b"2,y\n" * 50
    found = faults(data, limit=64)
    assert found == ["quote_unterminated", *[None] * 50]


def test_a_quote_reopened_in_a_later_line_ends_the_record_there():
    found = read(b'"a\nb","c\nd\n', BARE)
    assert [record.raw for record in found] == [b'"a\nb","c\n', b"d\n"]
    assert found[0].fault.code == "quote_unterminated"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("sizes", [[1], [7], [1000]])
def test_a_line_beyond_the_limit_is_one_fault(line_end, sizes):
    data = line_end.join([b"a", b"x" * 100, b"b"])
    found = read(data, BARE, sizes, limit=20)
    assert [record.fault and record.fault.code for record in found] == [None, "record_too_large", None]
    assert found[1].raw == b"x" * 20
    assert found[1].byte_length == 100 + len(line_end)
    assert found[2].position == Position(3, 3, 2 * len(line_end) + 101)


def test_a_record_beyond_the_limit_that_closes_its_quotes_is_one_fault():
    assert faults(b'"a\nb",' + b"x" * 100 + b"\nc\n", limit=20) == ["record_too_large", None]


def test_a_line_beyond_the_limit_may_be_the_last():
    assert faults(b"a\n" + b"x" * 100, limit=20) == [None, "record_too_large"]
    assert faults(b"x" * 100, sizes=[50], limit=20) == ["record_too_large"]


def test_the_limit_includes_the_line_end():
    assert faults(b"x" * 19 + b"\n", limit=20) == [None]
    assert faults(b"x" * 20 + b"\n", limit=20) == ["record_too_large"]


def test_bytes_that_are_no_text_are_the_fault_of_their_record():
    found = read(b"a\n\xff\xfe,b\n\xc3\xa9\n", BARE)
    assert [record.fields for record in found] == [["a"], ["\ufffd\ufffd", "b"], ["é"]]
    assert [record.fault and record.fault.code for record in found] == [None, "encoding_invalid", None]
    assert "0xFF" in found[1].fault.message
    assert faults(b"a\n\x81\n", BARE.model_copy(update={"encoding": "cp1252"})) == [None, "encoding_invalid"]


def test_a_nul_byte_is_the_fault_of_its_record():
    found = read(b"a\nb\0c\nd\n", BARE)
    assert [record.fault and record.fault.code for record in found] == [None, "nul_byte", None]
    assert "Byte 2" in found[1].fault.message


def test_faults_keep_their_record_when_the_header_leaves_the_batch():
    header, rest = RecordReader(HEADED).feed(b"h\0\n1\n2\0\n3\n")
    assert (list(header.faults), list(rest.faults)) == ([0], [1])


def test_the_bytes_passed_over_in_a_huge_line_are_counted():
    reader = RecordReader(BARE)
    assert [list(reader.feed(b"x" * (1 << 20))) for _ in range(8)] == [[]] * 8
    huge, following = chain.from_iterable(chain(reader.feed(b"\nnext\n"), reader.finish()))
    assert huge.byte_length == (8 << 20) + 1
    assert len(huge.raw) == MAX_RECORD_BYTES
    assert following.position == Position(2, 2, (8 << 20) + 1)
