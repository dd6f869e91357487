"""ISBNs, by their check digits."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from services.processor.checking import isbn

DIGITS = st.text("0123456789", min_size=9, max_size=9)
SEPARATORS = st.sampled_from([" ", "-", "\u00a0", "\u2010", "\u2011", "\u2013", "  "])


def isbn_10(nine: str) -> str:
    """ISO 2108, annex: the weighted sum with weights 10 to 1 is divisible by 11."""
    total = sum(weight * int(digit) for weight, digit in zip(range(10, 1, -1), nine, strict=True))
    return next(nine + last for value, last in enumerate("0123456789X") if (total + value) % 11 == 0)


def isbn_13(twelve: str) -> str:
    """The sum with weights 1 and 3 in turn is divisible by 10."""
    total = sum(weight * int(digit) for weight, digit in zip([1, 3] * 6, twelve, strict=True))
    return next(twelve + str(last) for last in range(10) if (total + last) % 10 == 0)


valid = st.one_of(
    DIGITS.map(isbn_10),
    DIGITS.map(lambda nine: isbn_13("978" + nine)),
    DIGITS.map(lambda nine: isbn_13("979" + nine)),
)


@given(DIGITS)
def test_both_forms_of_one_book_are_the_same_thirteen_digits(nine):
    thirteen = isbn_13("978" + nine)
    assert isbn.canonical(isbn_10(nine)) == isbn.canonical(thirteen) == thirteen


@given(DIGITS.map(lambda nine: isbn_13("979" + nine)))
def test_an_isbn_that_begins_with_979_is_kept_as_it_is(value):
    assert isbn.canonical(value) == value


@given(valid, st.data())
def test_one_wrong_digit_is_never_accepted(value, data):
    place = data.draw(st.integers(0, len(value) - 1))
    digit = data.draw(st.sampled_from("0123456789X"))
    assume(digit != value[place])
    assert isbn.canonical(value[:place] + digit + value[place + 1 :]) is None


@given(DIGITS.map(isbn_10), st.integers(0, 8))
def test_two_neighbours_exchanged_are_never_accepted_in_an_isbn_10(value, place):
    assume("X" not in value[place : place + 2])
    assume(value[place] != value[place + 1])
    exchanged = value[:place] + value[place + 1] + value[place] + value[place + 2 :]
    assert isbn.canonical(exchanged) is None


@given(valid, st.lists(st.tuples(st.integers(0, 13), SEPARATORS), max_size=6))
def test_hyphens_and_spaces_anywhere_change_nothing(value, separators):
    spaced = value
    for place, separator in separators:
        spaced = spaced[:place] + separator + spaced[place:]
    assert isbn.canonical(spaced) == isbn.canonical(value)


@given(st.lists(st.one_of(valid, st.text(), st.text("0123456789Xx- \0٣", max_size=14)), max_size=8))
@example(["\0", "3522177509"])
def test_a_column_at_once_gives_what_its_values_give_one_by_one(values):
    assert isbn.all_canonical(values) == [isbn.canonical(value) for value in values]


@given(st.text())
def test_what_is_not_accepted_has_a_reason(value):
    assert isbn.canonical(value) is not None or isbn.fault_of(value)


@pytest.mark.parametrize(
    ("value", "thirteen"),
    [
        ("3522177509", "9783522177504"),  # Momo
        ("978-3-522-17750-4", "9783522177504"),
        ("0-306-40615-2", "9780306406157"),
        ("080442957X", "9780804429573"),
        ("080442957x", "9780804429573"),
        ("979-10-90636-07-1", "9791090636071"),
        (" 9783522177504 ", "9783522177504"),
        ("3522177500", None),  # wrong check digit
        ("9783522177505", None),
        ("1234567890128", None),  # a right EAN-13, but no book's
        ("X804429570", None),  # X is a check digit only
        ("٩٧٨٣٥٢٢١٧٧٥٠٤", None),  # digits, but not those of ISO 2108
        ("", None),
        ("9783522177504\0", None),
        ("97835221775041", None),
        ("352217750é", None),
    ],
)
def test_known_ones(value, thirteen):
    assert isbn.canonical(value) == thirteen


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("9783522177505", "the check digit should be 4"),
        ("080442957-1", "the check digit should be X"),
        ("080442957X1", "it has 11 digits instead of 10 or 13"),
        ("352217750", "it has 9 digits instead of 10 or 13"),
        ("9.78352E+12", "a spreadsheet turned it into a number"),
        ("9,78352e12", "a spreadsheet turned it into a number"),
        ("439023483", "it has 9 digits instead of 10: a leading 0 is missing"),
        ("439023484", "it has 9 digits instead of 10 or 13"),
        ("ISBN 3522177509", "it has characters other than digits"),
        ("1234567890128", "13 digits begin with 978 or 979"),
        ("X804429570", "X may only be the last of 10"),
        ("978352217750X", "X may only be the last of 10"),
    ],
)
def test_the_reason_helps(value, reason):
    assert isbn.fault_of(value) == reason
