"""What a list of imports may be narrowed by. Pure."""

from dataclasses import dataclass
from datetime import datetime

from services.results.imports.resources import Status


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
