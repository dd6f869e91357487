import pytest
from hypothesis import given, settings

from shared.contracts.dialect import Dialect
from shared.reading.cleaning import Cleaner
from shared.reading.header import joined_names
from tests.reading.tables import BLOCK_SIZES, blocks, files


def clean(data, dialect=None, width=3, sizes=(1 << 20,)):
    cleaner = Cleaner(dialect or Dialect(), width)
    rows = [row for block in blocks(data, sizes) for row in cleaner.feed(block)]
    return [*rows, *cleaner.finish()], cleaner


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"a,b,c\n1,2,3\n", [["a", "b", "c"], ["1", "2", "3"]]),
        (b"a,b,c\n1,2,3,,\n", [["a", "b", "c"], ["1", "2", "3"]]),
        (b"a,b,c\n1,2,3, ,\n", [["a", "b", "c"], ["1", "2", "3", " ", ""]]),
        (b"a,b,c\n1,2,3,4\n1,2\n", [["a", "b", "c"], ["1", "2", "3", "4"], ["1", "2"]]),
        (b"a,b,c\n 1 ,007,1.50\n", [["a", "b", "c"], [" 1 ", "007", "1.50"]]),
        (b"a,b,c\n\n1,2,3\n,,\n\n", [["a", "b", "c"], ["1", "2", "3"], ["", "", ""]]),
        (b'a,b,c\n1,5" pipe,3\n', [["a", "b", "c"], ["1", '5" pipe', "3"]]),
        (b'a,b,c\n1,"2,3\n4,5,6\n', [["a", "b", "c"], ["1", '"2', "3"], ["4", "5", "6"]]),
        (b'a,"b,c\n1,2,3\n"x",y,z\n', [["a", '"b', "c"], ["1", "2", "3"], ["x", "y", "z"]]),
    ],
    ids=[
        "clean",
        "longer by empty cells",
        "longer by a blank",
        "ragged",
        "values as they are",
        "blank lines",
        "a stray quote inside",
        "a stray quote that takes a line in",
        "a stray quote in the header",
    ],
)
def test_rows_as_they_were_meant(data, rows):
    assert clean(data)[0] == rows


def test_a_header_over_several_rows_is_joined_and_none_is_invented():
    assert clean(b"a,,c\nx,y,\n1,2,3\n", Dialect(header_rows=2))[0] == [["a x", "y", "c"], ["1", "2", "3"]]
    assert clean(b"1,2,3\n", Dialect(header_rows=0))[0] == [["1", "2", "3"]]


def test_without_a_header_records_are_cut_to_the_usual_width():
    assert clean(b"1,2,3\n4,5,6,,\n", Dialect(header_rows=0))[0] == [["1", "2", "3"], ["4", "5", "6"]]


@pytest.mark.parametrize(
    "further", [b"a,b,c\n7,8,9\n", b"a,b\n7,8\n", b"a,b,c,d\n7,8,9,0\n", b"\nx,y,z,w\n5,6,7,8\n5,6,7,9\n"]
)
def test_the_first_table_only(further):
    first = b"a,b,c\n1,2,3\n4,5,6\n"
    rows, cleaner = clean(first + further)
    assert rows == [["a", "b", "c"], ["1", "2", "3"], ["4", "5", "6"]]
    assert cleaner.further_table == 4 + further.startswith(b"\n")


def test_a_record_that_is_too_large_is_left_out_and_told(monkeypatch):
    monkeypatch.setattr("shared.reading.cleaning.MAX_RECORD_BYTES", 100)
    rows, cleaner = clean(b"a,b,c\n1,2,3\n4,5," + b"x" * 200 + b"\n7,8,9\n")
    assert rows == [["a", "b", "c"], ["1", "2", "3"], ["7", "8", "9"]]
    assert [(number, line, fault.code) for number, line, fault in cleaner.left_out] == [
        (2, 3, "record_too_large")
    ]


def test_bytes_that_are_no_text_are_kept_as_what_stands_for_them():
    assert clean(b"a,b,c\n1,\xff,3\n")[0] == [["a", "b", "c"], ["1", "\ufffd", "3"]]


@given(files(even=True), BLOCK_SIZES)
@settings(max_examples=300, deadline=None)
def test_a_well_formed_file_comes_through_however_it_is_cut(file, sizes):
    rows, cleaner = clean(file.data, file.dialect, file.width or 1, sizes)
    if cleaner.further_table is not None:
        return
    headers = file.dialect.header_rows
    written = [values for _, _, values in file.records]
    names = [joined_names(written[:headers])] if written[:headers] else []
    assert rows == [*names, *written[headers:]]
    assert cleaner.left_out == []
