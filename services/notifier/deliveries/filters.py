"""Which deliveries a request means. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.notifier.messages.event_types import EVENT_TYPES, TEST_TYPE, checked_event_types
from shared.contracts.problems import Unprocessable

SENDABLE = (*EVENT_TYPES, TEST_TYPE)

StatusFilter = Literal["pending", "succeeded", "failed", "skipped", "undelivered"]
Order = Literal["asc", "desc"]


@dataclass(frozen=True)
class Filters:
    """Which deliveries of an endpoint to list.

    Attributes:
        statuses: With one of these; none: with any. `undelivered`: what did not succeed and is no test.
        event_types: Of one of these, which may be wildcards; none: of any.
        since: Created at this moment or later.
        until: Created before this moment.
        sequence_from: With this sequence or a greater one.
        sequence_to: With this sequence or a smaller one.

    Raises:
        Unprocessable: `filter_invalid`, where `since` is not before `until`.
    """

    statuses: frozenset[StatusFilter] = frozenset()
    event_types: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    sequence_from: int | None = None
    sequence_to: int | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise Unprocessable(
                "filter_invalid",
                f"since: {self.since.isoformat()} is not before `until`, {self.until.isoformat()}, so there is nothing between",
                hint="give a later `until`, or leave it out; a date is its midnight in UTC",
                parameter="since",
            )


def known_types(names: Iterable[str]) -> tuple[str, ...]:
    """`names` of types and wildcards without repetitions; the test's type is one of them.

    Raises:
        Unprocessable: `event_type_unknown`.
    """
    given = list(names)
    tests = [TEST_TYPE] if TEST_TYPE in given else []
    return (*checked_event_types(name for name in given if name != TEST_TYPE), *tests)


def sendable(event_type: str) -> str:
    """`event_type`, if there are webhooks of it; a wildcard is no type.

    Raises:
        Unprocessable: `event_type_unknown`.
    """
    if event_type not in SENDABLE:
        raise Unprocessable(
            "event_type_unknown",
            f"no webhook has the type {event_type!r}",
            hint="use one of `known`",
            known=list(SENDABLE),
        )
    return event_type
