"""ISBN (ISO 2108): ISBN-10 and ISBN-13, their check digits, and the 13 digits both are kept as.

Whole columns are checked at once, as bytes: the first digits of all ISBNs are one byte string, the second ones another, and
so on. `bytes.translate` weighs the digits of a place, and adding the byte strings as large integers adds all sums at
once: each byte is one ISBN's, and no sum passes 255.
"""

import re
from collections.abc import Sequence
from operator import mul

_SEPARATORS = re.compile(r"[\s\-\u2010-\u2015]")
_ISBN_10 = re.compile(r"[0-9]{9}[0-9Xx]")
_ISBN_13 = re.compile(r"97[89][0-9]{10}")
_SPREADSHEET = re.compile(r"[0-9]+[.,]?[0-9]*[eE]\+?[0-9]+")
_WEIGHTS_10 = tuple(range(10, 0, -1))
_WEIGHTS_13 = (1, 3) * 6 + (1,)


def _weighed(weight: int, modulus: int) -> bytes:
    """Maps an ASCII digit to its weighed value in a sum; X is 10."""
    values = bytearray(256)
    for digit, character in enumerate(b"0123456789X"):
        values[character] = weight * digit % modulus
    values[ord("x")] = values[ord("X")]
    return bytes(values)


def _strangers(allowed: bytes) -> bytes:
    """Maps an allowed character to 0, any other to 1."""
    return bytes(character not in allowed for character in range(256))


_DIGITS = b"0123456789"
_SUMS_10 = tuple(_weighed(weight, 11) for weight in _WEIGHTS_10)
_SUMS_13 = tuple(_weighed(weight, 10) for weight in _WEIGHTS_13)
_STRANGE_10 = (*(_strangers(_DIGITS),) * 9, _strangers(_DIGITS + b"Xx"))
_STRANGE_13 = (_strangers(b"9"), _strangers(b"7"), _strangers(b"89"), *(_strangers(_DIGITS),) * 10)
_REMAINDER_10 = bytes(1 if total % 11 else 0 for total in range(256))
_REMAINDER_13 = bytes(1 if total % 10 else 0 for total in range(256))
# From the weighed sum of the first nine digits behind 978 to the last digit; 978 itself adds 38.
_LAST_13 = bytes(ord("0") + -(total + 38) % 10 for total in range(256))


def canonical(value: str) -> str | None:
    """The ISBN as 13 digits, or None if `value` is no ISBN: wrong length, foreign characters, wrong check digit."""
    return all_canonical([value])[0]


def all_canonical(values: Sequence[str]) -> list[str | None]:
    """`canonical` of each value."""
    plain = _without_separators(values)
    found: list[str | None] = [None] * len(plain)
    for length, convert in ((13, _thirteen), (10, _thirteen_of_ten)):
        places = [place for place, value in enumerate(plain) if len(value) == length]
        if len(places) == len(plain):
            return convert(plain)
        if places:
            for place, isbn in zip(places, convert([plain[place] for place in places]), strict=True):
                found[place] = isbn
    return found


def _without_separators(values: Sequence[str]) -> list[str]:
    text = "\0".join(values)
    if not text.isascii() or text.count("\0") >= len(values):
        return [_SEPARATORS.sub("", value) for value in values]
    return "".join(text.replace("-", "").split()).split("\0")


def _thirteen(values: Sequence[str]) -> list[str | None]:
    """The ISBNs among `values`, of 13 characters each."""
    wrong = _wrong(_places(values, 13), _SUMS_13, _STRANGE_13, _REMAINDER_13)
    return [None if bad else value for bad, value in zip(wrong, values, strict=True)]


def _thirteen_of_ten(values: Sequence[str]) -> list[str | None]:
    """The ISBNs among `values`, of 10 characters each, as 13 digits."""
    places = _places(values, 10)
    wrong = _wrong(places, _SUMS_10, _STRANGE_10, _REMAINDER_10)
    last = _sums(places[:9], _SUMS_13[3:12]).translate(_LAST_13).decode("ascii")
    return [
        None if bad else f"978{value[:9]}{digit}"
        for bad, value, digit in zip(wrong, values, last, strict=True)
    ]


def _places(values: Sequence[str], length: int) -> list[bytes]:
    """The first characters of all values, the second ones, and so on, one byte each."""
    joined = "".join(values).encode("ascii", "replace")
    return [joined[place::length] for place in range(length)]


def _wrong(
    places: Sequence[bytes], sums: Sequence[bytes], strange: Sequence[bytes], remainder: bytes
) -> bytes:
    """For each value 0 if it is right, else another byte."""
    inexact = int.from_bytes(_sums(places, sums).translate(remainder))
    return (inexact + int.from_bytes(_sums(places, strange))).to_bytes(len(places[0]))


def _sums(places: Sequence[bytes], tables: Sequence[bytes]) -> bytes:
    total = sum(int.from_bytes(place.translate(table)) for place, table in zip(places, tables, strict=True))
    return total.to_bytes(len(places[0]))


def fault_of(value: str) -> str:
    """Why `value` is no ISBN, for people."""
    digits = _SEPARATORS.sub("", value)
    if _ISBN_13.fullmatch(digits):
        return f"the check digit should be {-_total(digits[:12], _WEIGHTS_13) % 10}"
    if _ISBN_10.fullmatch(digits):
        return f"the check digit should be {'0123456789X'[-_total(digits[:9], _WEIGHTS_10) % 11]}"
    if _SPREADSHEET.fullmatch(value.strip()):
        return "a spreadsheet turned it into a number"
    if digits.strip("0123456789Xx"):
        return "it has characters other than digits"
    return _length_fault(digits)


def _length_fault(digits: str) -> str:
    if len(digits) == 9 and canonical(f"0{digits}"):
        return "it has 9 digits instead of 10: a leading 0 is missing"
    if len(digits) not in {10, 13}:
        return f"it has {len(digits)} digits instead of 10 or 13"
    return "13 digits begin with 978 or 979" if digits.isdigit() else "X may only be the last of 10"


def _total(digits: str, weights: Sequence[int]) -> int:
    return sum(map(mul, weights, map(int, digits)))
