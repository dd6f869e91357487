"""What a cell's text looks like: the evidence that tells delimiters apart, and a header from data."""

import re
from functools import lru_cache
from typing import Final, Literal, cast

__all__ = ["NOTHING", "TYPED", "WORDS", "Kind", "is_usual_name", "kind_of", "shape_of", "wholeness"]


Kind = Literal["EMPTY", "ABSENT", "NUMBER", "DATE", "CODE", "WORD", "TEXT"]
"""What a cell holds, by its look: ABSENT says in words that there is nothing (`n/a`), DATE is a date or time, CODE one
word with a digit or an address of mail or web, WORD one word."""

NOTHING: Final = ("EMPTY", "ABSENT")
TYPED: Final = ("NUMBER", "DATE")  # what data has, and names of columns hardly ever are
WORDS: Final = ("CODE", "WORD", "TEXT")


_NUMBER = (
    r"[-+]?(?:\d{1,3}(?:[,.'\u00a0\u202f ]\d{3})+|\d+)?(?:(?<=\d)[.,]|[.,](?=\d))?\d*(?:(?<=\d)[eE][-+]?\d+)?"
)
_LONGEST_TYPED = 200  # characters; what is longer is text
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[ap]\.?m\.?)?(?:\s?(?:z|utc|gmt|[-+]\d{2}:?\d{2}))?"
_DAY = rf"(?:\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}}|\d{{1,2}}[-/. ]{_MONTH}[-/., ]*\d{{2,4}}|{_MONTH} \d{{1,2}},? \d{{4}})"
_KINDS = re.compile(
    rf"(?P<ABSENT>n/?a|nan|null|none|nil|unknown|[-–—.?*]+|\(null\)|\\n)"
    rf"|(?P<NUMBER>\(?[$€£¥]?\s?(?=[-+.,]?\d){_NUMBER}\s?(?:%|[$€£¥]|eur|usd|gbp)?\)?)"
    rf"|(?P<DATE>{_DAY}(?:[ t]+{_TIME})?|{_TIME})"
    rf"|(?P<CODE>(?=\S*\d)[\w.+/#:@-]+|[\w.+-]+@[\w-]+\.[\w.-]+|(?:https?|ftp)://\S+|www\.\S+)"
    rf"|(?P<WORD>[^\W\d][\w.'’/&-]*)",
    re.IGNORECASE,
)
_SHAPES = {
    **dict.fromkeys(map(ord, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), "A"),
    **dict.fromkeys(map(ord, "abcdefghijklmnopqrstuvwxyz"), "a"),
    **dict.fromkeys(map(ord, "0123456789"), "0"),
}
_USUAL_NAME = re.compile(
    "id|code|name|key|sku|isbn|ean|gtin|asin|symbol|ticker|date|time|year|month|day|title|author|type|category|status"
    "|price|amount|total|qty|quantity|currency|count|value|number|email|phone|address|street|city|state|country|zip"
    "|customer|product|item|supplier|description|comment|note|url|nr|nummer|preis|datum|menge|artikel|bezeichnung"
    "|prix|nom|fecha|nombre|precio",
    re.IGNORECASE,
)
# What looks like a delimiter between cells: in prose a comma, a semicolon and a colon have a blank behind them.
_DELIMITER_LIKE = re.compile(r"[\t|\x1f]|[~^](?=\S)|;(?=\S)|,(?=[^\s\d])|(?<=\d),(?=\d{1,2},|\d{4,})")
_QUOTE_LIKE = re.compile(r"^[\"'].*[^\"']$|^[^\"'].*[\"']$|^\".*\"$|^'.*'$|\"[,;|\t]|[,;|\t]\"", re.DOTALL)
_INCHES = re.compile(r"\d\s?[\"']{1,2}$|[sS]'$")


@lru_cache(maxsize=1 << 14)
def kind_of(cell: str) -> Kind:
    """The kind of a cell; surrounding blanks do not matter."""
    text = cell.strip()
    if not text:
        return "EMPTY"
    found = _KINDS.fullmatch(text) if len(text) <= _LONGEST_TYPED else None
    return cast("Kind", found.lastgroup) if found else "TEXT"


def shape_of(cell: str) -> str:
    """The cell with `A`, `a` and `0` for its letters and digits: `AB-12` and `XY-79` are one shape."""
    return cell.strip().translate(_SHAPES)


def is_usual_name(cell: str) -> bool:
    """Whether columns are often called so, in any language of business that we know."""
    return _USUAL_NAME.fullmatch(cell.strip()) is not None


@lru_cache(maxsize=1 << 14)
def wholeness(cell: str) -> float:
    """From 0 to 1, how much an unquoted cell looks like one value, not like half of one or several."""
    text = cell.strip()
    if not text:
        return 0.95
    penalty = 0.05 if len(text) < len(cell) else 0.0
    if kind_of(text) != "TEXT":
        return 1.0 - penalty
    if _DELIMITER_LIKE.search(text):
        return 0.3
    if (text.count('"') % 2 or _QUOTE_LIKE.search(text)) and not _INCHES.search(text):
        return 0.3
    return 0.9 - penalty
