"""Which investigations a request means, and in what order. Pure."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import Field

from services.notifier.investigations.grouping import SEVERITIES, Severity
from services.notifier.investigations.states import STATES, State
from shared.contracts.problems import Unprocessable
from shared.platform.paging import Cursors, Moment

Order = Literal["-opened_at", "-last_seen", "-count", "-severity"]

Bigint = Annotated[int, Field(ge=0, le=2**63 - 1)]

# What a list may be ordered by before the id: a count or the rank of a severity, and the last error.
Position = tuple[Bigint, Moment | None, UUID]
CURSORS: Cursors[Position] = Cursors(Position)


@dataclass(frozen=True)
class Kind:
    """Which errors: of this supplier, stage and reason, where they are given."""

    supplier: str | None = None
    stage: str | None = None
    reason: str | None = None

    @property
    def given(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Filters:
    """Which investigations to list.

    Attributes:
        states: In one of these; none: in any.
        severities: With one of these; none: with any.
        kind: With a fingerprint of it.
        text: With this in the summary, in whatever case.
        since: Whose last error is of this moment or later.
        until: Whose last error is from before this moment.
        opened_since: Opened at this moment or later.
        import_id: With an error that this import reported.

    Raises:
        Unprocessable: `filter_invalid`, where `since` is not before `until`.
    """

    states: tuple[State, ...] = ()
    severities: tuple[Severity, ...] = ()
    kind: Kind = Kind()
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    opened_since: datetime | None = None
    import_id: UUID | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise Unprocessable(
                "filter_invalid",
                f"since: {self.since.isoformat()} is not before `until`, {self.until.isoformat()}, so there is nothing between",
                hint="give a later `until`, or leave it out; a date is its midnight in UTC",
                parameter="since",
            )

    def list_name(self, order: Order) -> str:
        """The name of the list of these in that order, for cursors."""
        asked = json.dumps(asdict(self), default=str, sort_keys=True)
        return f"investigations/{order}/{hashlib.sha256(asked.encode()).hexdigest()[:16]}"


def states_of(given: Iterable[str]) -> tuple[State, ...]:
    """The states in `given`, each one of them or several with commas between.

    Raises:
        Unprocessable: `filter_invalid`.
    """
    return cast("tuple[State, ...]", _each("state", given, STATES))


def severities_of(given: Iterable[str]) -> tuple[Severity, ...]:
    """The severities in `given`, likewise.

    Raises:
        Unprocessable: `filter_invalid`.
    """
    return cast("tuple[Severity, ...]", _each("severity", given, SEVERITIES))


def _each(parameter: str, given: Iterable[str], there: tuple[str, ...]) -> tuple[str, ...]:
    names = sorted({name.strip() for one in given for name in one.split(",")})
    if unknown := [name for name in names if name not in there]:
        raise Unprocessable(
            "filter_invalid",
            f"{parameter}: {unknown[0][:100]!r} is none of {', '.join(there)}",
            hint="give one of them, or several with commas between",
            parameter=parameter,
        )
    return tuple(names)


def position_of(order: Order, row: Any) -> Position:
    """Where in its list a row of `investigations` is."""
    match order:
        case "-opened_at":
            return 0, None, row.id
        case "-last_seen":
            return 0, row.last_seen, row.id
        case "-count":
            return row.event_count, None, row.id
        case "-severity":
            return SEVERITIES.index(row.severity), row.last_seen, row.id
