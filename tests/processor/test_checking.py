"""Records against their dataset's declaration: what is loaded, and what is said about the rest."""

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.processor.checking import Checker, keys_of
from shared.contracts.datasets import datasets
from shared.contracts.dialect import Dialect
from shared.reading.errors import ReadFault
from shared.reading.records import RecordReader
from tests.processor.batches import NOW, batch_of, dataset_of, declared

MOMO = ["Momo", "Michael Ende", "978-3-522-17750-4", "1973"]
NEXT_YEAR = NOW.year + 1


def checker(dataset: str = "books", *, columns: dict[str, int] | None = None, width: int | None = None):
    declaration = datasets()[dataset]
    columns = columns or {field.name: place for place, field in enumerate(declaration.file_fields)}
    return Checker(declaration, columns, width or len(columns), now=NOW)


def products(*records):
    return checker("products", columns={"sku": 0, "name": 1, "description": 2}).check(batch_of(*records))


def books(*records):
    return checker().check(batch_of(*records))


def codes(faults):
    return [(fault.code, fault.column) for fault in faults]


def momo(**changes):
    names = ["title", "author", "isbn", "publication_year"]
    return [changes.get(name, value) for name, value in zip(names, MOMO, strict=True)]


def rows_of(checked):
    return list(zip(checked.numbers, checked.keys, *checked.columns, strict=True))


def test_a_right_record_is_its_number_its_key_and_its_fields_in_declared_order():
    checked = books(MOMO)
    assert rows_of(checked) == [(1, "9783522177504", "Momo", "Michael Ende", "9783522177504", "1973")]
    assert (checked.faults, checked.notes) == ({}, {})


def test_columns_are_where_the_header_says():
    check = checker(columns={"isbn": 0, "title": 3, "publication_year": 1, "author": 2}, width=5)
    checked = check.check(batch_of(["3522177509", "1973", "Michael Ende", "Momo", "ignored"], first_number=7))
    assert [field.name for field in check.fields] == ["title", "author", "isbn", "publication_year"]
    assert rows_of(checked) == [(7, "9783522177504", "Momo", "Michael Ende", "9783522177504", "1973")]


def test_a_column_that_the_file_does_not_bring_is_not_loaded():
    check = checker("products", columns={"sku": 0, "name": 1})
    assert [field.name for field in check.fields] == ["sku", "name"]
    assert rows_of(check.check(batch_of(["A-1", "Bolt"]))) == [(1, "a-1", "A-1", "Bolt")]


def test_values_are_trimmed_and_blank_ones_are_null():
    assert rows_of(products(["  A-1\t", "\u00a0Bolt ", "   "])) == [(1, "a-1", "A-1", "Bolt", None)]


def test_good_records_between_bad_ones_keep_their_numbers():
    checked = books(MOMO, momo(title=""), momo(isbn="0306406152"), ["short"], momo(isbn="080442957X"))
    assert list(checked.numbers) == [1, 3, 5]
    assert list(checked.keys) == ["9783522177504", "9780306406157", "9780804429573"]
    assert list(checked.columns[0]) == ["Momo"] * 3
    assert sorted(checked.faults) == [1, 3]


def test_no_records():
    checked = checker().check(batch_of())
    assert rows_of(checked) == []
    assert len(checked.columns) == 4


@pytest.mark.parametrize(
    ("record", "named", "message"),
    [
        (MOMO[:2], ("missing_cell", None, None, None), "the record has 2 cells, the header 4: isbn, publication_year are missing"),
        (MOMO[:3], ("missing_cell", None, None, None), "the record has 3 cells, the header 4: publication_year is missing"),
        ([*MOMO, "1"], ("extra_cell", None, "1", None), "the record has 5 cells, the header 4"),
        ([*MOMO, "", " x "], ("extra_cell", None, "x", None), "the record has 6 cells, the header 4"),
        (momo(title=""), ("value_missing", "title", None, "required"), "Title is missing"),
        (momo(title=" \t"), ("value_missing", "title", None, "required"), "Title is missing"),
        (momo(isbn=""), ("value_missing", "isbn", None, "required"), "ISBN is missing"),
        (momo(publication_year=""), ("value_missing", "publication_year", None, "required"), "Year of publication is missing"),
        (momo(title="x" * 1001), ("value_too_long", "title", "x" * 1001, "maxLength 1000"), "Title has 1001 characters, 1000 are allowed"),
        (momo(publication_year="MCM"), ("not_an_integer", "publication_year", "MCM", "type integer"), "Year of publication 'MCM' is not a whole number"),
        (momo(publication_year="999"), ("below_minimum", "publication_year", "999", "minimum 1000"), "Year of publication 999 is below 1000"),
        (momo(publication_year=f" {NEXT_YEAR + 1}"), ("above_maximum", "publication_year", f"{NEXT_YEAR + 1}", f"maximum {NEXT_YEAR}"), f"Year of publication {NEXT_YEAR + 1} is above {NEXT_YEAR}"),
        (momo(isbn="3522177500"), ("isbn_invalid", "isbn", "3522177500", "format isbn"), "'3522177500' is no ISBN: the check digit should be 9"),
    ],
)  # fmt: skip
def test_each_fault_says_what_is_wrong_and_where(record, named, message):
    checked = books(record)
    assert rows_of(checked) == []
    [fault] = checked.faults[0]
    assert (fault.code, fault.column, fault.value, fault.rule) == named
    assert fault.message == message
    assert fault.hint


@pytest.mark.parametrize(
    "record",
    [
        [*MOMO, "", ""],
        [*MOMO, "  "],
        momo(title="x" * 1000),
        momo(title="😀" * 1000),
        momo(title=f"  {'x' * 1000}  "),
        momo(publication_year="1000"),
        momo(publication_year=f" {NEXT_YEAR}"),
        momo(publication_year="+1973"),
        momo(publication_year="01973"),
    ],
    ids=["empty surplus", "blank surplus", "longest", "characters", "blanks around", "least", "most", "sign", "zero"],
)  # fmt: skip
def test_at_the_edge_of_what_is_right(record):
    assert books(record).faults == {}


def test_the_bounds_of_years_move_with_the_clock():
    now = datetime.now(UTC).year
    check = Checker(
        datasets()["books"], dict.fromkeys(["title", "author", "isbn"], 0) | {"publication_year": 1}, 2
    )
    checked = check.check(batch_of([MOMO[2], str(now + 1)], [MOMO[2], str(now + 3)]))
    assert codes(checked.faults[1]) == [("above_maximum", "publication_year")]
    assert 0 not in checked.faults


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
    assert fault.value == "9" * 5000


def test_a_record_without_the_optional_last_cell_is_too_short():
    [fault] = products(["A-1", "Bolt"]).faults[0]
    assert fault.message == "the record has 2 cells, the header 3: description is missing"


def test_a_record_that_could_not_be_read_says_so_and_the_others_are_checked():
    fault = ReadFault("encoding_invalid", "byte 0x81 is no text", "save it as UTF-8")
    batch = batch_of(["A-1", "Bolt", ""], ["?"], ["", "Nut", ""], faults={1: fault}, first_number=11)
    checked = checker("products", columns={"sku": 0, "name": 1, "description": 2}).check(batch)
    assert rows_of(checked) == [(11, "a-1", "A-1", "Bolt", None)]
    assert codes(checked.faults[1]) == [("encoding_invalid", None)]
    assert checked.faults[1][0].hint == "save it as UTF-8"
    assert codes(checked.faults[2]) == [("value_missing", "sku")]


def test_what_a_reader_gives_is_checked():
    reader = RecordReader(Dialect(), width=3)
    file = b'sku,name,description\nA-1,Bolt,"short,\nstrong"\n,Nut\nA-2,Nut,a\0b\nA-3,Pin,\n'
    batches = [*reader.feed(file), *reader.finish()]
    check = checker("products", columns={"sku": 0, "name": 1, "description": 2})
    checked = [check.check(batch) for batch in batches if not batch.is_header]
    loaded = [row for each in checked for row in rows_of(each)]
    assert loaded == [(1, "a-1", "A-1", "Bolt", "short,\nstrong"), (4, "a-3", "A-3", "Pin", None)]
    found = [fault.code for each in checked for _, faults in sorted(each.faults.items()) for fault in faults]
    assert found == ["missing_cell", "nul_byte"]


ALTERNATIVES = dataset_of(
    declared("number", name="one", title="One"),
    declared("number", name="other", title="Other"),
    requiredAny=[["one", "other"]],
)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (["k", "1", "2"], None),
        (["k", "1", ""], None),
        (["k", " ", "2"], None),
        (["k", "", " "], [("value_missing", "one")]),
        (["k", "", "x"], [("not_a_number", "other")]),  # not missing, though wrong
        (["", "", ""], [("value_missing", "id"), ("value_missing", "one")]),
    ],
)
def test_of_alternatives_each_record_has_at_least_one(record, found):
    checked = Checker(ALTERNATIVES, {"id": 0, "one": 1, "other": 2}, 3).check(
        batch_of(["a", "1", ""], record)
    )
    assert (codes(checked.faults[1]) if checked.faults else None) == found


def test_a_file_with_none_of_the_alternatives_has_no_right_record():
    checked = Checker(ALTERNATIVES, {"id": 0}, 1).check(batch_of(["a"], ["b"]))
    assert codes(checked.faults[0]) == codes(checked.faults[1]) == [("value_missing", "one")]
    assert checked.faults[0][0].message == "One and Other are both missing"


def key_of(sku: str) -> str:
    [key] = products([sku, "Bolt", ""]).keys
    return key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("WBH-1", "wbh-1"),
        ("Straße", "STRASSE"),
        ("ÅNGSTRÖM", "a\u030angstro\u0308m"),  # combining characters
        ("\u212b", "å"),  # the Angstrom sign
        ("\u212a", "k"),  # the Kelvin sign
        ("ſ", "S"),
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


SKUS = (
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
    .map(str.strip)
    .filter(bool)
)


@given(SKUS)
@example("\u1fb4\u0301")
def test_a_key_does_not_depend_on_case_or_normal_form(sku):
    decomposed = unicodedata.normalize("NFD", sku)
    same = [unicodedata.normalize("NFC", sku), decomposed, decomposed.casefold()]
    assert {key_of(spelling) for spelling in same} == {key_of(sku)}


@given(st.lists(SKUS, min_size=1, max_size=5))
def test_a_key_does_not_depend_on_the_other_records(skus):
    together = products(*([sku, "Bolt", ""] for sku in skus)).keys
    assert list(together) == [key_of(sku) for sku in skus]


QUOTE = ["Q-1", "01", "Bolt", "4.75"]


def quotes(*records):
    return checker(
        "quotes", columns={"quote_number": 0, "line_number": 1, "stock_code": 2, "unit_price": 3}
    ).check(batch_of(*records))


def test_the_parts_of_a_key_of_several_fields():
    checked = quotes(QUOTE, ["q-1", "2.0", "Bolt", "1"])
    assert list(checked.keys) == ["q-1\x1f1", "q-1\x1f2"]


def test_a_part_of_a_key_never_holds_the_separator():
    [fault] = quotes(["Q\x1f1", *QUOTE[1:]]).faults[0]
    assert (fault.code, fault.column) == ("character_forbidden", "quote_number")
    assert products(["Q\x1f1", "Bolt", ""]).faults == {}  # a key of one field has no need of it


def test_a_reference_has_the_key_of_what_it_names():
    declaration = datasets()["products"]
    assert list(keys_of(declaration, ["WBH-1", None, "Straße"])) == ["wbh-1", None, "strasse"]
    assert list(keys_of(declaration, ["WBH-1"])) == [key_of("WBH-1")]
