"""Strings: blanks, case, Unicode, lengths, patterns, and what PostgreSQL cannot keep."""

import re
import unicodedata
from collections.abc import Iterator

from services.processor.checking.faults import Fault, Result, shown
from services.processor.checking.named import NAMED
from shared.contracts.datasets import DatasetField
from shared.contracts.record_keys import SEPARATOR

# What spreadsheets and data frames make of a long number: 9.78352E+12. An article number like 12E3 is none of these.
SPREADSHEET_NUMBER = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{2,3}")
# NUL and halves of surrogate pairs are no text for PostgreSQL.
_UNKEEPABLE = "\0\ud800-\udfff"


class Texts:
    """Reads the values of a string field that are trimmed and not blank.

    Args:
        in_composite_key: Whether the values become parts of a key of several.
    """

    def __init__(self, field: DatasetField, *, in_composite_key: bool) -> None:
        rules = field.constraints
        self._field = field
        self._title = field.title
        self._shortest = rules.min_length or 0
        self._longest = rules.max_length
        self._pattern = None if rules.pattern is None else re.compile(rules.pattern)
        self._allowed = None if rules.enum is None else frozenset(rules.enum)
        self._named = NAMED.get(field.format)
        self.forbidden = re.compile(f"[{_UNKEEPABLE}{SEPARATOR if in_composite_key else ''}]")

    def read(self, value: str) -> Result:
        """`value` as it is stored, or all that is wrong with it."""
        text = self._normal(value)
        if self._longest is not None and len(text) > self._longest:
            # Nothing else is looked at: patterns see no text longer than their declaration says.
            return (self._too_long(value, len(text)),)
        if self._named is not None:
            canonical = self._named.canonical(text)
            if canonical is None:
                return (self._not_named(value),)
            text = canonical
        return tuple(self._faults_of(value, text)) or text

    def _normal(self, value: str) -> str:
        if self._field.case is not None:
            value = value.upper() if self._field.case == "upper" else value.lower()
        if self._field.normal_form is not None and not value.isascii():
            value = unicodedata.normalize(self._field.normal_form, value)
        return value

    def _faults_of(self, value: str, text: str) -> Iterator[Fault]:
        title, name = self._title, self._field.name
        if stranger := self.forbidden.search(text):
            message = f"{title} holds the character U+{ord(stranger[0]):04X}, which it may not"
            yield Fault("character_forbidden", message, name, value, "text", "remove the character")
        if self._field.identifier and SPREADSHEET_NUMBER.fullmatch(text):
            message = f"{title} {shown(value)} is what a spreadsheet made of a long number"
            hint = "in the spreadsheet, format the column as text and enter it anew"
            yield Fault("spreadsheet_number", message, name, value, "identifier", hint)
        if len(text) < self._shortest:
            message = f"{title} has {len(text)} characters, at least {self._shortest} are needed"
            hint = "check that nothing was cut off"
            yield Fault("value_too_short", message, name, value, f"minLength {self._shortest}", hint)
        if self._pattern is not None and not self._pattern.fullmatch(text):
            hint = (
                f"write it like {self._field.example}"
                if self._field.example
                else "compare it with the description"
            )
            message = f"{title} {shown(value)} is not written as it must be"
            yield Fault("pattern_mismatch", message, name, value, f"pattern {self._pattern.pattern}", hint)
        if self._allowed is not None and text not in self._allowed:
            yield not_allowed(self._field, value)

    def _too_long(self, value: str, length: int) -> Fault:
        message = f"{self._title} has {length} characters, {self._longest} are allowed"
        return Fault(
            "value_too_long", message, self._field.name, value, f"maxLength {self._longest}", "shorten it"
        )

    def _not_named(self, value: str) -> Fault:
        assert self._named is not None
        message = f"{self._title} {shown(value)} is not {self._named.article}"
        rule = f"format {self._field.format}"
        return Fault(self._named.code, message, self._field.name, value, rule, self._named.hint)


def not_allowed(field: DatasetField, value: str) -> Fault:
    """The fault of a value that is not in the field's `enum`."""
    assert field.constraints.enum is not None
    listed = ", ".join(field.constraints.enum)
    message = f"{field.title} {shown(value)} is none of: {listed}"
    return Fault("not_allowed", message, field.name, value, f"enum {listed}", "use one of these values")
