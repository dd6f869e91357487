"""Which events that were heard of twice are one: reported by a pipeline, and backfilled from ClickHouse. Pure."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

SAME_WITHIN = timedelta(seconds=1)  # between the two clocks


@dataclass(frozen=True, slots=True)
class Sighting:
    """An error of a supplier that was heard of in one way."""

    event_id: str
    supplier: str
    reason: str
    occurred_at: datetime


def matched(reported: Iterable[Sighting], backfilled: Iterable[Sighting]) -> dict[str, str]:
    """Pairs of the same supplier and reason at most `SAME_WITHIN` apart, the nearest first; each event in one at most.

    Returns:
        Ids of backfilled events by those of reported ones.
    """
    candidates = _by_kind(backfilled)
    apart = sorted(
        pair for kind, here in _by_kind(reported).items() for pair in _apart(here, candidates.get(kind, []))
    )
    pairs: dict[str, str] = {}
    taken: set[str] = set()
    for _, _, here_id, there_id in apart:
        if here_id not in pairs and there_id not in taken:
            pairs[here_id] = there_id
            taken.add(there_id)
    return pairs


def _by_kind(sightings: Iterable[Sighting]) -> Mapping[tuple[str, str], list[Sighting]]:
    found: defaultdict[tuple[str, str], list[Sighting]] = defaultdict(list)
    for one in sightings:
        found[one.supplier, one.reason].append(one)
    return found


def _apart(
    reported: Sequence[Sighting], backfilled: Iterable[Sighting]
) -> Iterator[tuple[timedelta, datetime, str, str]]:
    """How far they are apart, when the reported one occurred, and their ids.

    Each with as many of the nearest as are reported, as the others can take no more from it: thousands may have been
    backfilled of one moment, if a source knows no more than the day.
    """
    there = sorted(backfilled, key=lambda one: (one.occurred_at, one.event_id))
    for here in reported:
        at = here.occurred_at
        place = bisect_left(there, at, key=lambda one: one.occurred_at)
        near = there[max(0, place - len(reported)) : place + len(reported)]
        distances = sorted((abs(at - one.occurred_at), one.event_id) for one in near)
        for distance, event_id in distances[: len(reported)]:
            if distance <= SAME_WITHIN:
                yield distance, at, here.event_id, event_id
