"""ISBN (ISO 2108): ISBN-10 and ISBN-13, their check digits, and the 13 digits both are kept as."""

import re

_SEPARATORS = re.compile(r"[\s\-\u2010-\u2015]")
_ISBN_10 = re.compile(r"[0-9]{9}[0-9Xx]")
_ISBN_13 = re.compile(r"97[89][0-9]{10}")


def canonical(value: str) -> str | None:
    """The ISBN as 13 digits, or None if `value` is no ISBN: wrong length, foreign characters, wrong check digit."""
    digits = _SEPARATORS.sub("", value)
    if _ISBN_13.fullmatch(digits):
        return digits if _check_digit_13(digits) == digits[12] else None
    if _ISBN_10.fullmatch(digits) and _check_digit_10(digits) == digits[9].upper():
        body = "978" + digits[:9]
        return body + _check_digit_13(body)
    return None


def _check_digit_13(digits: str) -> str:
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits[:12]))
    return str(-total % 10)


def _check_digit_10(digits: str) -> str:
    total = sum(int(digit) * (10 - place) for place, digit in enumerate(digits[:9]))
    return "0123456789X"[-total % 11]


def fault_of(value: str) -> str:
    """Why `value` is no ISBN, for people."""
    digits = _SEPARATORS.sub("", value)
    if _ISBN_13.fullmatch(digits) or _ISBN_10.fullmatch(digits):
        expected = _check_digit_13(digits) if len(digits) == 13 else _check_digit_10(digits)
        return f"the check digit should be {expected}"
    if re.fullmatch(r"[0-9]+[.,]?[0-9]*[eE]\+?[0-9]+", value.strip()):
        return "a spreadsheet turned it into a number"
    if not re.fullmatch(r"[0-9Xx]*", digits):
        return "it has characters other than digits"
    if len(digits) not in {10, 13}:
        return f"it has {len(digits)} digits instead of 10 or 13"
    return "13 digits begin with 978 or 979" if digits.isdigit() else "X may only be the last of 10"
