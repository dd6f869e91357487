"""What people decide about an investigation: when they may, and what becomes of its columns. Pure.

A decision takes earlier ones away: to acknowledge ends a mute, to mute an acknowledgement, and to resolve or to reopen both.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from services.notifier.investigations.derived import Columns, state_at
from services.notifier.investigations.states import NEVER, State
from shared.contracts.problems import Conflict, Unprocessable

Action = Literal["acknowledge", "resolve", "reopen", "mute", "note"]
What = Literal[
    "opened", "acknowledged", "resolved", "muted", "unmuted", "reopened", "merged", "split", "noted"
]
DONE: dict[Action, What] = {
    "acknowledge": "acknowledged",
    "resolve": "resolved",
    "reopen": "reopened",
    "mute": "muted",
    "note": "noted",
}

DECIDED = (
    "resolved_at",
    "reopened_at",
    "acknowledged_at",
    "muted_at",
    "muted_until",
    "muted_events",
    "events_since_muted",
)
NO_MUTE: Columns = {"muted_at": None, "muted_until": None, "muted_events": None, "events_since_muted": 0}
_UNDECIDED: Columns = {"acknowledged_at": None, **NO_MUTE}
_TICK = timedelta(microseconds=1)  # PostgreSQL's

_ENDED_BY: dict[tuple[Action, State], str] = {
    ("acknowledge", "resolved"): "reopen it first",
    ("mute", "resolved"): "reopen it first; while it is resolved, nothing is told of it anyway",
    ("reopen", "open"): "there is nothing to do: it has not been resolved, acknowledged or muted",
}


@dataclass(frozen=True)
class Decision:
    """What somebody decided. `until` and `events` are of a mute: which comes first ends it; neither: it is for good."""

    action: Action
    note: str | None = None
    until: datetime | None = None
    events: int | None = None

    @property
    def details(self) -> dict[str, Any] | None:
        """What the history keeps beside the note."""
        if self.action != "mute":
            return None
        return {"until": self.until and self.until.isoformat(), "events": self.events}


def see_merged(columns: Columns) -> None:
    """See that the investigation is not one that was merged away.

    Raises:
        Conflict: `investigation_merged`, which names the one that it is part of.
    """
    if columns["merged_into"] is not None:
        raise Conflict(
            "investigation_merged",
            f"the investigation {columns['id']} was merged into {columns['merged_into']}",
            hint="act on that one; or split from it what belongs to another one",
            merged_into=str(columns["merged_into"]),
        )


def decided(columns: Columns, decision: Decision, now: datetime) -> dict[str, Any]:
    """The columns that the decision gives new values; none: it is so already, or nothing but a note.

    Raises:
        Conflict: `investigation_merged`; `investigation_state`, in its state that cannot be done.
        Unprocessable: `mute_until_past`.
    """
    see_merged(columns)
    state = state_at(columns, now)
    _see_possible(columns, decision.action, state)
    match decision.action:
        case "acknowledge":
            return {} if state == "acknowledged" else _acknowledged(columns, now)
        case "resolve":
            return {} if state == "resolved" and _is_resolved_by_person(columns) else _resolved(columns, now)
        case "reopen":
            return {} if state == "reopened" and _is_reopened_by_person(columns) else _reopened(columns, now)
        case "mute":
            return _muted(columns, decision, state, now)
        case "note":
            return {}


def _see_possible(columns: Columns, action: Action, state: State) -> None:
    hint = _ENDED_BY.get((action, state))
    if action == "reopen" and not columns["event_count"]:
        hint = "it opens by itself with the first error"
    if hint is not None:
        raise investigation_state(columns["id"], action, state, hint)


def investigation_state(investigation_id: UUID, action: str, state: State, hint: str) -> Conflict:
    """The problem of an action that is not possible in a state."""
    return Conflict(
        "investigation_state",
        f"the investigation {investigation_id} is {state}: it cannot be {_PAST.get(action, action)}",
        hint=hint,
        state=state,
    )


_PAST = {"acknowledge": "acknowledged", "mute": "muted", "reopen": "reopened"}


def _last_resolution(columns: Columns) -> datetime:
    return max(columns["resolved_at"] or NEVER, columns["event_resolved_at"] or NEVER)


# What an event did, late events may undo; what somebody said of all that has occurred by now, they may not.
def _is_resolved_by_person(columns: Columns) -> bool:
    by_person = columns["resolved_at"] or NEVER
    return by_person > NEVER and by_person == _last_resolution(columns) and columns["muted_at"] is None


def _is_reopened_by_person(columns: Columns) -> bool:
    return (columns["reopened_at"] or NEVER) > _last_resolution(columns)


# A reporter's clock may be ahead of ours: what is decided now comes after all that is known to have occurred.
def _acknowledged(columns: Columns, now: datetime) -> dict[str, Any]:
    before = max(_last_resolution(columns), columns["reopened_at"] or NEVER)
    return {**NO_MUTE, "acknowledged_at": max(now, before + _TICK)}


def _resolved(columns: Columns, now: datetime) -> dict[str, Any]:
    last = max(columns["last_seen"] or NEVER, columns["reopened_at"] or NEVER)
    return {**_UNDECIDED, "resolved_at": max(now, last)}


def _reopened(columns: Columns, now: datetime) -> dict[str, Any]:
    return {**_UNDECIDED, "reopened_at": max(now, _last_resolution(columns) + _TICK)}


def _muted(columns: Columns, decision: Decision, state: State, now: datetime) -> dict[str, Any]:
    if decision.until is not None and decision.until <= now:
        raise Unprocessable(
            "mute_until_past",
            f"`until` is {decision.until.isoformat()}, which is over: our clock says {now.isoformat()}",
            hint="give a later moment; a date is its midnight in UTC",
        )
    terms = {"muted_until": decision.until, "muted_events": decision.events}
    same = all(columns[name] == value for name, value in terms.items())
    if state == "muted" and same and not columns["events_since_muted"]:
        return {}
    return {"muted_at": now, **terms, "events_since_muted": 0, "acknowledged_at": None}
