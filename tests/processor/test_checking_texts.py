"""Strings and their named formats."""

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.processor.checking.columns import MemoColumn, TextColumn, column_of
from services.processor.checking.texts import Texts
from tests.processor.batches import check_values, declared, result_of

NOW = datetime(2024, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        (declared(trim=False), " a ", " a "),
        (declared(trim=False, required=True), " ", " "),
        (declared(case="upper"), "straße", "STRASSE"),
        (declared(case="lower"), "ABC", "abc"),
        (declared(), "u\u0308", "ü"),
        (declared(normalForm=None), "u\u0308", "u\u0308"),
        (declared(maxLength=1), "u\u0308", "ü"),  # one character
        (declared(maxLength=1), "\u0958", ["value_too_long"]),  # which becomes two
        (declared(minLength=5), "1234", ["value_too_short"]),
        (declared(minLength=5), "12345", "12345"),
        (declared(minLength=5), "", None),
        (declared(pattern="[A-Z]{3}", maxLength=9), "EUR", "EUR"),
        (declared(pattern="[A-Z]{3}", maxLength=9), "EURO", ["pattern_mismatch"]),
        (declared(pattern="[A-Z]{3}", maxLength=9), "eur", ["pattern_mismatch"]),
        (declared(pattern="[A-Z]{3}", maxLength=9, case="upper"), "eur", "EUR"),
        (declared(pattern="a+", maxLength=3), "b" * 4, ["value_too_long"]),
        (declared(pattern="[A-Z]{3}", minLength=3, maxLength=9, enum=["EUR"]), "x", ["value_too_short", "pattern_mismatch", "not_allowed"]),
        (declared(enum=["new", "used"]), "used", "used"),
        (declared(enum=["new", "used"]), "old", ["not_allowed"]),
        (declared(), "a\0b", ["character_forbidden"]),
        (declared(), "a\ud800b", ["character_forbidden"]),
        (declared(), "a\x1fb", "a\x1fb"),
        (declared(identifier=True), "9.78352E+12", ["spreadsheet_number"]),
        (declared(identifier=True), "9,78352e+12", ["spreadsheet_number"]),
        (declared(identifier=True), "1E+12", ["spreadsheet_number"]),
        (declared(identifier=True), "12E3", "12E3"),
        (declared(identifier=True), "A+B", "A+B"),
        (declared(), "9.78352E+12", "9.78352E+12"),
    ],
)  # fmt: skip
def test_strings(field, value, stored):
    assert result_of(field, value) == stored


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("ada@example.com", True),
        ("ada.b+tag@mail.example.co.uk", True),
        ("ädä@exämple.de", True),
        ("o'neill@example.com", True),
        ("a@b-c.de", True),
        ("ada", False),
        ("ada@", False),
        ("@example.com", False),
        ("ada@localhost", False),
        ("ada@example..com", False),
        (".ada@example.com", False),
        ("ada.@example.com", False),
        ("ada@-example.com", False),
        ("a da@example.com", False),
        ("ada@example.com, bob@example.com", False),
        ("ada@example.com\nBcc: x", False),
        (f"{'a' * 65}@example.com", False),
        (f"a@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 60}.{'f' * 60}.com", False),
    ],
)
def test_email_addresses(value, right):
    assert result_of(declared(format="email"), value) == (value if right else ["email_invalid"])


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("https://example.com", True),
        ("http://example.com:8080/a/b?c=d#e", True),
        ("https://exämple.de/ü", True),
        ("mailto:ada@example.com", True),
        ("urn:isbn:9783522177504", True),
        ("ftp://example.com/file.csv", True),
        ("example.com", False),
        ("www.example.com", False),
        ("//example.com", False),
        ("https://", False),
        ("https:///path", False),
        ("https:example.com", False),
        ("mailto:", False),
        ("https://example.com/a b", False),
        ("https://example.com/<b>", False),
        ("https://example.com/" + "a" * 2048, False),
    ],
)
def test_uris(value, right):
    assert result_of(declared(format="uri"), value) == (value if right else ["uri_invalid"])


def test_uuids():
    field = declared(format="uuid")
    assert result_of(field, "0F3C8A52-6D1E-4B7A-9C55-2F1D3E4A5B6C") == "0f3c8a52-6d1e-4b7a-9c55-2f1d3e4a5b6c"
    assert result_of(field, "0f3c8a526d1e4b7a9c552f1d3e4a5b6c") == ["uuid_invalid"]
    assert result_of(field, "g" * 36) == ["uuid_invalid"]


def test_an_optional_isbn_may_be_blank():
    assert result_of(declared(format="isbn"), " ") is None
    checked = check_values(declared(format="isbn"), "", "3522177509", "x")
    assert list(checked.columns[1]) == [None, "9783522177504"]
    assert [fault.code for fault in checked.faults[2]] == ["isbn_invalid"]


FIELDS = [
    declared(),
    declared(required=True, maxLength=3),
    declared(minLength=3, identifier=True),
    declared(trim=False, maxLength=4),
    declared(normalForm=None, required=True),
]
PIECES = st.text(
    st.sampled_from("ab 1E+.2\t\n\0\x1f\ud800\u0308\u0958ü\u00a0中"), max_size=6
) | st.sampled_from(["9.7E+12", "1E+12"])


@pytest.mark.parametrize("field", FIELDS, ids=range(len(FIELDS)))
@pytest.mark.parametrize("in_key", [True, False])
@given(cells=st.lists(PIECES, max_size=6))
@example(cells=["", "ok", "u\u0308"])
def test_a_column_at_once_gives_what_its_values_give_one_by_one(field, in_key, cells):
    column = column_of(field, NOW, None, in_composite_key=in_key)
    assert isinstance(column, TextColumn)
    one_by_one = MemoColumn(field, Texts(field, in_composite_key=in_key).read)
    results, faulty = column.read(cells)
    expected, expected_faulty = one_by_one.read(cells)
    assert (list(results), list(faulty)) == (list(expected), list(expected_faulty))


@given(st.text(max_size=30))
def test_postgresql_can_keep_whatever_is_stored(value):
    stored = result_of(declared(), value)
    if isinstance(stored, str):
        stored.encode()
        assert "\0" not in stored
        assert unicodedata.is_normalized("NFC", stored)
        assert stored == stored.strip() != ""
