"""The state of an investigation: a function of what occurred and when, whatever the order in which it was heard of. Pure.

Event time counts, not arrival. So an investigation keeps the last times of what moves it, not a state that each event
steps on from: a trigger heard of late reopens only if it occurred after the resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

State = Literal["open", "acknowledged", "resolved", "muted", "reopened"]
STATES: tuple[State, ...] = get_args(State)
Change = Literal["opened", "reopened", "resolved"]

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Mute:
    """Somebody asked not to be bothered.

    Attributes:
        until: None: not until a date.
        events: Until so many more triggers have occurred; None: not until so many. Neither: for good.
        seen: Triggers that have occurred since it was muted.
    """

    until: datetime | None = None
    events: int | None = None
    seen: int = 0

    def holds(self, now: datetime) -> bool:
        if self.until is not None and now >= self.until:
            return False
        return self.events is None or self.seen < self.events


@dataclass(frozen=True)
class Standing:
    """All that the state depends on.

    Attributes:
        first_seen: The first trigger, by time.
        unresolved_at: The last trigger among those of its fingerprints whose last trigger is after their last resolution
            by an event. A resolution that a pipeline reports is of one fingerprint.
        event_resolved_at: `all_resolved_at` of its fingerprints.
        resolved_at: The last one by a person: of all that had occurred by then.
        reopened_at, acknowledged_at, mute: What people decided. A later decision takes an earlier one away.
    """

    first_seen: datetime | None = None
    unresolved_at: datetime | None = None
    event_resolved_at: datetime | None = None
    resolved_at: datetime | None = None
    reopened_at: datetime | None = None
    acknowledged_at: datetime | None = None
    mute: Mute | None = None


def all_resolved_at(last_resolved: Sequence[datetime | None]) -> datetime | None:
    """The last resolution by events of an investigation, as a whole; None: some of it was never resolved.

    Args:
        last_resolved: Of each of its fingerprints that has a trigger, the last event that resolves it.
    """
    moments = [moment for moment in last_resolved if moment is not None]
    return max(moments, default=None) if len(moments) == len(last_resolved) else None


def state_of(standing: Standing, now: datetime) -> State:
    """The state at `now`, which matters to a mute that ends on a date only.

    A resolution takes precedence over a mute, which is there again when the next error comes; an acknowledgement ends with
    the resolution.
    """
    by_person = standing.resolved_at or NEVER
    last_resolution = max(by_person, standing.event_resolved_at or NEVER)
    reopened_at = standing.reopened_at or NEVER
    is_reopened = reopened_at > last_resolution
    if not is_reopened and (standing.unresolved_at or NEVER) <= by_person:
        return "resolved"
    if standing.mute and standing.mute.holds(now):
        return "muted"
    if (standing.acknowledged_at or NEVER) > max(last_resolution, reopened_at):
        return "acknowledged"
    was_resolved = last_resolution > NEVER and last_resolution >= (standing.first_seen or NEVER)
    return "reopened" if is_reopened or was_resolved else "open"


def change_of(before: State | None, after: State) -> Change | None:
    """What is told of a step from one state to the next; None: nothing. `before` is None until there is a first trigger."""
    if before is None:
        return None if after == "resolved" else "opened"
    if after == "resolved":
        return None if before == "resolved" else "resolved"
    if before in {"resolved", "muted"} and after != "muted":
        return "reopened"
    return None
