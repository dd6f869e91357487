"""Numbers, years and booleans as files have them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.processor.checking.numbers import BIGINT
from tests.processor.batches import check_values, declared, result_of

GROUPED = declared("number", groupChar=",")
GERMAN = declared("number", groupChar=".", decimalChar=",")
MARKED = declared("number", groupChar=",", bareNumber=False)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("42", "42"),
        (" 42 ", "42"),
        ("+42", "42"),
        ("-42", "-42"),
        ("0042", "42"),
        ("-0", "0"),
        ("3.0", "3"),  # as data frames write whole numbers where some are missing
        ("3.", "3"),
        (str(BIGINT), str(BIGINT)),
        (str(-BIGINT), str(-BIGINT)),
        (str(BIGINT + 1), ["number_too_large"]),
        ("1" * 79, ["number_too_large"]),
        ("1" * 5000, ["not_an_integer"]),  # and is not computed with
        ("3.5", ["not_an_integer"]),
        ("1e3", ["not_an_integer"]),
        ("1,000", ["not_an_integer"]),
        ("$3", ["not_an_integer"]),
        ("٣", ["not_an_integer"]),
        ("0x10", ["not_an_integer"]),
        ("1_000", ["not_an_integer"]),
        ("--1", ["not_an_integer"]),
        ("1 000", ["not_an_integer"]),
        ("3\n4", ["not_an_integer"]),
        ("", None),
    ],
)
def test_integers(value, stored):
    assert result_of(declared("integer"), value) == stored


def test_integers_with_groups_and_marks():
    field = declared("integer", groupChar=",", bareNumber=False)
    assert result_of(field, "1,234,567") == "1234567"
    assert result_of(field, "12 %") == "12"
    assert result_of(field, "12,34") == ["not_an_integer"]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("12.50", "12.50"),
        ("-12.50", "-12.50"),
        ("+12.50", "12.50"),
        ("007.50", "7.50"),
        (".5", "0.5"),
        ("5.", "5"),
        ("0", "0"),
        ("-0.00", "0"),
        ("0E9999", "0"),
        ("1.2E+3", "1200"),
        ("1.2e-3", "0.0012"),
        ("12345678901234.1234", "12345678901234.1234"),
        ("0.12340000", "0.1234"),
        ("100000.00000", "100000.0000"),
        ("0.12345", ["number_too_precise"]),
        ("1E-5", ["number_too_precise"]),
        ("123456789012345", ["number_too_large"]),
        ("1E+9999", ["number_too_large"]),
        ("1E+99999", ["not_a_number"]),
        ("123456789012345.12345", ["number_too_precise"]),
        ("NaN", ["not_a_number"]),
        ("Infinity", ["not_a_number"]),
        ("-inf", ["not_a_number"]),
        (".", ["not_a_number"]),
        ("-", ["not_a_number"]),
        ("E5", ["not_a_number"]),
        ("1,5", ["not_a_number"]),
        ("1,234.50", ["not_a_number"]),  # groups are not declared
        ("$5", ["not_a_number"]),
        ("5 %", ["not_a_number"]),
        ("1.2.3", ["not_a_number"]),
        ("٣.٥", ["not_a_number"]),
        ("1_0", ["not_a_number"]),
        ("1" * 100, ["not_a_number"]),
    ],
)
def test_numbers(value, stored):
    assert result_of(declared("number"), value) == stored


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        (GROUPED, "1,234.50", "1234.50"),
        (GROUPED, "1,234,567", "1234567"),
        (GROUPED, "1234.50", "1234.50"),
        (GROUPED, "12,50", ["not_a_number"]),  # a decimal comma is not read as thousands
        (GROUPED, "1,2345", ["not_a_number"]),
        (GROUPED, "1234,567", ["not_a_number"]),
        (GROUPED, ",123", ["not_a_number"]),
        (GROUPED, "1.234,50", ["not_a_number"]),
        (GERMAN, "1.234,50", "1234.50"),
        (GERMAN, "12,50", "12.50"),
        (GERMAN, "1.234", "1234"),
        (GERMAN, "12.50", ["not_a_number"]),
        (declared("number", groupChar=" "), "1 234.5", "1234.5"),
        (declared("number", decimalChar=","), "12.50", ["not_a_number"]),
        (MARKED, "$1,234.50", "1234.50"),
        (MARKED, "$ 5", "5"),
        (MARKED, "-$5", "-5"),
        (MARKED, "$-5", "-5"),
        (MARKED, "-$-5", ["not_a_number"]),
        (MARKED, "5.00 €", "5.00"),
        (MARKED, "EUR 5.00", "5.00"),
        (MARKED, "5.00USD", "5.00"),
        (MARKED, "12.5%", "12.5"),
        (MARKED, "₹ 99", "99"),
        (MARKED, "QTY 5", ["not_a_number"]),
        (MARKED, "NAN", ["not_a_number"]),
        (MARKED, "$", ["not_a_number"]),
        (MARKED, "USD", ["not_a_number"]),
        (MARKED, "$$5", ["not_a_number"]),
    ],
)
def test_numbers_as_they_are_declared(field, value, stored):
    assert result_of(field, value) == stored


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        (declared("number", precision=4, scale=4), "0.1234", "0.1234"),
        (declared("number", precision=4, scale=4), "1", ["number_too_large"]),
        (declared("number", precision=3, scale=0), "999.0", "999"),
        (declared("number", precision=3, scale=0), "1000", ["number_too_large"]),
        (declared("number", precision=3, scale=0), "9.5", ["number_too_precise"]),
        (declared("number", minimum="0.01"), "0.01", "0.01"),
        (declared("number", minimum="0.01"), "0.0099", ["below_minimum"]),
        (declared("number", maximum=1), "1.0001", ["above_maximum"]),
        (declared("number", minimum=0), "-0.00001", ["below_minimum", "number_too_precise"]),
        (declared("number", nonzero=True), "0.00", ["zero_not_allowed"]),
        (declared("integer", nonzero=True), "-0", ["zero_not_allowed"]),
        (declared("integer", nonzero=True, minimum=1), "0", ["below_minimum"]),
        (declared("integer", minimum=-5, maximum=5), "-5", "-5"),
        (declared("integer", enum=["10", "20"]), "010", "10"),
        (declared("integer", enum=["10", "20"]), "30", ["not_allowed"]),
        (declared("integer", enum=["10", "20"]), "x", ["not_an_integer"]),
    ],
)
def test_constraints_of_numbers(field, value, stored):
    assert result_of(field, value) == stored


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**13), max_value=10**13))
def test_a_number_is_kept_exactly(number):
    for written in (str(number), f"{number:e}", f"{number:,}", f"${number}"):
        stored = result_of(MARKED, written)
        assert isinstance(stored, str), written
        assert Decimal(stored) == number


@given(st.text("0123456789.,-+eE$ %", max_size=12))
def test_what_is_stored_is_a_plain_number_that_postgresql_reads(value):
    stored = result_of(MARKED, value)
    if isinstance(stored, str):
        assert set(stored) <= set("-0123456789.")
        Decimal(stored)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("1973", "1973"),
        ("1973.0", "1973"),
        ("0800", "800"),
        ("2026", ["above_maximum"]),
        ("2025", "2025"),
        ("73", ["not_a_year"]),
        ("19730", ["not_a_year"]),
        ("1973-01-01", ["not_a_year"]),
        ("-100", ["not_a_year"]),
    ],
)
def test_years(value, stored):
    assert result_of(declared("year", maximum="next-year"), value) == stored


def test_booleans():
    field = declared("boolean")
    assert [result_of(field, value) for value in ("true", "1", "FALSE", " 0", "")] == [
        "t",
        "t",
        "f",
        "f",
        None,
    ]
    assert result_of(field, "yes") == ["not_a_boolean"]
    german = declared("boolean", trueValues=["ja"], falseValues=["nein"])
    assert [result_of(german, value) for value in ("ja", "nein", "true")] == ["t", "f", ["not_a_boolean"]]


def test_a_value_that_comes_again_has_the_same_result():
    checked = check_values(declared("integer"), *["7", "x", "", "x", "07"] * 3)
    assert sorted(checked.faults) == [1, 3, 6, 8, 11, 13]
    assert list(checked.columns[1]) == ["7", None, "7"] * 3


def test_more_distinct_values_than_are_remembered(monkeypatch):
    monkeypatch.setattr("services.processor.checking.columns.MEMO_VALUES", 3)
    field = declared("integer")
    for _ in range(3):
        checked = check_values(field, *map(str, range(10)), "x", "1")
        assert list(checked.columns[1]) == [*map(str, range(10)), "1"]
        assert list(checked.faults) == [10]
