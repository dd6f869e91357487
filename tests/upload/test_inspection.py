"""What an upload learns of a file while it streams by."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.upload.inspection import Inspection, problem_of
from shared.contracts.datasets import datasets
from shared.contracts.problems import Problem, Unprocessable, UnsupportedMedia
from shared.reading.dialect import HEAD_BYTES, DialectOverrides
from shared.reading.errors import FileEmpty, FileNotText

BOOKS = datasets()["books"]
CODES = datasets()["stock-codes"]
PRODUCTS = datasets()["products"]


def inspected(data, sizes=(1 << 16,), **arguments):
    inspection = Inspection(**arguments)
    start = 0
    while start < len(data):
        size = sizes[start % len(sizes)]
        inspection.feed(data[start : start + size])
        start += size
    inspection.finish()
    return inspection


def test_what_it_tells():
    data = b"Books of the mill\ntitle;author;isbn;year\nMomo;Michael Ende;9783522177504;1973\nEmma;Jane Austen;0141439580;1815\n"
    found = inspected(data)
    assert (found.size, found.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (found.rows_detected, found.lines_detected) == (2, 4)
    assert (found.header, found.width) == (["title", "author", "isbn", "year"], 4)
    assert found.dialect is not None
    assert (found.dialect.delimiter, found.dialect.start_line, found.dialect.header_rows) == (";", 1, 1)
    assert found.explanation is not None
    assert found.explanation.reasons
    assert found.match(BOOKS).columns == {"title": 0, "author": 1, "isbn": 2, "publication_year": 3}


def test_evidence_far_behind_the_head_corrects_the_encoding():
    head = b"title,author,isbn,year\n"
    body = b"Momo,Michael Ende,9783522177504,1973\n" * (2 * HEAD_BYTES // 37)
    found = inspected(head + body + "Größe,Ännchen,1,2\n".encode("cp1252"))
    assert found.dialect is not None
    assert found.explanation is not None
    assert found.dialect.encoding == "cp1252"
    assert "cp1252" in found.explanation.reasons[-1]


def test_the_header_is_read_in_the_encoding_of_the_whole_file():
    # Two bytes that are valid UTF-8 by chance; hundreds of others are not.
    header = b"M\xc3\xbcller,sku,title\n"
    data = header + b"Momo,Ende,1\n" * (HEAD_BYTES // 12 + 1) + "Größe,Öl,Käse\n".encode("cp1252") * 200
    found = inspected(data)
    assert found.dialect is not None
    assert found.dialect.encoding == "cp1252"
    assert found.header[0] == "MÃ¼ller"


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=5), st.sampled_from(["utf-8", "utf-16-le", "cp1252"])
)
@settings(max_examples=50, deadline=None)
def test_how_the_file_is_cut_changes_nothing(sizes, encoding):
    data = ("title;größe\n" + "Momo;1\n" * 100).encode(encoding)
    whole, cut = inspected(data), inspected(data, sizes)
    for name in (
        "size",
        "sha256",
        "rows_detected",
        "lines_detected",
        "dialect",
        "explanation",
        "header",
        "width",
    ):
        assert getattr(cut, name) == getattr(whole, name)


def test_a_header_over_several_rows_is_joined():
    found = inspected(b"title,,isbn\nmain,sub,\nMomo,x,1\nEmma,y,2\n", given=DialectOverrides(header_rows=2))
    assert found.header == ["title main", "sub", "isbn"]
    assert found.rows_detected == 2


def test_the_dataset_tells_where_its_header_is():
    data = b"a,b,c\n1,2,3\n4,5,6\nStock Code;x\n100;1\n200;2\n"
    found = inspected(data, dataset=CODES)
    assert found.match(CODES).columns == {"stock_code": 0}
    assert found.rows_detected == 2


def test_codes_without_a_header_are_taken_by_their_place():
    found = inspected(b"ABC-100\nABC-200\nABC-300\nABC-400\nABC-500\nABC-600\n", dataset=CODES)
    assert (found.header, found.width, found.rows_detected) == ([], 1, 6)
    assert found.match(CODES).columns == {"stock_code": 0}


def test_books_without_a_header_are_taken_only_in_their_order():
    in_order = b"Momo,Michael Ende,9783522177504,1973\nEmma,Jane Austen,0141439580,1815\n"
    assert inspected(in_order).match(BOOKS).columns == {
        "title": 0,
        "author": 1,
        "isbn": 2,
        "publication_year": 3,
    }
    with pytest.raises(Unprocessable) as caught:
        inspected(b"0380795272,Krondor,Raymond E. Feist,1998\n0141439580,Emma,Jane Austen,1815\n").match(
            BOOKS
        )
    assert caught.value.code == "header_missing"
    assert "isbn" in str(caught.value.detail)


def test_what_is_given_holds():
    given = DialectOverrides(delimiter="|", header_rows=0, encoding="latin-1")
    found = inspected(b"100\n200\n", given=given)
    assert found.dialect is not None
    assert (found.dialect.delimiter, found.dialect.header_rows, found.dialect.encoding) == ("|", 0, "latin-1")
    assert found.explanation is not None
    assert found.explanation.given == ("encoding", "delimiter", "header_rows")


@pytest.mark.parametrize(
    ("data", "code", "kind"),
    [
        (b"", "file_empty", Unprocessable),
        (b"PK\x03\x04\x14\0\0\0", "file_not_text", UnsupportedMedia),
        (b'na"me\0,sku\nx,1\n', "file_not_text", UnsupportedMedia),
        ("name\n".encode("utf-32"), "encoding_unsupported", Unprocessable),
        (b"x" * (HEAD_BYTES + 1), "header_missing", Unprocessable),
        (b'"name\n' + b"x\n" * HEAD_BYTES, "header_unreadable", Unprocessable),
    ],
)
def test_files_that_are_no_good(data, code, kind):
    with pytest.raises(kind) as caught:
        inspected(
            data, given=DialectOverrides(header_rows=1) if code == "header_unreadable" else DialectOverrides()
        )
    assert caught.value.code == code


def test_errors_of_reading_become_problems():
    problem = problem_of(FileNotText("a picture", hint="send text"))
    assert isinstance(problem, UnsupportedMedia)
    assert (problem.code, problem.status) == ("file_not_text", 415)
    assert isinstance(problem_of(FileEmpty("empty", hint="send more")), Problem)
