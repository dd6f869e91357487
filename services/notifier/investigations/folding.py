"""What events make of fingerprints and of the investigations that these belong to. Pure.

A fingerprint counts for itself; an investigation is what its fingerprints are together, and what people decided. Nothing
here depends on the order in which events are heard of.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from services.notifier.investigations.grouping import (
    SEVERITIES,
    Kind,
    Reported,
    Severity,
    fingerprint,
    normalised,
)
from services.notifier.investigations.states import (
    NEVER,
    Change,
    Mute,
    Standing,
    State,
    all_resolved_at,
    change_of,
    state_of,
)

_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}
_MILDEST = SEVERITIES[0]


@dataclass(slots=True)
class Fingerprint:
    """A row of `fingerprints`; `id` is None until it is one."""

    fingerprint: str
    supplier: str | None
    stage: str
    reason: str
    detail: str
    given: str | None
    id: int | None = None
    event_count: int = 0
    first_seen: datetime | None = None
    first_event_id: str | None = None
    summary: str | None = None
    severity: Severity | None = None
    last_triggered: datetime | None = None
    last_resolved: datetime | None = None

    @property
    def kind(self) -> Kind:
        return self.supplier, self.stage, self.reason

    @property
    def unresolved_at(self) -> datetime | None:
        """The last trigger, if it is after the last resolution."""
        last = self.last_triggered
        return last if last is not None and last > (self.last_resolved or NEVER) else None

    def trigger(self, event: Reported) -> None:
        """Count it."""
        self.event_count += 1
        at = event.occurred_at
        if self.first_seen is None or (at, event.event_id) < (self.first_seen, self.first_event_id):
            self.first_seen, self.first_event_id, self.summary = at, event.event_id, event.summary
        self.last_triggered = _later(self.last_triggered, at)
        self.severity = _worse(self.severity, event.severity)


@dataclass(slots=True)
class Investigation:
    """A row of `investigations`, with all its fingerprints. What is derived from these is right after `derive`."""

    id: UUID
    opened_at: datetime
    supplier: str | None
    stage: str
    reason: str
    summary: str
    severity: Severity = _MILDEST
    state: State = "resolved"
    event_count: int = 0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    unresolved_at: datetime | None = None
    event_resolved_at: datetime | None = None
    resolved_at: datetime | None = None
    reopened_at: datetime | None = None
    acknowledged_at: datetime | None = None
    muted_at: datetime | None = None
    muted_until: datetime | None = None
    muted_events: int | None = None
    events_since_muted: int = 0
    fingerprints: list[Fingerprint] = field(default_factory=list)

    def derive(self) -> None:
        """What its fingerprints are together."""
        self.event_count = sum(one.event_count for one in self.fingerprints)
        self.last_seen = _last(one.last_triggered for one in self.fingerprints)
        self.unresolved_at = _last(one.unresolved_at for one in self.fingerprints)
        self._settle_resolution()
        self.severity = max(
            (one.severity for one in self.fingerprints if one.severity),
            key=_RANK.__getitem__,
            default=_MILDEST,
        )
        seen = [one for one in self.fingerprints if one.first_seen is not None]
        self._begin_with(min(seen, key=_first) if seen else None)

    def _settle_resolution(self) -> None:
        self.event_resolved_at = all_resolved_at(
            [one.last_resolved for one in self.fingerprints if one.event_count]
        )

    def _begin_with(self, first: Fingerprint | None) -> None:
        self.first_seen = first.first_seen if first else None
        if first is not None:
            self.supplier, self.stage, self.reason = first.kind
            self.summary = first.summary or summary_of(first.kind)

    def count(self, event: Reported, of: Fingerprint) -> None:
        """A trigger, counted with its fingerprint: as `derive` would, without a look at the others."""
        of.trigger(event)
        self.event_count += 1
        self.last_seen = _later(self.last_seen, event.occurred_at)
        self.severity = event.severity if self.event_count == 1 else _worse(self.severity, event.severity)
        if of.unresolved_at is not None:
            self.unresolved_at = _later(self.unresolved_at, of.unresolved_at)
        if of.event_count == 1:
            self._settle_resolution()
        if of.first_event_id == event.event_id and event.occurred_at <= (
            self.first_seen or event.occurred_at
        ):
            seen = [one for one in self.fingerprints if one.first_seen is not None]
            self._begin_with(min(seen, key=_first))
        if self.muted_at is not None and event.occurred_at > self.muted_at:
            self.events_since_muted += 1

    def state_at(self, now: datetime) -> State:
        """As `state_of` has it, which need not be asked about those that nothing has happened to but errors."""
        decided = self.resolved_at or self.reopened_at or self.acknowledged_at or self.muted_at
        if decided is None and self.event_resolved_at is None:
            return "resolved" if self.unresolved_at is None else "open"
        return state_of(self.standing(), now)

    def standing(self) -> Standing:
        """What its state depends on."""
        mute = None
        if self.muted_at is not None:
            mute = Mute(self.muted_until, self.muted_events, self.events_since_muted)
        return Standing(
            first_seen=self.first_seen,
            unresolved_at=self.unresolved_at,
            event_resolved_at=self.event_resolved_at,
            resolved_at=self.resolved_at,
            reopened_at=self.reopened_at,
            acknowledged_at=self.acknowledged_at,
            mute=mute,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A change of an investigation's state.

    Attributes:
        mute_ended: It was reopened as its mute had come to an end.
        event_id: What brought it; None: that an event of it was another one.
        at: When that occurred.
        count: Triggers in it by then.
    """

    investigation: Investigation
    change: Change
    mute_ended: bool
    event_id: str | None
    at: datetime
    count: int


@dataclass(slots=True)
class Folded:
    """Where an event went, and how its investigation stood right after it."""

    investigation: Investigation
    fingerprint: Fingerprint
    outcome: Literal["created", "grouped", "reopened"]
    first_seen: datetime | None
    count: int


class Fold:
    """Folds events, one after the other, into the fingerprints and investigations that they concern.

    Args:
        investigations: Those that have, each with all its fingerprints: the fingerprints of the events, the ones that the
            reporters of the events named, and all of a kind that an event resolves as a whole.
        kinds_resolved: When kinds whose fingerprints are new were last resolved as a whole.
        new_ids: For new investigations.
        now: What is opened is opened now.
    """

    def __init__(
        self,
        investigations: Iterable[Investigation],
        kinds_resolved: Mapping[Kind, datetime],
        new_ids: Iterator[UUID],
        now: datetime,
    ) -> None:
        self.steps: list[Step] = []
        self.touched: dict[str, tuple[Fingerprint, Investigation]] = {}
        self.new_reasons: dict[str, datetime] = {}
        self._of: dict[str, tuple[Fingerprint, Investigation]] = {}
        self._given: dict[str, Investigation] = {}
        self._unsettled: dict[UUID, tuple[Investigation, State | None]] = {}
        self._kinds_resolved = dict(kinds_resolved)
        self._new_ids = new_ids
        self._now = now
        for investigation in investigations:
            for one in investigation.fingerprints:
                self._of[one.fingerprint] = one, investigation
                if one.given is not None:
                    self._given[one.given] = investigation
                if _is_of_kind(one) and one.last_resolved:
                    self._kinds_resolved[one.kind] = one.last_resolved

    def lose(self, times: Mapping[int, Sequence[datetime]]) -> None:
        """Triggers are gone from the fingerprints of these ids, which no longer count them. `settle` is to follow.

        Args:
            times: Of the triggers.
        """
        for one, investigation in self._of.values():
            if one.id is None or one.id not in times:
                continue
            self._unsettled.setdefault(investigation.id, (investigation, _before(investigation)))
            if (muted_at := investigation.muted_at) is not None:
                gone = sum(at > muted_at for at in times[one.id])
                investigation.events_since_muted = max(0, investigation.events_since_muted - gone)
            investigation.derive()
            self.touched[one.fingerprint] = one, investigation

    def settle(self) -> None:
        """Give those their state that have lost triggers, and that no event was folded into since."""
        for investigation, before in self._unsettled.values():
            self._settle(investigation, before, None)
        self._unsettled.clear()

    def add(self, event: Reported) -> Folded:
        """Fold an event in."""
        one, investigation = self._of.get(event.fingerprint) or self._begin(event)
        if event.resolves:
            ended = self._resolve(event, one) or investigation
            return Folded(ended, one, "grouped", ended.first_seen, ended.event_count)
        before = self._stood(investigation)
        investigation.count(event, one)
        self.touched[one.fingerprint] = one, investigation
        change = self._settle(investigation, before, event)
        outcome: Literal["created", "grouped", "reopened"] = "reopened" if change == "reopened" else "grouped"
        if before is None:
            investigation.opened_at = self._now
            outcome = "created"
        return Folded(investigation, one, outcome, investigation.first_seen, investigation.event_count)

    def add_all(self, events: Mapping[int, Reported]) -> dict[int, Folded]:
        """Fold events in, in their order; each is told by its place.

        Of resolutions of a whole kind with nothing else of that kind between them, the latest stands for all: each has to
        look at every fingerprint of the kind.
        """
        folded: dict[int, Folded] = {}
        runs: defaultdict[Kind, list[int]] = defaultdict(list)
        for place, event in events.items():
            if event.resolves and is_of_kind(event):
                runs[event.kind].append(place)
                continue
            self._add_run(events, runs.pop(event.kind, []), folded)
            folded[place] = self.add(event)
        for run in runs.values():
            self._add_run(events, run, folded)
        return folded

    def _add_run(self, events: Mapping[int, Reported], run: Sequence[int], folded: dict[int, Folded]) -> None:
        if run:
            latest = max(run, key=lambda place: events[place].occurred_at)
            folded.update(dict.fromkeys(run, self.add(events[latest])))

    def _begin(self, event: Reported) -> tuple[Fingerprint, Investigation]:
        given = event.given
        one = Fingerprint(
            fingerprint=event.fingerprint,
            supplier=event.supplier,
            stage=event.stage,
            reason=event.reason,
            detail="" if given is not None else normalised(event.detail),
            given=given,
            last_resolved=self._kinds_resolved.get(event.kind),
        )
        investigation = self._given.get(given) if given is not None else None
        if investigation is None:
            summary = event.summary or summary_of(event.kind)
            investigation = Investigation(next(self._new_ids), self._now, *event.kind, summary)
        investigation.fingerprints.append(one)
        if given is not None:
            self._given[given] = investigation
        self._of[one.fingerprint] = one, investigation
        first = self.new_reasons.get(event.reason, event.occurred_at)
        self.new_reasons[event.reason] = min(first, event.occurred_at)
        return one, investigation

    def _resolve(self, event: Reported, one: Fingerprint) -> Investigation | None:
        """Returns: the investigation to name, where the event is of a whole kind."""
        ended = [one]
        if _is_of_kind(one):
            ended = [other for other, _ in self._of.values() if other.kind == event.kind]
            self._kinds_resolved[event.kind] = max(
                event.occurred_at, self._kinds_resolved.get(event.kind, NEVER)
            )
        concerned: dict[UUID, tuple[Investigation, State | None]] = {}
        for other in ended:
            _, investigation = self._of[other.fingerprint]
            concerned.setdefault(investigation.id, (investigation, self._stood(investigation)))
            other.last_resolved = _later(other.last_resolved, event.occurred_at)
            self.touched[other.fingerprint] = other, investigation
        for investigation, before in concerned.values():
            investigation.derive()
            self._settle(investigation, before, event)
        return ended_by(event, (investigation for investigation, _ in concerned.values()))

    def _stood(self, investigation: Investigation) -> State | None:
        """How it was before: where it has lost triggers, before that, as the same ones may just have come in another way."""
        _, before = self._unsettled.pop(investigation.id, (investigation, _before(investigation)))
        return before

    def _settle(
        self, investigation: Investigation, before: State | None, event: Reported | None
    ) -> Change | None:
        investigation.state = investigation.state_at(self._now)
        change = change_of(before, investigation.state)
        if change is not None:
            mute_ended = before == "muted" and change == "reopened"
            event_id, at = (event.event_id, event.occurred_at) if event else (None, self._now)
            count = investigation.event_count
            self.steps.append(Step(investigation, change, mute_ended, event_id, at, count))
        return change


def is_of_kind(event: Reported) -> bool:
    """Whether it names nothing but its kind: if it resolves, it does so for all fingerprints of it."""
    return event.given is None and not normalised(event.detail)


def ended_by(event: Reported, investigations: Iterable[Investigation]) -> Investigation | None:
    """Which of these to name to who resolves a whole kind: that with its latest error. None: there is none; or no kind is."""
    if not (event.resolves and is_of_kind(event)):
        return None
    last = (
        (one.last_triggered, investigation.id, investigation)
        for investigation in investigations
        for one in investigation.fingerprints
        if one.kind == event.kind and one.last_triggered is not None
    )
    latest = max(last, key=lambda found: found[:2], default=None)
    return latest and latest[2]


def summary_of(kind: Kind) -> str:
    """What is said of errors that say nothing of themselves."""
    _, stage, reason = kind
    return f"{reason} in {stage}"


# The detail is no proof that it has none: of what was logged before details were kept, it is not known.
def _is_of_kind(one: Fingerprint) -> bool:
    return one.given is None and not one.detail and one.fingerprint == fingerprint(*one.kind)


def _before(investigation: Investigation) -> State | None:
    return investigation.state if investigation.event_count else None


def _first(one: Fingerprint) -> tuple[datetime, str]:
    return one.first_seen or NEVER, one.first_event_id or ""


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None or other > one else one


def _last(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _worse(one: Severity | None, other: Severity) -> Severity:
    return other if one is None or _RANK[other] > _RANK[one] else one
