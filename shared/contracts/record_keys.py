"""How records are named: keys as PostgreSQL compares them, and the ids that stand for them in URLs and JSON. Pure."""

import re
import unicodedata

from shared.contracts.datasets import Dataset

SEPARATOR = "\x1f"  # U+001F, information separator one: between the parts of a key, and in none of them

# What stands in its place in an id: unreserved in URLs (RFC 3986, section 2.3), and seen by people.
ID_SEPARATOR = "~"
ID_ESCAPE = "!"

_PIECE = re.compile(f"{ID_ESCAPE}(.)|({ID_SEPARATOR})", re.DOTALL)


def folded(text: str) -> str:
    """Canonical caseless matching (Unicode Standard, D145): texts that are the same ignoring case have the same one."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def has_parts(dataset: Dataset) -> bool:
    """Whether a key has several parts: the fields of the primary key, or before them the import that it is a key of."""
    return len(dataset.primary_key) > 1 or dataset.key_scope == "import"


def record_id(dataset: Dataset, key: str) -> str:
    """The id of the record with that key: the key itself, or where it has several parts, these with `~` between them.

    A `~` or `!` within a part has a `!` before it. One-to-one, so that `record_key` finds the way back.
    """
    if not has_parts(dataset):
        return key
    escaped = re.sub(f"([{ID_ESCAPE}{ID_SEPARATOR}])", rf"{ID_ESCAPE}\1", key)
    return escaped.replace(SEPARATOR, ID_SEPARATOR)


def record_key(dataset: Dataset, record_id: str) -> str:
    """The key that an id stands for, in whatever case it is written where keys are compared so. What is no id stands for no record."""
    if dataset.key_comparison == "ignore-case":
        record_id = folded(record_id)
    if not has_parts(dataset):
        return record_id
    return _PIECE.sub(lambda piece: SEPARATOR if piece[2] else piece[1], record_id)


def record_id_sql(dataset: Dataset, row: str) -> str:
    """`record_id` as an SQL expression, of the row whose alias is `row`."""
    if not has_parts(dataset):
        return f"{row}.key"
    escaped = f"regexp_replace({row}.key, '([{ID_ESCAPE}{ID_SEPARATOR}])', '{ID_ESCAPE}\\1', 'g')"
    return f"replace({escaped}, chr({ord(SEPARATOR)}), '{ID_SEPARATOR}')"
