import pytest

from shared.contracts.datasets import datasets
from shared.reading.errors import HeaderColumnDuplicate, HeaderColumnMissing, HeaderMissing
from shared.reading.header import ColumnSpec, columns_of, match_header

COLUMNS = (
    ColumnSpec("stock_code", required=True, aliases=("article number",)),
    ColumnSpec("name", required=True),
    ColumnSpec("note", required=False),
)
PRICED = (
    ColumnSpec("sku", required=True),
    ColumnSpec("unit_price", required=False, either=("unit_price", "total")),
    ColumnSpec("total", required=False, either=("unit_price", "total")),
)


@pytest.mark.parametrize(
    "name",
    [
        "stock_code",
        "StockCode",
        "Stock Code",
        "STOCK-CODE",
        " stock__code ",
        "\ufeffstock_code",
        '"stock code"',
        "Article-Number",
        "stock\xa0code",
    ],
)
def test_spellings_of_one_column(name):
    assert match_header(["name", name], COLUMNS).columns == {"stock_code": 1, "name": 0}


def test_unknown_columns_are_told_and_nameless_ones_passed_over():
    match = match_header(["Colour", "", "name", "stock_code", "Note", "Size "], COLUMNS)
    assert match.columns == {"stock_code": 3, "name": 2, "note": 4}
    assert match.unknown == ("Colour", "Size ")


def test_data_in_place_of_the_header():
    with pytest.raises(HeaderMissing) as caught:
        match_header(["A-1", "Bolt"], COLUMNS)
    assert caught.value.code == "header_missing"
    assert "A-1, Bolt" in caught.value.message
    assert "stock_code, name, note" in caught.value.hint


def test_all_missing_columns_are_in_one_error():
    with pytest.raises(HeaderColumnMissing) as caught:
        match_header(["note", "colour"], COLUMNS)
    assert caught.value.code == "header_column_missing"
    assert "lacks stock_code, name" in caught.value.message
    assert "note, colour" in caught.value.message
    assert "article number" in caught.value.hint


def test_two_headers_of_one_column():
    with pytest.raises(HeaderColumnDuplicate) as caught:
        match_header(["StockCode", "name", "Stock-Code"], COLUMNS)
    assert caught.value.code == "header_column_duplicate"
    assert "stock_code is named by column 1 (StockCode) and column 3 (Stock-Code)" in caught.value.message
    with pytest.raises(HeaderColumnDuplicate):
        match_header(["article number", "name", "Article number"], COLUMNS)


def test_a_columns_own_name_goes_before_another_one():
    match = match_header(["Article number", "name", "StockCode"], COLUMNS)
    assert match.columns == {"stock_code": 2, "name": 1}
    assert match.unknown == ("Article number",)


def test_what_an_error_file_adds_is_passed_over():
    match = match_header(["stock_code", "name", "_line", "_codes", "_messages"], COLUMNS)
    assert match.columns == {"stock_code": 0, "name": 1}


@pytest.mark.parametrize("present", ["unit_price", "Total"])
def test_one_of_two_columns_is_enough(present):
    assert match_header(["sku", present], PRICED).columns.keys() == {"sku", present.lower()}


def test_none_of_two_columns_is_too_few():
    with pytest.raises(HeaderColumnMissing) as caught:
        match_header(["sku"], PRICED)
    assert "lacks unit_price or total." in caught.value.message


def test_long_headers_are_shortened_in_messages():
    with pytest.raises(HeaderMissing) as caught:
        match_header(["x" * 1000] * 1000, COLUMNS)
    assert len(caught.value.message) < 1200
    assert "980 more" in caught.value.message


def test_columns_come_from_the_declaration():
    specs = {spec.name: spec for spec in columns_of(datasets()["products"])}
    assert "active" not in specs
    assert (specs["sku"].required, specs["description"].required) == (True, False)
