"""Which events of a batch are let in, and what became of each. Pure.

One that is refused does not harm the others. What repeats another one is no new event, and takes nothing off a quota.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from services.notifier.investigations.folding import Folded, Investigation, ended_by
from services.notifier.investigations.grouping import LATE, Reported
from shared.contracts.problems import Conflict, Problem, TooManyRequests

Outcome = Literal["created", "grouped", "duplicate", "reopened", "quarantined"]


@dataclass(slots=True)
class Logged:
    """What became of an event. `first_seen` and `count` are the investigation's, this event included.

    Attributes:
        event_id_derived: The reporter gave no id.
        investigation_id: None: it is in quarantine.
        count: Triggers.
        late: It occurred more than 5 minutes before it was received.
    """

    event_id: str
    event_id_derived: bool
    investigation_id: UUID | None
    outcome: Outcome
    first_seen: datetime | None
    count: int
    late: bool


class Kept(NamedTuple):
    """An event that is there already; without `fingerprint_id` it is in quarantine."""

    digest: bytes | None
    occurred_at: datetime
    received_at: datetime
    fingerprint_id: int | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What decides whether events are let in.

    Attributes:
        known: Those of their suppliers that are.
        used: Of its quota in this minute, by source.
        backfilled: Whether events of the tenant come from ClickHouse as well.
    """

    known: frozenset[str]
    used: Mapping[str, int]
    backfilled: bool


@dataclass
class Admitted:
    """A batch, sorted. Events are told by their place in it.

    Attributes:
        new: To be folded in.
        waiting: For quarantine.
        repeated: Those that are kept already, each with what is kept.
        again: Those that repeat an earlier one of the batch, with its place.
        refused: Those that are not let in.
        used: Of the quotas, by source, with these.
    """

    new: dict[int, Reported] = field(default_factory=dict)
    waiting: dict[int, Reported] = field(default_factory=dict)
    repeated: dict[int, tuple[Reported, Kept]] = field(default_factory=dict)
    again: dict[int, int] = field(default_factory=dict)
    refused: dict[int, Problem] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)


def admitted(
    reported: Sequence[Reported],
    kept: Mapping[str, Kept],
    surroundings: Surroundings,
    *,
    quota: int,
    now: datetime,
) -> Admitted:
    """The batch, sorted.

    Args:
        kept: Of these events those that are there already, by their id.
        quota: Events a minute of each source.
    """
    batch = Admitted()
    places: dict[str, int] = {}
    for place, event in enumerate(reported):
        if before := kept.get(event.event_id):
            if before.digest == event.digest:
                batch.repeated[place] = event, before
            else:
                batch.refused[place] = _conflict(event.event_id)
        elif (first := places.get(event.event_id)) is not None:
            if reported[first].digest == event.digest:
                batch.again[place] = first
            else:
                batch.refused[place] = _conflict(event.event_id)
        elif refused := _over_quota(event, surroundings, batch.used, quota, now):
            batch.refused[place] = refused
        else:
            places[event.event_id] = place
            (batch.waiting if _is_unknown(event, surroundings) else batch.new)[place] = event
    return batch


def answers(
    reported: Sequence[Reported],
    batch: Admitted,
    folded: Mapping[int, Folded],
    investigations: Mapping[int, Investigation],
    now: datetime,
) -> list[Logged | Problem]:
    """What became of each event.

    Args:
        folded: The new ones, by place.
        investigations: By fingerprint id, those of the ones that are kept already.
    """
    told: dict[int, Logged | Problem] = {**batch.refused}
    told |= {place: _logged(event, folded[place], now) for place, event in batch.new.items()}
    told |= {place: _quarantined(event, now) for place, event in batch.waiting.items()}
    told |= {
        place: _repeated(event, before, investigations) for place, (event, before) in batch.repeated.items()
    }
    for place, first in batch.again.items():
        answer = told[first]
        assert isinstance(answer, Logged)
        told[place] = answer if first in batch.waiting else replace(answer, outcome="duplicate")
    return [told[place] for place in range(len(reported))]


def _over_quota(
    event: Reported, surroundings: Surroundings, used: dict[str, int], quota: int, now: datetime
) -> Problem | None:
    """Take the event off the quota of its source; or say why not. All suppliers that are unknown are one source."""
    if event.origin != "api":
        return None
    source = "unknown" if _is_unknown(event, surroundings) else f"supplier:{event.supplier}"
    if event.supplier is None:
        source = f"stage:{event.stage}"
    so_far = used.get(source, surroundings.used.get(source, 0))
    if so_far < quota:
        used[source] = so_far + 1
        return None
    whose = {"unknown": "of suppliers that are not known", f"stage:{event.stage}": "of this stage"}
    return TooManyRequests(
        "quota_exceeded",
        f"{quota} events {whose.get(source, 'of this supplier')} were logged in this minute, and no more may be",
        retry_after=60 - now.second,
        hint="send it again when the minute is over (Retry-After); several errors of one kind may also be one event",
    )


def _is_unknown(event: Reported, surroundings: Surroundings) -> bool:
    return event.origin == "api" and event.supplier is not None and event.supplier not in surroundings.known


def _is_late(occurred_at: datetime, received_at: datetime) -> bool:
    return received_at - occurred_at > LATE


def _quarantined(event: Reported, received_at: datetime) -> Logged:
    late = _is_late(event.occurred_at, received_at)
    return Logged(event.event_id, event.event_id_derived, None, "quarantined", None, 0, late)


def _logged(event: Reported, one: Folded, now: datetime) -> Logged:
    late = _is_late(event.occurred_at, event.received_at or now)
    there = one.investigation.id
    return Logged(event.event_id, event.event_id_derived, there, one.outcome, one.first_seen, one.count, late)


def _repeated(event: Reported, before: Kept, investigations: Mapping[int, Investigation]) -> Logged:
    if before.fingerprint_id is None:
        return _quarantined(event, before.received_at)
    there = ended_by(event, investigations.values()) or investigations[before.fingerprint_id]
    late = _is_late(before.occurred_at, before.received_at)
    return Logged(
        event.event_id,
        event.event_id_derived,
        there.id,
        "duplicate",
        there.first_seen,
        there.event_count,
        late,
    )


def _conflict(event_id: str) -> Conflict:
    return Conflict(
        "event_conflict",
        f"an event with the id {event_id!r} was logged before, with other content",
        hint="give every event an id of its own; repeat an event only as it was",
    )
