"""Errors, their ends and people's decisions, as they happened; and what must come of it, told in order of time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from services.notifier.investigations.grouping import Reported
from services.notifier.investigations.states import Mute

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(days=300)

# Two kinds that their reporter has put together; errors of the first kind that say nothing more; and ones that do.
BOTH = [("acme", "load_mail", "file_read", "g"), ("acme", "load_ftp", "file_format", "g")]
PLAIN = ("acme", "load_mail", "file_read", None)
WORDS = ("acme", "load_mail", "file_read", "no attachment")


def at(hours):
    return START + timedelta(hours=hours)


def event(number, what, hours, *, resolves=False, severity="error"):
    supplier, stage, reason, told = what
    given = told if what in BOTH else None
    summary = f"{number} is broken" if given else told
    return Reported(
        event_id=f"e{number}",
        occurred_at=at(hours),
        supplier=supplier,
        stage=stage,
        reason=reason,
        severity=severity,
        summary=summary,
        detail=summary or "",
        digest=bytes([number]),
        origin="api",
        action="resolve" if resolves else "trigger",
        given=given,
    )


@dataclass(frozen=True)
class Decision:
    """Somebody's, about the investigation of `BOTH`."""

    what: str
    hours: float
    mute: Mute | None = None


@st.composite
def timelines(draw, decisions=True):
    """Events, at full hours; and decisions between them, in their order."""
    events = []
    for number in range(draw(st.integers(1, 9))):
        what = draw(st.sampled_from([*BOTH, PLAIN, WORDS]))
        resolves = draw(st.integers(0, 3)) == 0
        severity = draw(st.sampled_from(["info", "warning", "critical"]))
        events.append(event(number, what, draw(st.integers(1, 8)), resolves=resolves, severity=severity))
    hours = draw(st.lists(st.integers(0, 8), max_size=3, unique=True)) if decisions else []
    return events, [draw(_decision(hour + 0.5)) for hour in sorted(hours)]


@st.composite
def _decision(draw, hours):
    what = draw(st.sampled_from(["acknowledge", "resolve", "reopen", "mute"]))
    if what != "mute":
        return Decision(what, hours)
    until = draw(st.sampled_from([None, NOW - timedelta(days=1), NOW + timedelta(days=1)]))
    return Decision(what, hours, Mute(until, draw(st.sampled_from([None, 1, 2]))))


def told_in_order(events, decisions):
    """The state of the investigation of these events, lived through moment by moment.

    Args:
        events: With the triggers of its fingerprints, and all resolutions that are of one of them, as
            `(event, fingerprints)`.
    """
    triggered = set().union(*(of for one, of in events if not one.resolves))
    ended = set().union(*(of for one, of in events if one.resolves))
    items = [(one.occurred_at, one.resolves, one, of) for one, of in events]
    items += [(at(one.hours), False, one, None) for one in decisions]
    broken, begun, was_resolved, acknowledged, reopened, mute, seen = (
        set(),
        False,
        False,
        False,
        False,
        None,
        0,
    )
    for _, _, one, of in sorted(items, key=lambda item: item[:2]):
        if isinstance(one, Decision):
            acknowledged, reopened = (
                one.what == "acknowledge",
                one.what == "reopen" or (reopened and one.what != "resolve"),
            )
            mute, seen = one.mute, 0
            if one.what == "resolve":
                broken, was_resolved = set(), was_resolved or begun
        elif one.resolves:
            broken -= of
            # As long as some of it was never resolved, what ends is a part of it.
            if triggered <= ended and of & triggered:
                acknowledged, reopened, was_resolved = False, False, was_resolved or begun
        else:
            broken, begun, seen = broken | of, True, seen + 1
    if not reopened and not broken:
        return "resolved"
    if mute and Mute(mute.until, mute.events, seen).holds(NOW):
        return "muted"
    if acknowledged:
        return "acknowledged"
    return "reopened" if reopened or was_resolved else "open"


def expected(events, decisions=()):
    """By the kinds that an investigation has been put together of: state, count, first and last time, summary, severity."""
    found = {}
    for name, members in {"both": BOTH, "plain": [PLAIN], "words": [WORDS]}.items():
        mine = [one for one in events if _what(one) in members]
        triggers = [one for one in mine if not one.resolves]
        if not triggers:
            continue
        there = {_what(one) for one in mine}
        concerning = [(one, {_what(one)}) for one in mine if _what(one) != PLAIN or not one.resolves]
        wide = [one for one in events if one.resolves and _what(one) == PLAIN]
        of_kind = {what for what in there if what[:3] == PLAIN[:3]}
        concerning += [(one, of_kind) for one in wide if of_kind]
        first = min(triggers, key=lambda one: (one.occurred_at, one.event_id))
        found[name] = (
            told_in_order(concerning, decisions if name == "both" else ()),
            len(triggers),
            first.occurred_at,
            max(one.occurred_at for one in triggers),
            first.summary or f"{first.reason} in {first.stage}",
            max((one.severity for one in triggers), key=["info", "warning", "error", "critical"].index),
        )
    return found


def _what(one):
    told = one.given or one.summary
    return one.supplier, one.stage, one.reason, told
