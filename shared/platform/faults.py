"""What a validation finds wrong, in words for whoever sent it."""

from collections.abc import Mapping
from typing import Any

# The library's own words suppose that one knows Python, or do not say how it is written.
_OBJECT = "must be an object"
_DATE = "must be a date as 2026-03-01"
_MOMENT = "must be a date and time as 2026-03-01T08:30:00Z"
_WORDS = {
    "extra_forbidden": "there is no such field; compare its name with the documentation",
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": _DATE,
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "timezone_aware": "must have its offset from UTC, as 2026-03-01T08:30:00Z or 2026-03-01T08:30:00+01:00",
}


def message_of(fault: Mapping[str, Any]) -> str:
    """Of one of the faults that a pydantic ValidationError lists."""
    words = _WORDS.get(fault["type"])
    if words is None:
        return str(fault["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    cause = fault.get("ctx", {}).get("error")
    return f"{words}: {cause}" if cause else words
