"""The entity tag of a record (RFC 9110, section 8.8.3): strong, and made by PostgreSQL wherever it is needed.

`results` answers with it and `processor` compares it with `If-Match`, so both take the expression from here. It covers
everything that the API shows of a record, so that any change, also one by an import, gives the record another tag.
"""

import re
from collections.abc import Sequence
from typing import Literal

from shared.contracts.datasets import Dataset

ANY: Literal["*"] = "*"  # in If-Match: whatever the record is, so long as it is there

# What the text of a value depends on a session's settings is said as a number.
_INDEPENDENT = {"date": "({0} - DATE '1970-01-01')", "datetime": "extract(epoch FROM {0})"}
_KEPT = ("import_id", "row_number")
_MOMENTS = ("created_at", "updated_at")

_OPAQUE = r"[\x21\x23-\x7e\x80-\xff]*"
_TAG = re.compile(rf'(?P<weak>W/)?"(?P<opaque>{_OPAQUE})"')
_ANY_TAG = rf'(?:W/)?"{_OPAQUE}"'
_TAGS = re.compile(rf"[ \t,]*{_ANY_TAG}(?:[ \t]*,[ \t,]*{_ANY_TAG})*[ \t,]*")


class TagsInvalid(ValueError):
    """An If-Match or If-None-Match that is neither `*` nor a list of entity tags."""


def etag_sql(dataset: Dataset, row: str) -> str:
    """An SQL expression: the tag without its quotes, of the row of the dataset's table or view whose alias is `row`."""
    values = [f"{row}.key"]
    values += [
        _INDEPENDENT.get(field.type, "{0}").format(f'{row}."{field.name}"') for field in dataset.fields
    ]
    values += [f"{row}.{name}" for name in _KEPT]
    values += [f"extract(epoch FROM {row}.{name})" for name in _MOMENTS]
    # A row's text quotes its values, so that no two rows have the same; sha256, as md5 is not there in FIPS mode.
    return f"left(encode(sha256(convert_to(ROW({', '.join(values)})::text, 'UTF8')), 'hex'), 32)"


def etag_header(tag: str) -> str:
    """The header `ETag` for what `etag_sql` gave."""
    return f'"{tag}"'


def tags_in(header: str, *, weak: bool) -> Sequence[str]:
    """The tags that a condition lists, without quotes; `("*",)` for `*`.

    Args:
        header: Of If-Match or If-None-Match, the values of several joined by a comma.
        weak: Whether weak tags (`W/"…"`) count: they do for If-None-Match, and never for If-Match, which compares
            strongly (RFC 9110, section 13.1).

    Raises:
        TagsInvalid: it is none of these.
    """
    if header.strip() == ANY:
        return (ANY,)
    if not _TAGS.fullmatch(header):
        raise TagsInvalid(f"{header!r} is neither * nor a list of entity tags in double quotes")
    found = [(tag["opaque"], tag["weak"]) for tag in _TAG.finditer(header)]
    # "*" in quotes is a tag, though none of ours.
    return tuple(opaque for opaque, is_weak in found if opaque != ANY and (weak or not is_weak))
