"""Where the table begins, and which of its records name the columns."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.datasets import datasets
from shared.reading.dialect import DialectOverrides, detect
from shared.reading.errors import HeaderMissing
from shared.reading.header import ColumnSpec, columns_by_position, columns_of, joined_names, known_names

BODY = (
    "A-1,Bolt,2.50,2024-01-31\nB-2,Nut,0.10,2024-02-01\nC-3,Pipe,7.00,2024-03-05\nD-4,Gate,99.00,2024-04-09\n"
)
HEADER = "sku,name,price,added\n"


def found_in(text, **arguments):
    return detect(text.encode(), complete=True, **arguments).dialect


@pytest.mark.parametrize(
    ("text", "header_rows", "start_line"),
    [
        (HEADER + BODY, 1, 0),
        (BODY, 0, 0),
        (HEADER, 1, 0),
        ("name,city\nBob,Paris\nAnn,Rome\n", 1, 0),
        ("Bob,Paris\nAnn,Rome\nBob,Rome\nTom,Paris\n", 0, 0),
        ("sku\nAB-12\nCD-34\nEF-56\nGH-78\nIJ-90\n", 1, 0),
        ("AB-12\nCD-34\nEF-56\nGH-78\nIJ-90\nKL-11\n", 0, 0),
        (",count\nA-1,5\nB-2,6\nC-3,7\n", 1, 0),
        ("city,2019,2020,2021\nBonn,1.5,2.5,3.5\nUlm,4.5,5.5,6.5\nJena,7.5,8.5,9.5\n", 1, 0),
        ("a,b,c\n1,b\n2,c\n3,b,c\n", 1, 0),
        ("\n\n" + HEADER + BODY, 1, 2),
        ("Price list of the mill\n" + HEADER + BODY, 1, 1),
        ("Price list of the mill\n\nas of 31.1.2024\n\n" + HEADER + BODY, 1, 4),
        ("Price list,,,\n,,,\n" + HEADER + BODY, 1, 2),
        ("# made by the mill\n# do not edit\n" + HEADER + BODY, 1, 2),
        ('"Price list\nof the mill",,,\n' + HEADER + BODY, 1, 2),
        ("Price list of the mill\n" + BODY, 0, 1),
        (HEADER + HEADER + BODY, 2, 0),
        (HEADER + HEADER + HEADER + BODY, 3, 0),
        ("sku,weight,price,added\n,kg,EUR,UTC\nA-1,1,2.50,2024-01-31\nB-2,2,3.50,2024-02-01\nC-3,4,5.50,2024-03-01\n", 2, 0),
        ("date,travel,,total\n,Air,Rail,\n2024-01-31,,65.60,65.60\n2024-02-01,10.00,,10.00\n2024-02-02,,5.00,5.00\n", 2, 0),
        (HEADER + "A-0,Wheel,cheap,2023-12-31\n" + BODY, 1, 0),
        (HEADER + "A-0,Wheel,n/a,unknown\n" + BODY, 1, 0),
        (HEADER + "A-0,,,\n" + BODY, 1, 0),
        ("Grand total,x,1,2024-01-01\n" + BODY, 0, 0),
    ],
)  # fmt: skip
def test_tables_begin_where_a_reader_sees_them_begin(text, header_rows, start_line):
    found = found_in(text)
    assert (found.header_rows, found.start_line) == (header_rows, start_line)
    lines = text.encode().splitlines(keepends=True)
    assert found.start_byte == len(b"".join(lines[:start_line]))


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16-le", "utf-16-be"])
def test_the_start_is_a_place_in_the_file_s_own_bytes(encoding):
    preamble = "Preisliste für Mühlen\r\n"
    data = (preamble + "sku;größe\r\nA;5\r\nB;6\r\nC;7\r\n").encode(encoding)
    found = detect(data, complete=True).dialect
    assert found.start_byte == len(preamble.encode(encoding))
    assert found.start_line == 1


COLUMNS = (ColumnSpec("stock_code", required=True, aliases=("article",)), ColumnSpec("note", required=False))


@pytest.mark.parametrize(
    ("text", "start_line", "delimiter"),
    [
        ("stock_code\n100\n200\n", 0, ","),
        ("Stock Code\nA 100\nB 200\n", 0, ","),
        ("100\n200\nArticle\n300\n", 2, ","),
        ("x,y,z\n1,2,3\nArticle;Note\nA;one\nB;two\n", 2, ";"),
    ],
)
def test_names_that_are_expected_are_the_header(text, start_line, delimiter):
    found = found_in(text, expected=COLUMNS)
    assert (found.header_rows, found.start_line, found.delimiter) == (1, start_line, delimiter)


def test_what_is_given_decides_about_the_header_also_where_names_are_expected():
    found = found_in("stock_code\n100\n", expected=COLUMNS, given=DialectOverrides(header_rows=0))
    assert found.header_rows == 0


def test_half_of_the_required_names_make_a_header_and_optional_ones_alone_none():
    columns = columns_of(datasets()["books"])
    assert known_names(["Title", "Author", "x", "y"], columns) == 2
    assert known_names(["Title", "x", "y"], columns) == 0
    assert known_names(["note"], COLUMNS) == 0


@pytest.mark.parametrize(
    ("names", "joined"),
    [
        ([["a", "b"]], ["a", "b"]),
        ([["Travel", "", "Total"], ["Air", "Rail", ""]], ["Travel Air", "Rail", "Total"]),
        ([["a"], ["b", "c"]], ["a b", "c"]),
        ([], []),
    ],
)
def test_names_of_a_header_over_several_rows_are_joined(names, joined):
    assert joined_names(names) == joined


BOOKS = columns_of(datasets()["books"])
GOOD = [["Momo", "Michael Ende", "978-3-522-17750-4", "1973"], ["Emma", "Jane Austen", "0141439580", "1815"]]


def test_columns_without_a_header_are_told_by_their_places():
    assert columns_by_position(GOOD, BOOKS).columns == {
        "title": 0,
        "author": 1,
        "isbn": 2,
        "publication_year": 3,
    }
    assert columns_by_position([["A-1"], ["B-2"]], columns_of(datasets()["stock-codes"])).columns == {
        "stock_code": 0
    }


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([["978-3-522-17750-4", "Momo", "Michael Ende", "1973"]] * 3, "place 3"),
        ([["Momo", "Michael Ende", "978-3-522-17750-4"]], "3 cells"),
        ([[*row, "x"] for row in GOOD], "5 cells"),
        ([["", *row[1:]] for row in GOOD], "title"),
        ([], "0 cells"),
    ],
    ids=["another order", "too few", "too many", "a required one empty", "nothing"],
)
def test_columns_that_do_not_fit_their_places_are_not_guessed(rows, reason):
    with pytest.raises(HeaderMissing) as caught:
        columns_by_position(rows, BOOKS)
    assert reason in caught.value.message
    assert "title, author, isbn, publication_year" in caught.value.hint
    assert "header_rows=1" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "reasons", "lines"),
    [
        ("title\n\nname;price\nBolt;1,50\nNut;2,50\nPipe;3,50;x\n", ["';' (semicolon)", "','", "ASCII"], [1, 3, 4, 6]),
        ("name\nBolt\nNut\n", ["one column"], [1, 2]),
    ],
)  # fmt: skip
def test_a_decision_is_explained(text, reasons, lines):
    explanation = detect(text.encode(), complete=True).explanation
    told = " ".join(explanation.reasons)
    assert [reason for reason in reasons if reason not in told] == []
    assert [line.line_number for line in explanation.lines] == lines
    assert 0 < explanation.confidence <= 1


def test_a_clear_case_is_surer_than_a_doubtful_one():
    clear = detect((HEADER + BODY).encode(), complete=True).explanation
    doubtful = detect(b"a b,c\nd,e f\ng h\n", complete=True).explanation
    assert clear.confidence > 0.9 > doubtful.confidence
    assert clear.runner_up is None


@given(
    st.lists(
        st.lists(st.sampled_from(["", "a", "b c", "1", "2.5", "2024-01-01", "n/a"]), max_size=4), max_size=8
    )
)
@settings(max_examples=300, deadline=None)
def test_only_what_stands_above_a_header_or_a_title_is_dropped(rows):
    text = "".join(",".join(row) + "\n" for row in rows)
    if not text.strip():
        return
    found = found_in(text)
    dropped = text.encode()[: found.start_byte].decode().splitlines()
    if found.header_rows == 0:
        assert all(sum(map(bool, line.split(","))) <= 1 for line in dropped)


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        ("book title,book,isbn,publication\n,author,number,year\n", 2),
        ("title,author,isbn,publication_year\ntext,text,number,year\n", 1),
        ("title,author,isbn,publication_year\n", 1),
        ("Catalogue\n\nbook title,book,isbn,publication\n,author,number,year\n", 2),
    ],
)
def test_names_of_a_dataset_may_go_over_several_rows(head, rows):
    content = f"{head}Momo,Ende,9783522177504,1973\nEmma,Austen,9780141439587,1815\n".encode()
    found = detect(content, complete=True, expected=columns_of(datasets()["books"]))
    assert found.dialect.header_rows == rows
