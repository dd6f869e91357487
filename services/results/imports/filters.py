"""What a list of imports may be narrowed by. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from services.results.imports.resources import Status

# RFC 3339, and of its dates the midnight in UTC. `T` and `Z` may be small, as it says.
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_WANTED = (
    "must be a date as 2026-03-01, or a moment with its offset from UTC as 2026-03-01T08:30:00Z;"
    " in an address write the sign + as %2B"
)


@dataclass(frozen=True)
class Filters:
    """Which imports to list.

    Attributes:
        statuses: With one of these; none: with any.
        uploaded_from: At this moment or later.
        uploaded_to: Before this moment.
        file_name: With this in its name, in whatever case.
    """

    statuses: tuple[Status, ...] = ()
    dataset: str | None = None
    source: str | None = None
    uploaded_from: datetime | None = None
    uploaded_to: datetime | None = None
    file_name: str | None = None


def moment_of(said: Any) -> datetime:
    """The moment that a request names, in UTC.

    Raises:
        ValueError: it is neither a date nor a moment as RFC 3339 writes them, or one beyond the years that there are.
    """
    text = str(said)
    try:
        if _DATE.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # the 30th of February; the year 0
        raise ValueError(f"there is no such time; it {_WANTED}") from error
    raise ValueError(_WANTED)


RequestedMoment = Annotated[
    datetime,
    BeforeValidator(moment_of),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
    ),
]
