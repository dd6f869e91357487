import csv

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from shared.reading.counting import RecordCounter
from tests.reading.tables import BLOCK_SIZES, File, blocks, files, read

BARE = Dialect(header_rows=0)


def count(data, dialect=BARE, sizes=(1 << 20,)):
    counter = RecordCounter(dialect)
    for block in blocks(data, sizes):
        counter.feed(block)
    return counter.finish()


@given(files(), BLOCK_SIZES)
@settings(max_examples=500, deadline=None)
def test_the_records_and_lines_of_a_file_are_counted_however_it_is_cut(file: File, sizes):
    assume(not file.is_cut)
    counter = RecordCounter(file.dialect)
    for block in blocks(file.data, sizes):
        counter.feed(block)
    assert counter.finish() == sum(position.record_number > 0 for position, *_ in file.records)
    assert counter.lines == file.lines


SIGNS = st.lists(st.sampled_from([b'"', b'"', b",", b"\n", b"\r", b"a"]), max_size=60).map(b"".join)


@given(SIGNS, BLOCK_SIZES)
@example(b'5" pipe\n6" pipe\n7" pipe\n', [4])
@example(b'"a"""\n"b"\n', [4])
@example(b'a\n""\n\nb', [4])
@settings(max_examples=3000, deadline=None)
def test_any_quotes_count_as_csv_reads_them(data, sizes):
    lines = data.decode().splitlines(keepends=True)
    *rows, behind = csv.reader([*lines, "\n"])
    assume(behind == [])  # else it is inside a quoted field
    assert count(data, BARE, sizes) == sum(map(bool, rows))


@given(SIGNS, BLOCK_SIZES, st.integers(1, 20))
@settings(max_examples=1000, deadline=None)
def test_no_more_records_than_lines_are_counted(data, sizes, limit):
    counter = RecordCounter(BARE, max_record_bytes=limit)
    for block in blocks(data, sizes):
        counter.feed(block)
    assert counter.finish() <= counter.lines == len(data.splitlines())


def test_lines_are_counted_as_records_behind_a_quote_never_closed():
    data = b'a,b\n1,"x\n' + b"2,y\n" * 50
    assert count(data, Dialect()) == len(read(data, Dialect())) - 1 == 51
    counter = RecordCounter(Dialect(), max_record_bytes=64)
    for block in blocks(data + b'3,"z"\n', [30]):
        counter.feed(block)
    assert counter.finish() == 52


@given(st.integers(-40, 40), st.sampled_from(["\n", "\r\n"]), BLOCK_SIZES)
def test_where_a_quote_is_given_up_does_not_hang_on_the_blocks(surplus, end, sizes):
    limit = 4_000
    lines = ("1,2" + end) * (limit // (3 + len(end)))
    data = (f'a,"{lines}' + "x" * surplus if surplus >= 0 else f'a,"{lines[:surplus]}') + f'",b{end}c,d{end}'
    counter = RecordCounter(BARE, max_record_bytes=limit)
    for block in blocks(data.encode(), sizes):
        counter.feed(block)
    whole = RecordCounter(BARE, max_record_bytes=limit)
    whole.feed(data.encode())
    assert counter.finish() == whole.finish()


@pytest.mark.parametrize(
    ("data", "dialect", "expected"),
    [
        (b"", Dialect(), 0),
        (b"name\n", Dialect(), 0),
        (b"name\n\n\na", Dialect(), 1),
        (b'\xef\xbb\xbf"na\nme"\na\n', Dialect(start_byte=3), 1),
        (b'a;"b\nc"\n', Dialect(delimiter=";", header_rows=0), 1),
        (b'a|"b\nc"\n', Dialect(delimiter="|", header_rows=0), 1),
        (b'a;"b\nc"\n', Dialect(header_rows=0), 2),
    ],
)
def test_counts(data, dialect, expected):
    assert count(data, dialect) == expected
    assert count(data, dialect, [1]) == expected
