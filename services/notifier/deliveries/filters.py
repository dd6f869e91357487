"""Which deliveries a request means. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.notifier.messages.event_types import EVENT_TYPES, checked_event_types
from shared.contracts.problems import Unprocessable

TEST_TYPE = "webhook.test"  # only ever sent because somebody asked for a test
SENDABLE = (*EVENT_TYPES, TEST_TYPE)

StatusFilter = Literal["pending", "succeeded", "failed", "skipped", "undelivered"]
Order = Literal["asc", "desc"]

UNDELIVERED = frozenset({"pending", "failed", "skipped"})


@dataclass(frozen=True)
class Filters:
    """Which deliveries of an endpoint to list.

    Attributes:
        statuses: With one of these; none: with any.
        event_types: Of one of these, which may be wildcards; none: of any.
        since: Created at this moment or later.
        until: Created before this moment.
        sequence_from: With this sequence or a greater one.
        sequence_to: With this sequence or a smaller one.
    """

    statuses: frozenset[str] = frozenset()
    event_types: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    sequence_from: int | None = None
    sequence_to: int | None = None


def statuses_of(wanted: Iterable[StatusFilter]) -> frozenset[str]:
    """The statuses that deliveries have, of those that are asked for."""
    found: set[str] = set()
    for status in wanted:
        found |= UNDELIVERED if status == "undelivered" else {status}
    return frozenset(found)


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
