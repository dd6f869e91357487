"""What has likely caused row errors of one kind, in a sentence for who sent the file. Pure.

What is certain is said as it is; what the values only point to, with "probably"; and without a sign of either, what the
code itself means.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from shared.contracts.dialect import Dialect
from shared.contracts.duplicates import holder_in

_MOST = 0.8  # share of the values looked at that must have a sign
_FEW = 3  # values to look at, where there are so many


@dataclass(frozen=True)
class Evidence:
    """What is known of the row errors with one code in one column.

    Attributes:
        count: How many there are.
        rows_processed: Records of the import that were read so far.
        values: What stood there, of as many as were looked at.
        messages: What was said of those.
        dialect: How the file is written.
    """

    code: str
    count: int
    rows_processed: int
    values: Sequence[str]
    messages: Sequence[str]
    dialect: Dialect


@dataclass(frozen=True)
class _Sign:
    """What values may have in common: said of one and of several, and what follows from it."""

    has: Callable[[str], object]
    one: str
    several: str
    so: str


def _matches(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern, re.IGNORECASE).fullmatch


def likely_cause(evidence: Evidence) -> str:
    """The sentence."""
    of_all = _OF_ALL.get(evidence.code)
    if of_all is not None and (said := of_all(evidence)):
        return said
    for sign in (*_SIGNS.get(evidence.code, ()), *_ANYWHERE):
        if said := _said(sign, evidence):
            return said
    return GENERIC.get(evidence.code, "The records have this row error")  # a code of an earlier version


def _said(sign: _Sign, evidence: Evidence) -> str | None:
    looked_at = len(evidence.values)
    found = sum(1 for value in evidence.values if sign.has(value))
    if not found or found < looked_at * _MOST or looked_at < min(_FEW, evidence.count):
        return None
    return f"{_subject(found, looked_at, evidence.count)} {sign.one if evidence.count == 1 else sign.several}: {sign.so}"


def _subject(found: int, looked_at: int, count: int) -> str:
    if count == 1:
        return "The value"
    if found == count:
        return f"All {count:,} values"
    if looked_at == count:
        return f"{found:,} of {count:,} values"
    if found == looked_at:
        return f"All of {looked_at:,} values that were looked at ({count:,} there are)"
    return f"{found:,} of {looked_at:,} values that were looked at ({count:,} there are)"


# Signs of all values of a column together.


def _empty_column(evidence: Evidence) -> str | None:
    if evidence.count < evidence.rows_processed or evidence.count == 1:
        return None
    return "The column is empty in every record: the partner's export probably lacks it"


def _all_short(evidence: Evidence) -> str | None:
    if evidence.count < evidence.rows_processed or evidence.count == 1 or len(set(evidence.messages)) > 1:
        return None
    return (
        "Every record is shorter than the header, by the same cells: the header probably names columns that the export does"
        " not write"
    )


def _cut_numbers(evidence: Evidence) -> str | None:
    if evidence.dialect.delimiter != "," or not evidence.values:
        return None
    if not all(re.fullmatch(r"\d{1,3}", value) for value in evidence.values):
        return None
    return (
        "The cells too many are a few digits: the numbers probably have a decimal comma, which is the delimiter too, and"
        " are not in quotes"
    )


def _brought_before(evidence: Evidence) -> str | None:
    if not evidence.messages:
        return None
    looked_at = len(evidence.messages)
    holders = [holder for message in evidence.messages if (holder := holder_in(message))]
    brought = Counter(holder.import_id for holder in holders if holder.import_id)
    own = sum(1 for holder in holders if not holder.import_id)
    most = brought.most_common(1)
    if most and most[0][1] * 2 > looked_at:
        import_id, keys = most[0]
        which = f"{keys:,} of {looked_at:,} keys" if looked_at > 1 else "the key"
        if keys == looked_at == evidence.count and looked_at > 1:
            which = f"all {keys:,} keys"
        were = "was" if looked_at == 1 else "were"
        return (
            f"The same file, or part of it, was probably imported before: {which}{_looked(evidence)} {were} brought by import"
            f" {import_id}"
        )
    if own * 2 > looked_at:
        return "The file itself has these keys more than once: records were exported or pasted twice, or a key is not unique"
    return None


def _looked(evidence: Evidence) -> str:
    return " that were looked at" if len(evidence.messages) < evidence.count else ""


_OF_ALL: Mapping[str, Callable[[Evidence], str | None]] = MappingProxyType(
    {
        "value_missing": _empty_column,
        "missing_cell": _all_short,
        "extra_cell": _cut_numbers,
        "duplicate_key": _brought_before,
    }
)

# Signs of each value.

_SCIENTIFIC = _Sign(
    _matches(r"[+-]?\d+(?:[.,]\d+)?e\+?\d+"),
    "is in scientific notation",
    "are in scientific notation",
    "a spreadsheet that opened the file took them for numbers, and digits are lost",
)
_DECIMAL_COMMA = _Sign(
    _matches(r"[+-]?(?:\d{1,3}(?:[.' \u00a0\u202f]\d{3})+|\d+),\d+"),
    "has a comma as decimal sign",
    "have a comma as decimal sign",
    "the file was probably written with German or other continental settings",
)
_CURRENCY_BEFORE = _Sign(
    _matches(r"[+-]?(?:[$€£¥₹]|EUR|USD|GBP|CHF)\s*[+-]?[\d.,'\s]+"),
    "begins with a currency sign",
    "begin with a currency sign",
    "the column was probably exported as it is shown, not as bare numbers",
)
_CURRENCY_BEHIND = _Sign(
    _matches(r"[+-]?[\d.,'\s]*\d\s*(?:[$€£¥₹]|EUR|USD|GBP|CHF)"),
    "ends with a currency sign",
    "end with a currency sign",
    "the column was probably exported as it is shown, not as bare numbers",
)
_PERCENT = _Sign(
    _matches(r"[+-]?[\d.,]+\s*%"),
    "is a percentage",
    "are percentages",
    "the column was probably exported as it is shown, not as bare numbers",
)
_GROUPED = _Sign(
    _matches(r"[+-]?\d{1,3}(?:[,.' \u00a0\u202f]\d{3})+"),
    "has separators between thousands",
    "have separators between thousands",
    "the column was probably exported as it is shown, not as bare numbers",
)
_UNIT = _Sign(
    _matches(r"[+-]?\d[\d.,]*\s*[^\W\d_]{1,12}\.?"),
    "has a unit behind the number",
    "have a unit behind the number",
    "the column takes bare numbers",
)
_DECIMALS = _Sign(
    _matches(r"[+-]?\d+[.,]\d+"),
    "has decimals",
    "have decimals",
    "the column takes whole numbers",
)
_A_DATE = _Sign(
    _matches(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T].*)?"),
    "looks like a date",
    "look like dates",
    "the cells are probably in the wrong column, or a spreadsheet took the values for dates",
)
_WORDS = _Sign(
    _matches(r"[^\W\d_][^\d]*"),
    "is text without a digit",
    "are text without a digit",
    "the cells are probably in the wrong column",
)
_SERIAL = _Sign(
    _matches(r"[2-5]\d{4}(?:[.,]\d+)?"),
    "is the serial number of a day in Excel, as far as can be seen",
    "are Excel serial numbers of days, as far as can be seen",
    "the column was probably exported as numbers, not as dates",
)
_UNIX = _Sign(
    _matches(r"1\d{9}(?:\d{3})?"),
    "looks like a Unix time",
    "look like Unix times",
    "they are probably seconds or milliseconds since 1970, where dates are wanted",
)
_ZERO_DATE = _Sign(
    _matches(r"0000-00-00(?:[ T]00:00:00)?"),
    "is the zero date of a database",
    "are the zero date of a database",
    "the export writes it where there is no date; the cell should be empty",
)
_SHORT_YEAR = _Sign(
    _matches(r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2}"),
    "has a year of two digits",
    "have years of two digits",
    "which century is meant cannot be known",
)
_TWO_DIGITS = _Sign(
    _matches(r"\d{2}"),
    "has two digits",
    "have two digits",
    "they are probably years without their century",
)
_WHOLE_DATE = _Sign(
    _matches(r"(?:19|20)\d{6}|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T].*)?"),
    "looks like a whole date",
    "look like whole dates",
    "the column takes years alone",
)
_ZERO = _Sign(
    _matches(r"0+(?:[.,]0+)?"),
    "is 0",
    "are 0",
    "the export probably writes it where nothing is known",
)
_NEGATIVE = _Sign(
    _matches(r"[-−]\s*\d.*|\(\s*\d.*\)"),
    "is negative",
    "are negative",
    "the column takes no such numbers; they are probably returns or corrections",
)
_BINARY_FRACTION = _Sign(
    _matches(r"[+-]?\d*[.,]\d{9,}"),
    "has a fraction of nine digits or more",
    "have fractions of nine digits or more",
    "the exporting program probably does not round",
)


def _is_isbn10(value: str) -> bool:
    digits = [10 if digit in "xX" else int(digit) for digit in value]
    return sum(weight * digit for weight, digit in zip(range(10, 0, -1), digits, strict=True)) % 11 == 0


def _lost_zeros(value: str) -> bool:
    bare = re.sub(r"[\s-]", "", value)
    return bool(re.fullmatch(r"\d{5,8}[\dXx]", bare)) and _is_isbn10(bare.zfill(10))


_LOST_ZEROS = _Sign(
    _lost_zeros,
    "is an ISBN without its leading zeros",
    "are ISBNs without their leading zeros",
    "a spreadsheet that opened the file has probably taken them for numbers",
)
_DOT_ZERO = _Sign(
    _matches(r"\d{9,13}[.,]0+"),
    "ends in a decimal part of 0",
    "end in a decimal part of 0",
    "a program has probably taken the identifiers for numbers",
)
_OTHER_EAN = _Sign(
    _matches(r"(?!97[89])\d{13}"),
    "has 13 digits and does not begin with 978 or 979",
    "have 13 digits and do not begin with 978 or 979",
    "they are probably article numbers of other goods",
)
_ISSN = _Sign(
    _matches(r"\d{4}-\d{3}[\dX]"),
    "has the form of an ISSN",
    "have the form of ISSNs",
    "they probably name periodicals, not books",
)
_WRONG_CHECK_DIGIT = _Sign(
    _matches(r"(?:97[89][-\s]?)?(?:\d[-\s]?){9}[\dX]"),
    "has the length of an ISBN and a check digit that does not fit",
    "have the length of ISBNs and check digits that do not fit",
    "digits were mistyped, or made up",
)
_SEVERAL_ADDRESSES = _Sign(
    lambda value: value.count("@") > 1,
    "holds several addresses",
    "hold several addresses",
    "the column takes one",
)
_NAMED_ADDRESS = _Sign(
    _matches(r".*<[^<>]+@[^<>]+>|mailto:.+"),
    "has more around the address",
    "have more around the address",
    "the column takes the bare address",
)
_NO_AT = _Sign(
    lambda value: "@" not in value,
    "has no @",
    "have no @",
    "the cells are probably in the wrong column",
)
_NO_SCHEME = _Sign(
    _matches(r"(?:www\.|[\w-]+\.[a-z]{2,})[^\s]*"),
    "lacks the https:// in front",
    "lack the https:// in front",
    "the export probably shortens web addresses",
)
_BRACES = _Sign(
    _matches(r"\{.+\}"),
    "stands in braces",
    "stand in braces",
    "that is how Windows programs write a UUID; take them off",
)
_BARE_HEX = _Sign(
    _matches(r"[0-9a-f]{32}"),
    "has 32 digits without hyphens",
    "have 32 digits without hyphens",
    "they are UUIDs that need their hyphens",
)
_OTHER_YES = _Sign(
    _matches(r"ja|nein|oui|non|s[ií]|no|wahr|falsch|vrai|faux|x|y|n|yes|active|inactive|enabled|disabled"),
    "says yes or no in other words",
    "say yes or no in other words",
    "the export probably writes them in its own language",
)
_LINE_BREAK = _Sign(
    lambda value: "\n" in value or "\r" in value,
    "has line breaks in it",
    "have line breaks in them",
    "a quote that should close the value is probably missing",
)

_SPREADSHEET_ERROR = _Sign(
    _matches(r"#(?:N/A|REF!|VALUE!|DIV/0!|NAME\?|NULL!|NUM!|NV|WERT!|BEZUG!)"),
    "is an error of a spreadsheet's formula",
    "are errors of a spreadsheet's formulas",
    "it was exported while they failed",
)
_TOO_NARROW = _Sign(
    _matches(r"#{3,}"),
    "is a row of #",
    "are rows of #",
    "the column was too narrow in the spreadsheet that exported them, and the values are lost",
)
_ABSENT = _Sign(
    _matches(r"n/?a|nan|null|none|nil|unknown|unbekannt|tbd|tba|\(null\)|\\n|[-–—.?*]+"),
    "stands for no value",
    "stand for no value",
    "the export writes it where nothing is known; the cell should be empty",
)

_ANYWHERE = (_SPREADSHEET_ERROR, _TOO_NARROW, _ABSENT)
_NUMBERS = (
    *(_SCIENTIFIC, _CURRENCY_BEFORE, _CURRENCY_BEHIND, _PERCENT, _DECIMAL_COMMA, _GROUPED, _A_DATE),
    *(*_ANYWHERE, _UNIT, _WORDS),
)
_DATES = (_ZERO_DATE, _SERIAL, _UNIX, _SHORT_YEAR, *_ANYWHERE, _WORDS)
_YEARS = (_WHOLE_DATE, _TWO_DIGITS, *_ANYWHERE, _WORDS)
_SIGNS: Mapping[str, Sequence[_Sign]] = MappingProxyType(
    {
        "not_a_number": _NUMBERS,
        "not_an_integer": (_WHOLE_DATE, _DECIMALS, *_NUMBERS),
        "number_too_precise": (_BINARY_FRACTION,),
        "number_too_large": (_SCIENTIFIC,),
        "not_a_year": _YEARS,
        "not_a_date": _DATES,
        "not_a_datetime": _DATES,
        "below_minimum": (_ZERO, _NEGATIVE, _TWO_DIGITS),
        "above_maximum": (_WHOLE_DATE,),
        "zero_not_allowed": (_ZERO,),
        "isbn_invalid": (
            *(_SCIENTIFIC, _LOST_ZEROS, _DOT_ZERO, _ISSN, _OTHER_EAN, *_ANYWHERE, _WRONG_CHECK_DIGIT, _WORDS),
        ),
        "spreadsheet_number": (_SCIENTIFIC,),
        "email_invalid": (_SEVERAL_ADDRESSES, _NAMED_ADDRESS, *_ANYWHERE, _NO_AT),
        "uri_invalid": (_NO_SCHEME,),
        "uuid_invalid": (_BRACES, _BARE_HEX),
        "not_a_boolean": (*_ANYWHERE, _OTHER_YES),
        "value_too_long": (_LINE_BREAK,),
    }
)

# What each code means by itself.
GENERIC: Mapping[str, str] = MappingProxyType(
    {
        "above_maximum": "The values are larger than the dataset allows",
        "below_minimum": "The values are smaller than the dataset allows",
        "character_forbidden": "The values have characters that cannot be stored, such as control characters",
        "date_ambiguous": "Day and month can be read in either order, and nothing in the file tells in which",
        "date_order_mixed": "These dates make sense only with day and month in another order than the rest of the column has",
        "duplicate_key": "The keys are taken already, and this dataset keeps the first record that has one",
        "email_invalid": "The values are not written as email addresses are",
        "encoding_invalid": "The records have bytes that are no text in the file's encoding: they were written in another one,"
        " or damaged",
        "extra_cell": "The records have more cells than the header: a value holds the delimiter and is not in quotes, or a line"
        " break is missing",
        "header_repeated": "The header comes again among the records: files were joined, each with its header",
        "isbn_invalid": "The values are no ISBNs: digits are missing, too many, or wrong",
        "missing_cell": "The records have fewer cells than the header: a delimiter is missing, or a line break cuts them in two",
        "not_a_boolean": "The values are none of the words for yes and no that the column takes",
        "not_a_date": "The values are not written as dates are",
        "not_a_datetime": "The values are not written as dates and times are",
        "not_a_number": "The values are not written as numbers are",
        "not_a_year": "The values are not years",
        "not_allowed": "The values are none of those that the column takes",
        "not_an_integer": "The values are not whole numbers",
        "nul_byte": "The records have bytes of zero, which no text has: the file was damaged, or is not all text",
        "number_too_large": "The numbers have more digits than the column keeps",
        "number_too_precise": "The numbers have more decimals than the column keeps",
        "pattern_mismatch": "The values do not have the form that the column requires",
        "quote_unterminated": "A quote opens a value and is never closed: it is missing, or stands for inches or an apostrophe",
        "record_too_large": "The records are far longer than records are: a quote that should close a value is missing, or line"
        " breaks are",
        "spreadsheet_number": "The values are in scientific notation, as a spreadsheet writes an identifier that it took for a"
        " number: digits are lost",
        "uri_invalid": "The values are not written as web addresses are",
        "uuid_invalid": "The values are not written as UUIDs are",
        "value_missing": "The cells are empty, and the dataset requires a value",
        "value_too_long": "The values are longer than the column takes",
        "value_too_short": "The values are shorter than the column takes",
        "zero_not_allowed": "The values are 0, which the dataset does not allow",
    }
)
