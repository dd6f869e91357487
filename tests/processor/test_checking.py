"""Records against their dataset's declaration: what is loaded, and what is said about the rest."""

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.processor.checking import Checker
from shared.contracts.datasets import Constraints, Dataset, DatasetField, datasets

MOMO = ["Momo", "Michael Ende", "978-3-522-17750-4", "1973"]
NEXT_YEAR = datetime.now(UTC).year + 1


def checker(dataset: str = "books", *, columns: dict[str, int] | None = None, width: int | None = None):
    declared = datasets()[dataset]
    columns = columns or {field.name: place for place, field in enumerate(declared.file_fields)}
    return Checker(declared, columns, width or len(columns))


def books(*records):
    return checker().check(records, range(1, len(records) + 1))


def codes(faults):
    return [(fault.code, fault.column) for fault in faults]


def momo(**changes):
    names = ["title", "author", "isbn", "publication_year"]
    return [changes.get(name, value) for name, value in zip(names, MOMO, strict=True)]


def test_a_right_record_is_staged_as_number_key_and_fields_in_declared_order():
    checked = books(MOMO)
    assert checked.staged == [(1, "9783522177504", "Momo", "Michael Ende", "9783522177504", 1973)]
    assert checked.faults == {}


def test_columns_are_where_the_header_says():
    check = checker(columns={"isbn": 0, "title": 3, "publication_year": 1, "author": 2}, width=5)
    checked = check.check([["3522177509", "1973", "Michael Ende", "Momo", "ignored"]], [7])
    assert checked.staged == [(7, "9783522177504", "Momo", "Michael Ende", "9783522177504", 1973)]


def test_a_column_that_the_file_does_not_bring_is_not_staged():
    checked = checker("products", columns={"sku": 0, "name": 1}).check([["A-1", "Bolt"]], [1])
    assert checked.staged == [(1, "a-1", "A-1", "Bolt")]


def test_values_are_trimmed_and_blank_ones_are_null():
    checked = checker("products").check([["  A-1\t", "\u00a0Bolt ", "   "]], [1])
    assert checked.staged == [(1, "a-1", "A-1", "Bolt", None)]


def test_good_records_between_bad_ones_keep_their_numbers():
    checked = books(MOMO, momo(title=""), momo(isbn="0306406152"), ["short"], momo(isbn="080442957X"))
    assert [row[0] for row in checked.staged] == [1, 3, 5]
    assert sorted(checked.faults) == [1, 3]


@pytest.mark.parametrize(
    ("record", "code", "column", "value", "message"),
    [
        (MOMO[:2], "missing_cell", None, None, "the record has 2 cells, the header 4: isbn, publication_year is missing"),
        ([*MOMO, "1"], "extra_cell", None, "1", "the record has 5 cells, the header 4"),
        ([*MOMO, "", "x"], "extra_cell", None, "x", "the record has 6 cells, the header 4"),
        (momo(title=""), "value_missing", "title", None, "Title is missing"),
        (momo(title=" \t"), "value_missing", "title", None, "Title is missing"),
        (momo(isbn=""), "value_missing", "isbn", None, "ISBN is missing"),
        (momo(publication_year=""), "value_missing", "publication_year", None, "Year of publication is missing"),
        (momo(title="x" * 1001), "value_too_long", "title", "x" * 1001, "Title has 1001 characters, 1000 are allowed"),
        (momo(publication_year="MCM"), "not_an_integer", "publication_year", "MCM", "Year of publication 'MCM' is not a whole number"),
        (momo(publication_year="1973.0"), "not_an_integer", "publication_year", "1973.0", "Year of publication '1973.0' is not a whole number"),
        (momo(publication_year="١٩٧٣"), "not_an_integer", "publication_year", "١٩٧٣", "Year of publication '١٩٧٣' is not a whole number"),
        (momo(publication_year="1" * 19), "not_an_integer", "publication_year", "1" * 19, f"Year of publication '{'1' * 19}' is not a whole number"),
        (momo(publication_year="999"), "below_minimum", "publication_year", "999", "Year of publication 999 is below 1000"),
        (momo(publication_year="-5"), "below_minimum", "publication_year", "-5", "Year of publication -5 is below 1000"),
        (momo(publication_year=f"{NEXT_YEAR + 1}"), "above_maximum", "publication_year", f"{NEXT_YEAR + 1}", f"Year of publication {NEXT_YEAR + 1} is above {NEXT_YEAR}"),
        (momo(isbn="3522177500"), "isbn_invalid", "isbn", "3522177500", "'3522177500' is no ISBN: the check digit should be 9"),
    ],
)  # fmt: skip
def test_each_fault_says_what_is_wrong_and_where(record, code, column, value, message):
    checked = books(record)
    assert checked.staged == []
    [fault] = checked.faults[0]
    assert (fault.code, fault.column, fault.value, fault.message) == (code, column, value, message)


@pytest.mark.parametrize(
    "record",
    [
        [*MOMO, "", ""],
        [*MOMO, "  "],
        momo(title="x" * 1000),
        momo(title="😀" * 1000),
        momo(publication_year="1000"),
        momo(publication_year=f" {NEXT_YEAR}"),
        momo(publication_year="+1973"),
        momo(publication_year="01973"),
    ],
    ids=["empty surplus", "blank surplus", "longest", "characters", "least", "most", "sign", "zero"],
)
def test_at_the_edge_of_what_is_right(record):
    assert books(record).faults == {}


def test_a_value_too_short_is_a_fault_and_an_empty_one_is_not():
    declared = Dataset(
        name="codes",
        title="Codes",
        noun="code",
        fields=(
            DatasetField(name="id", type="string", title="Id", constraints=Constraints(required=True)),
            DatasetField(name="zip", type="string", title="Zip", constraints=Constraints(min_length=5)),
        ),
        primary_key=("id",),
        on_duplicate="reject",
    )
    checked = Checker(declared, {"id": 0, "zip": 1}, 2).check(
        [["a", "1234"], ["b", ""], ["c", "12345"]], [1, 2, 3]
    )
    [fault] = checked.faults[0]
    assert (fault.code, fault.message) == ("value_too_short", "Zip has 4 characters, at least 5 are needed")
    assert checked.staged == [(2, "b", "b", None), (3, "c", "c", "12345")]


def test_all_faults_of_a_record_are_told_at_once():
    checked = books(["", "x" * 1001, "123", "soon"])
    assert codes(checked.faults[0]) == [
        ("value_missing", "title"),
        ("value_too_long", "author"),
        ("isbn_invalid", "isbn"),
        ("not_an_integer", "publication_year"),
    ]


def test_a_long_value_is_shortened_in_the_message():
    [fault] = books(momo(publication_year="9" * 5000)).faults[0]
    assert len(fault.message) < 150


def test_a_record_without_the_optional_last_cell_is_too_short():
    [fault] = checker("products").check([["A-1", "Bolt"]], [1]).faults[0]
    assert fault.message == "the record has 2 cells, the header 3: description is missing"


def key_of(sku: str) -> str:
    [(_, key, *_)] = checker("products").check([[sku, "Bolt", ""]], [1]).staged
    return key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("WBH-1", "wbh-1"),
        ("Straße", "STRASSE"),
        ("ÅNGSTRÖM", "a\u030angstro\u0308m"),  # combining characters
        ("\u212b", "å"),  # the Angstrom sign
        ("İ", "I\u0307"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),  # both small sigmas
        ("ﬁt", "FIT"),
        ("\u1fb4", "\u03b1\u0345\u0301"),  # combining marks in another order
    ],
)
def test_a_key_is_the_same_whatever_its_case_and_spelling(one, other):
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(("one", "other"), [("a", "ä"), ("A 1", "A1"), ("I", "İ"), ("0", "O"), ("i", "ı")])
def test_different_keys_stay_different(one, other):
    assert key_of(one) != key_of(other)


@given(st.text(max_size=20).map(str.strip).filter(bool))
@example("\u1fb4\u0301")
def test_a_key_does_not_depend_on_case_or_normal_form(sku):
    decomposed = unicodedata.normalize("NFD", sku)
    same = [unicodedata.normalize("NFC", sku), decomposed, decomposed.casefold()]
    assert {key_of(spelling) for spelling in same} == {key_of(sku)}
