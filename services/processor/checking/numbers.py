"""Numbers as people and programs write them, read exactly: nothing passes through a float."""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from services.processor.checking.bounds import Bounds
from services.processor.checking.faults import Fault, Faults, Result, shown
from shared.contracts.datasets import DatasetField

BIGINT = 2**63 - 1  # the largest integer that PostgreSQL takes
MAX_LENGTH = (
    80  # characters; 38 digits with their groups and a currency fit, and a hostile value costs nothing
)

# Signs, and the codes of ISO 4217 that price lists have most; not any three letters, as `QTY 5` is no amount.
_MARK = (
    "(?:[$¢£¤¥฿\u20a0-\u20cf]|AED|AUD|BGN|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|ILS|INR|JPY|KRW|MXN|NOK|NZD|PLN|RON|RUB"
    "|SAR|SEK|SGD|THB|TRY|UAH|USD|ZAR)"
)
_NUMBER = re.compile(r"[+-]?(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<exponent>[eE][+-]?[0-9]{1,4})?")
# Programs that keep whole numbers as floats where some are missing write 2008 as 2008.0; that is exact.
_INTEGER = re.compile(r"(?P<number>[+-]?[0-9]+)(?:\.0*)?")
_YEAR = re.compile(r"(?!0000)(?P<number>[0-9]{4})(?:\.0*)?")

Read = Callable[[str], Result]


def integers(field: DatasetField, now: datetime) -> Read:
    """Reads whole numbers of 64 bits; a fraction of zeros is none (`2008.0`)."""
    plain = plain_number(field)
    bounds = Bounds(field, now)

    def read(value: str) -> Result:
        found = _INTEGER.fullmatch(plain(value))
        if found is None:
            message = f"{field.title} {shown(value)} is not a whole number"
            return (Fault("not_an_integer", message, field.name, value, "type integer", "use digits only"),)
        number = int(found["number"])
        faults = bounds.faults_of(number, value) or _zero(field, number, value)
        if not faults and abs(number) > BIGINT:
            return (_too_large(field, value, "type integer", f"numbers up to {BIGINT} can be kept"),)
        return faults or str(number)

    return read


def years(field: DatasetField, now: datetime) -> Read:
    """Reads calendar years, 0001 to 9999, of four digits."""
    bounds = Bounds(field, now)

    def read(value: str) -> Result:
        found = _YEAR.fullmatch(value)
        if found is None:
            message = f"{field.title} {shown(value)} is not a year"
            return (Fault("not_a_year", message, field.name, value, "type year", "write all four digits"),)
        number = int(found["number"])
        return bounds.faults_of(number, value) or str(number)

    return read


class Numbers:
    """Reads decimal numbers, with an exponent too, of the declared precision and scale."""

    def __init__(self, field: DatasetField, now: datetime) -> None:
        assert field.precision is not None
        assert field.scale is not None
        self._field = field
        self._scale = field.scale
        self._most_whole = field.precision - field.scale  # digits before the decimal point
        self._bounds = Bounds(field, now)
        self._usual = _usual(field, self._most_whole, field.scale)
        self._plain = plain_number(field)

    def read(self, value: str) -> Result:
        """The number without groups, marks and exponent; zeros beyond its scale are left out."""
        if self._usual is not None and self._usual.fullmatch(value):
            number = Decimal(value)
            return self._rule_faults(number, value) or (value if number else "0")
        text = self._plain(value)
        found = _NUMBER.fullmatch(text)
        if found is None or not (found["whole"] or found["fraction"]):
            return (self._not_a_number(value),)
        number = Decimal(text)
        faults = (*self._rule_faults(number, value), *self._size_faults(number, value))
        return faults or _written(number, self._scale)

    def _rule_faults(self, number: Decimal, value: str) -> Faults:
        return self._bounds.faults_of(number, value) or _zero(self._field, number, value)

    def _size_faults(self, number: Decimal, value: str) -> Faults:
        whole, behind = _digits(number)
        if behind > self._scale:
            message = f"{self._field.title} {value} has {behind} decimals, {self._scale} are kept"
            rule, hint = f"scale {self._scale}", f"round it to {self._scale} decimals"
            return (Fault("number_too_precise", message, self._field.name, value, rule, hint),)
        if whole > self._most_whole:
            reason = f"{self._most_whole} digits before the decimal point can be kept"
            return (_too_large(self._field, value, f"precision {self._field.precision}", reason),)
        return ()

    def _not_a_number(self, value: str) -> Fault:
        message = f"{self._field.title} {shown(value)} is not a number"
        hint = f"write it like {self._field.example or '1234.50'}"
        return Fault("not_a_number", message, self._field.name, value, "type number", hint)


def _usual(field: DatasetField, whole: int, scale: int) -> re.Pattern[str] | None:
    """What most numbers match: written as they are stored, of at most `whole` digits and then `scale` ones."""
    if field.decimal_char != "." or whole == 0:
        return None
    fraction = rf"(?:\.[0-9]{{1,{scale}}})?" if scale else ""
    return re.compile(rf"-?(?:0|[1-9][0-9]{{0,{whole - 1}}}){fraction}")


def plain_number(field: DatasetField) -> Callable[[str], str]:
    """Makes a number, as the field writes them, what Python reads as one; anything else becomes an empty string."""
    group, point = field.group_char, field.decimal_char
    whole = "[0-9]+"
    if group:
        whole = rf"[0-9]{{1,3}}(?:{re.escape(group)}[0-9]{{3}})+|[0-9]+"
    number = rf"(?P<number>[+-]?(?:{whole})?(?:{re.escape(point)}[0-9]*)?(?:[eE][+-]?[0-9]{{1,4}})?)"
    if not field.bare_number:  # $5.00, -$5.00, EUR 5.00, 5.00 €, 12 %
        number = rf"(?:(?P<sign>[+-]?)\s*{_MARK}\s*)?{number}(?:\s*(?:{_MARK}|%))?"
    written = re.compile(number)

    def plain(value: str) -> str:
        found = written.fullmatch(value) if len(value) <= MAX_LENGTH else None
        if found is None:
            return ""
        text = found["number"] if field.bare_number else (found["sign"] or "") + found["number"]
        if group:
            text = text.replace(group, "")
        return text if point == "." else text.replace(point, ".")

    return plain


def _written(number: Decimal, scale: int) -> str:
    """The number without an exponent; zeros behind its scale are left out."""
    if not number:
        return "0"
    whole, _, fraction = format(number, "f").partition(".")
    return f"{whole}.{fraction[:scale]}" if fraction and scale else whole


def _digits(number: Decimal) -> tuple[int, int]:
    """How many digits are before and behind the decimal point, zeros at either end left out."""
    if not number:
        return 0, 0
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    zeros = next(count for count, digit in enumerate(reversed(digits)) if digit)
    return max(number.adjusted() + 1, 0), max(-exponent - zeros, 0)


def _zero(field: DatasetField, number: int | Decimal, value: str) -> Faults:
    if number or not field.constraints.nonzero:
        return ()
    message = f"{field.title} is 0"
    return (
        Fault("zero_not_allowed", message, field.name, value, "nonzero", "correct it, or remove the record"),
    )


def _too_large(field: DatasetField, value: str, rule: str, reason: str) -> Fault:
    message = f"{field.title} {value} is too large: {reason}"
    return Fault("number_too_large", message, field.name, value, rule, "check the number")
