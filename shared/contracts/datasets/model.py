"""What a dataset's declaration may say. A declaration that contradicts itself is refused with the reason."""

import re
from collections import Counter
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

IDENTIFIER = r"^[a-z][a-z0-9_]{0,62}$"  # becomes a column name
DATASET_NAME = r"^[a-z][a-z0-9-]{0,62}$"  # becomes a table name, with _ for -

# All strings of a key together. Folding makes at most 6 bytes of a character, and PostgreSQL takes 2,704 bytes in an index.
MAX_KEY_LENGTH = 300
MAX_PATTERN_LENGTH = 1000  # characters that a pattern may have to look at

FieldType = Literal["string", "integer", "number", "boolean", "date", "datetime", "year"]

_FORMATS: dict[str, frozenset[str]] = {
    "string": frozenset({"default", "isbn", "email", "uri", "uuid"}),
    "date": frozenset({"default", "any"}),
    "datetime": frozenset({"default", "any"}),
}
_TIMES = frozenset({"date", "datetime"})
_NUMBERS = frozenset({"integer", "number"})
_KEY_TYPES = frozenset({"string", "integer", "date", "year"})  # those with one spelling for each value
_FIXED_LENGTHS = {"isbn": 13, "uuid": 36}
# A repeated group that itself ends in a repetition, such as (a+)+, takes time exponential in the value's length.
_EXPLOSIVE = re.compile(r"[*+}]\)[*+{]")


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Constraints(_Declared):
    """Table Schema constraints. Lengths count characters; `minimum` and `maximum` are inclusive.

    Attributes:
        unique: Said of the one field that is the primary key, whose index holds it.
        minimum: A number; for a number that is no integer, date or datetime its text (`"0.01"`, `"2000-01-01"`). `today` and
            `next-year` are the day or year that they name when the import runs: a minimum begins with it, a maximum
            ends with it.
        maximum: As `minimum`.
        pattern: A regular expression for the whole value.
        enum: The values allowed, as they are stored.
        nonzero: Whether 0 is refused. Ours.
    """

    required: bool = False
    unique: bool = False
    min_length: int | None = Field(None, ge=1)
    max_length: int | None = Field(None, ge=1)
    minimum: int | str | None = None
    maximum: int | str | None = None
    pattern: str | None = None
    enum: tuple[str, ...] | None = Field(None, min_length=1)
    nonzero: bool = False


class DatasetField(_Declared):
    """One column, as a Table Schema field. Ours beside it: from `timezone` on.

    Attributes:
        format: For strings `isbn`, `email`, `uri` or `uuid`; for date and datetime `default` (ISO 8601), `any` (ISO
            8601, day or month first, English month names) or a pattern of `strptime`.
        group_char: Between groups of three digits of a number.
        bare_number: False: currency signs and codes and `%` around a number are taken off.
        timezone: IANA name, for values that say none.
        precision: Digits that a number may have in all; every number says it.
        scale: How many of these behind the decimal point.
        trim: Whether blanks around a value are taken off; a value that is blank then is missing.
        case: What letters are made.
        normal_form: The Unicode normal form that text is brought into.
        identifier: Whether a number in exponent notation (`1.23E+12`) is a row error, as only a spreadsheet that took
            the identifier for a number writes it.
        references: The dataset whose record the value names: it is that dataset's key.
        aliases: Other header names, compared as headers are (ignoring case, spaces, `_` and `-`).
        in_file: False for a column that files never bring and an import never takes from them.
        default: What a new record has where files bring no such column. The table's column default does it; here
            it is said to those who read the declaration.
        measure: What a number is of, for those who judge files: a price for one piece, or a quantity; neither is ever
            below zero in a file that is right. A quantity that may be a return has none.
        example: A right value, as a file may have it.
    """

    name: str = Field(pattern=IDENTIFIER)
    type: FieldType
    title: str
    description: str = ""
    format: str = "default"
    constraints: Constraints = Constraints()
    example: str = ""
    true_values: tuple[str, ...] = ("true", "True", "TRUE", "1")
    false_values: tuple[str, ...] = ("false", "False", "FALSE", "0")
    decimal_char: str = Field(".", min_length=1, max_length=1)
    group_char: str = Field("", max_length=1)
    bare_number: bool = True
    timezone: str = "UTC"
    precision: int | None = Field(None, ge=1, le=38)
    scale: int | None = Field(None, ge=0, le=38)
    trim: bool = True
    case: Literal["upper", "lower"] | None = None
    normal_form: Literal["NFC"] | None = "NFC"
    identifier: bool = False
    references: str | None = Field(None, pattern=DATASET_NAME)
    aliases: tuple[str, ...] = ()
    in_file: bool = True
    default: bool | int | str | None = None
    measure: Literal["price", "quantity"] | None = None

    @property
    def max_stored_length(self) -> int | None:
        """Characters that a stored value has at most; None if nothing limits a string."""
        return _FIXED_LENGTHS.get(self.format, self.constraints.max_length)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for problem in (
            self._format_problem(),
            self._number_problem(),
            self._text_problem(),
            self._bound_problem("minimum"),
            self._bound_problem("maximum"),
            self._timezone_problem(),
        ):
            if problem:
                raise ValueError(f"field {self.name!r}: {problem}")
        return self

    def _format_problem(self) -> str | None:
        known = _FORMATS.get(self.type, frozenset({"default"}))
        if self.format in known or (self.type in _TIMES and "%" in self.format):
            return None
        return f"a {self.type} has no format {self.format!r}; there are: {', '.join(sorted(known))}"

    def _number_problem(self) -> str | None:
        if (self.type == "number") != (self.precision is not None and self.scale is not None):
            return "precision and scale are said of every number, and of nothing else"
        if self.precision is not None and self.scale is not None and self.scale > self.precision:
            return "scale is part of precision and cannot be larger"
        if self.group_char == self.decimal_char:
            return "groupChar and decimalChar are the same"
        if self.constraints.nonzero and self.type not in _NUMBERS:
            return f"nonzero is for numbers, not for a {self.type}"
        if self.measure and self.type not in _NUMBERS:
            return f"a measure is said of numbers, not of a {self.type}"
        return None

    def _text_problem(self) -> str | None:
        rules = self.constraints
        textual = (rules.pattern, rules.min_length, rules.max_length, self.case)
        if self.type != "string" and (self.identifier or any(rule is not None for rule in textual)):
            return "pattern, lengths, case and identifier are for strings"
        if rules.pattern is not None:
            if rules.max_length is None or rules.max_length > MAX_PATTERN_LENGTH:
                return f"a pattern needs a maxLength of at most {MAX_PATTERN_LENGTH}"
            if _EXPLOSIVE.search(rules.pattern):
                return "the pattern repeats a group that ends in a repetition, which may never end"
            try:
                re.compile(rules.pattern)
            except re.error as error:
                return f"the pattern is no regular expression: {error}"
        return None

    def _bound_problem(self, which: Literal["minimum", "maximum"]) -> str | None:
        bound = getattr(self.constraints, which)
        if bound is None:
            return None
        try:
            _check_bound(self.type, bound)
        except (ValueError, TypeError, InvalidOperation):
            return f"{which} {bound!r} cannot be compared with a {self.type}"
        return None

    def _timezone_problem(self) -> str | None:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            return f"there is no time zone {self.timezone!r}"
        return None


class Dataset(_Declared):
    """What a file is, how its records are checked, compared and merged.

    Attributes:
        primary_key: The fields whose values together name one record.
        key_comparison: How two keys are the same record.
        key_scope: Whether a key names one record of the tenant, or only of one import.
        on_duplicate: `overwrite`: the later record wins; `reject`: the first one stays, the later is a row error;
            `ignore`: the first one stays, the later is counted and no error.
        required_any: Groups of fields of which each record has at least one.
        newest_by: The time by which people look for the newest records first; it has an index. None: they are listed by key.
        search: The text fields whose words a record is found by; none: its records are not found by words.
        step: The step of `processor` that does what a declaration cannot say.
        noun: What one record is (`product`).
        editable: Whether single records are created, replaced, patched and deleted by request.
    """

    name: str = Field(pattern=DATASET_NAME)
    title: str
    noun: str
    description: str = ""
    version: int = 1
    fields: tuple[DatasetField, ...]
    primary_key: tuple[str, ...] = Field(min_length=1)
    key_comparison: Literal["exact", "ignore-case"] = "exact"
    key_scope: Literal["tenant", "import"] = "tenant"
    on_duplicate: Literal["overwrite", "reject", "ignore"]
    required_any: tuple[tuple[str, ...], ...] = ()
    newest_by: str | None = None
    search: tuple[str, ...] = ()
    step: str | None = Field(None, pattern=DATASET_NAME)
    editable: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        twice = [name for name, count in Counter(field.name for field in self.fields).items() if count > 1]
        if twice:
            raise ValueError(f"declared more than once: {', '.join(twice)}")
        for name in self.primary_key:
            self._check_key_field(self._file_field(name))
        if sum(self.field(name).max_stored_length or 0 for name in self.primary_key) > MAX_KEY_LENGTH:
            raise ValueError(f"the key may have {MAX_KEY_LENGTH} characters in all")
        for field in self.fields:
            if field.constraints.unique and self.primary_key != (field.name,):
                raise ValueError(
                    f"{field.name!r} cannot be unique: only the index of a primary key of that one field holds it"
                )
        for name in (name for group in self.required_any for name in group):
            if self._file_field(name).constraints.required:
                raise ValueError(f"{name!r} is required anyway, so it is no alternative")
        if self.editable and (self.step or self.key_scope != "tenant"):
            raise ValueError(
                "what its step does cannot be undone by an edit, so its records are not editable"
            )
        return self

    @model_validator(mode="after")
    def _newest_by_a_time(self) -> Self:
        if self.newest_by is not None and not any(
            field.name == self.newest_by and field.type in _TIMES for field in self.fields
        ):
            raise ValueError(f"newestBy names no field of {self.name!r} that is a time: {self.newest_by!r}")
        return self

    @model_validator(mode="after")
    def _searches_text(self) -> Self:
        for name in self.search:
            found = next((field for field in self.fields if field.name == name), None)
            if found is None:
                raise ValueError(f"{name!r} cannot be searched: {self.name!r} has no such field")
            if found.type != "string":
                raise ValueError(f"{name!r} cannot be searched by words: it is a {found.type}")
        if len(set(self.search)) < len(self.search):
            raise ValueError("search names a field more than once")
        return self

    def _check_key_field(self, field: DatasetField) -> None:
        if not field.constraints.required:
            raise ValueError(f"the key {field.name!r} must be required")
        if field.type not in _KEY_TYPES:
            raise ValueError(
                f"a {field.type} such as {field.name!r} has several spellings and cannot be a key"
            )
        if field.type == "string" and field.max_stored_length is None:
            raise ValueError(f"the key {field.name!r} needs a maxLength, as an index takes no longer values")

    def _file_field(self, name: str) -> DatasetField:
        field = next((field for field in self.file_fields if field.name == name), None)
        if field is None:
            raise ValueError(f"{name!r} is no column that files of {self.name!r} bring")
        return field

    def __hash__(self) -> int:
        """By the name alone: much is remembered of a dataset, and looked up in each request."""
        return hash(self.name)

    @property
    def table(self) -> str:
        """The table of its records in schema `data`."""
        return self.name.replace("-", "_")

    @property
    def file_fields(self) -> tuple[DatasetField, ...]:
        """The columns that a file brings, in declared order."""
        return tuple(field for field in self.fields if field.in_file)

    @property
    def edited_fields(self) -> tuple[DatasetField, ...]:
        """What an edit may set, in declared order: all but what is computed."""
        return tuple(field for field in self.fields if field.in_file or field.default is not None)

    @property
    def references(self) -> dict[str, str]:
        """By field of the file, the dataset whose record it names."""
        return {field.name: field.references for field in self.file_fields if field.references}

    def row_errors_in(self, *, rejected: int, duplicate: int) -> int:
        """How many of an import's records have a row error: an overwritten or ignored duplicate has none."""
        return rejected + duplicate if self.on_duplicate == "reject" else rejected

    def field(self, name: str) -> DatasetField:
        """The field of that name.

        Raises:
            LookupError: the dataset has none.
        """
        for field in self.fields:
            if field.name == name:
                return field
        raise LookupError(f"dataset {self.name!r} has no field {name!r}")


def _check_bound(kind: FieldType, bound: int | str) -> None:
    """Raises ValueError, TypeError or InvalidOperation if `bound` is none of that type."""
    if kind in {"integer", "year"}:
        if bound != "next-year" and not isinstance(bound, int):
            raise TypeError
    elif kind == "number":
        Decimal(bound)
    elif kind in _TIMES:
        if bound not in {"today", "next-year"}:
            date.fromisoformat(str(bound)) if kind == "date" else datetime.fromisoformat(str(bound))
    else:
        raise TypeError
