import csv

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.contracts.dialect import Dialect
from shared.reading.counting import RecordCounter
from tests.reading.tables import BLOCK_SIZES, File, blocks, files

BARE = Dialect(header=False)


def count(data, dialect=BARE, sizes=(1 << 20,)):
    counter = RecordCounter(dialect)
    for block in blocks(data, sizes):
        counter.feed(block)
    return counter.finish()


@given(files(), BLOCK_SIZES)
@settings(max_examples=300, deadline=None)
def test_the_records_of_a_file_are_counted_however_it_is_cut(file: File, sizes):
    expected = sum(position.record_number > 0 for position, _ in file.records)
    assert count(file.data, file.dialect, sizes) == expected


@given(
    st.lists(st.sampled_from([b'"', b'"', b",", b"\n", b"\r", b"a"]), max_size=60).map(b"".join), BLOCK_SIZES
)
@example(b'5" pipe\n6" pipe\n7" pipe\n', [4])
@example(b'"a"""\n"b"\n', [4])
@example(b'a\n""\n\nb', [4])
@settings(max_examples=3000, deadline=None)
def test_any_quotes_count_as_csv_reads_them(data, sizes):
    lines = data.decode().splitlines(keepends=True)
    assert count(data, BARE, sizes) == sum(map(bool, csv.reader(lines)))


@pytest.mark.parametrize(
    ("data", "dialect", "expected"),
    [
        (b"", Dialect(), 0),
        (b"name\n", Dialect(), 0),
        (b"name\n\n\na", Dialect(), 1),
        (b'\xef\xbb\xbf"na\nme"\na\n', Dialect(bom=3), 1),
        (b'a;"b\nc"\n', Dialect(delimiter=";", header=False), 1),
        (b'a|"b\nc"\n', Dialect(delimiter="|", header=False), 1),
        (b'a;"b\nc"\n', Dialect(header=False), 2),
    ],
)
def test_counts(data, dialect, expected):
    assert count(data, dialect) == expected
    assert count(data, dialect, [1]) == expected
