"""Cells of an error file: a spreadsheet runs none of them, and an upload gives back each as it was."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.contracts.error_file import (
    REMARKS,
    error_file_header,
    is_error_file,
    line_column,
    needs_neutralising,
    neutralised,
    restored,
)

RUN = tuple("=+-@\t\r\n＝＋－＠")
CELLS = st.one_of(
    st.text(),
    st.text(st.sampled_from([*RUN, "'", '"', "1", ".", ",", "e", "%", " ", "a"]), max_size=8),
)


@given(CELLS)
@example("")
@example("'")
@example("''=1")
@example("-5\n")
@example("'-5")
def test_what_is_neutralised_comes_back(cell):
    assert restored(neutralised(cell)) == cell


@given(CELLS)
def test_what_is_neutralised_does_not_run(cell):
    shown = neutralised(cell)
    if shown.startswith(RUN):
        float(shown.rstrip("%").replace(",", "").replace(".", ""))  # a number, which is no formula
    assert needs_neutralising(["", "a", cell]) == (shown != cell)


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "@SUM(A1)",
        "+49 30 1234",
        "-2+3",
        "-1e5+cmd|' /C calc'!A0",
        '=HYPERLINK("http://x","y")',
        "\t=1",
        "\n=1",
        "＝1",
        "-",
        "--1",
        "-$5",
        "+1\n",
        "-٣",  # a digit, but none that a spreadsheet takes for a number everywhere
    ],
)
def test_what_runs_begins_with_an_apostrophe(cell):
    assert neutralised(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["-5", "+3.5", "-1,234.00", "-1.234,56", "-.5", "-1e5", "-5%", "a=1", "'tis", "1-2", " x"]
)
def test_what_is_harmless_stays(cell):
    assert neutralised(cell) == cell
    assert restored(cell) == cell


def test_the_header_is_neutralised_too_and_names_no_remark_twice():
    header = ["=sku", *REMARKS, "-5", "", "Na,me"]
    [names] = csv.reader(io.StringIO(error_file_header(header, {}, 7, ",").decode()))
    assert names == ["'=sku", "-5", "", "Na,me", *REMARKS]


@pytest.mark.parametrize(
    ("header", "line", "is_one"),
    [
        (["sku", *REMARKS], 1, True),
        (["_messages", " _line ", "sku", "_codes", ""], 1, True),
        (["sku", "_line"], 1, False),
        (["_line", "_codes", "sku", "_line", "_codes", "_messages"], 3, True),
        (["line", "codes", "messages"], None, False),
        ([], None, False),
    ],
)
def test_an_error_file_is_known_by_its_header(header, line, is_one):
    assert (line_column(header), is_error_file(header, corrects=False)) == (line, is_one)
    assert is_error_file(header, corrects=True)
