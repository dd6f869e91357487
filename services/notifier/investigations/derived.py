"""An investigation's columns: those that follow from its fingerprints, and the state, which follows from all of them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from services.notifier.investigations.folding import Fingerprint, Investigation
from services.notifier.investigations.states import State, state_of

# A row of `notifier.investigations`, or what it is to become.
Columns = Mapping[str, Any]

_OWN = [field.name for field in fields(Investigation) if field.name != "fingerprints"]
_ABOUT = ("supplier", "stage", "reason", "summary", "severity")
_COUNTED = ("event_count", "first_seen", "last_seen", "unresolved_at", "event_resolved_at")


def derived(columns: Columns, fingerprints: Sequence[Fingerprint]) -> dict[str, Any]:
    """The columns that follow from these fingerprints. What it is about is left out where they have no error."""
    investigation = _investigation(columns, fingerprints)
    investigation.derive()
    names = (*_COUNTED, *_ABOUT) if investigation.event_count else _COUNTED
    return {name: getattr(investigation, name) for name in names}


def state_at(columns: Columns, now: datetime) -> State:
    """The state that follows from these columns. Without any error, as after it was merged away, it is resolved."""
    if not columns["event_count"]:
        return "resolved"
    return state_of(_investigation(columns).standing(), now)


def _investigation(columns: Columns, fingerprints: Sequence[Fingerprint] = ()) -> Investigation:
    return Investigation(**{name: columns[name] for name in _OWN}, fingerprints=list(fingerprints))
