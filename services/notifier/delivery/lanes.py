"""How much of what is due this process takes in hand now, endpoint by endpoint. Pure.

Each endpoint has a lane: so many deliveries at most that are claimed and not recorded yet. A lane is as wide as its
endpoint is fast, so that one that hangs holds ten places, not all; and of all places those that are slow get half.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

LANE_CONNECTIONS = 10  # attempts at once to one endpoint
LANE_MOST = 200  # claimed for one endpoint, sent or waiting for a connection
PLACES = 1000  # claimed in all
SLOW_PLACES = PLACES // 2  # of these for endpoints that are slow or failing

# How far ahead of its rate an endpoint may be served: what is due within is claimed together.
PACE_TOLERANCE = 0.02  # seconds
# How long a probe may be under way before another one is sent: an attempt's 15 s, and the writing down of it.
PROBE_SECONDS = 20.0


class Waiting(NamedTuple):
    """An endpoint that has deliveries pending.

    Attributes:
        due_at: When the first of them is.
        failures, probe_at, paced_to: As in `notifier.endpoint_health`.
        rate_limit: Attempts a second.
    """

    endpoint_id: UUID
    due_at: datetime
    failures: int = 0
    probe_at: datetime | None = None
    rate_limit: int | None = None
    paced_to: datetime | None = None

    @property
    def troubled(self) -> bool:
        """It has failed since it last succeeded, or asked for a pause."""
        return self.failures > 0 or self.probe_at is not None


class InHand(NamedTuple):
    """What this process has in hand for an endpoint.

    Attributes:
        claimed: Deliveries not recorded yet.
        width: How many there may be.
        slow: It is slow or failing, or not known to be quick yet.
    """

    claimed: int = 0
    width: int = LANE_CONNECTIONS
    slow: bool = False


@dataclass(frozen=True)
class Room:
    """How many deliveries of an endpoint may be claimed.

    Attributes:
        probe: Its circuit is open, and this is the one attempt that tells whether it may close.
        paced_to: What `paced_to` becomes, of an endpoint with a rate limit.
    """

    endpoint_id: UUID
    count: int
    probe: bool = False
    paced_to: datetime | None = None


@dataclass(frozen=True)
class Plan:
    """What to claim now, and when there may be more: seconds from now, infinite if nothing waits but for a lane."""

    rooms: Sequence[Room]
    wake_in: float


def planned(waiting: Iterable[tuple[Waiting, InHand]], now: datetime, *, claimed: int, slow: int) -> Plan:
    """Share the free places out among the endpoints that have something due.

    Args:
        claimed: Places that are taken in all.
        slow: Of these, by slow lanes.
    """
    wake_in, offers = math.inf, []
    for lane, hand in waiting:
        begins = max(filter(None, (lane.due_at, lane.probe_at, _paced_at(lane))))
        if begins > now:
            wake_in = min(wake_in, (begins - now).total_seconds())
        elif (offer := _offer(lane, hand, now)) > 0:
            offers.append((lane, hand, offer))
    rooms = [
        _room(lane, count, now)
        for lane, count in _shared(offers, free=PLACES - claimed, free_slow=SLOW_PLACES - slow)
    ]
    return Plan(rooms, wake_in)


def _paced_at(lane: Waiting) -> datetime | None:
    if lane.rate_limit is None or lane.paced_to is None:
        return None
    return lane.paced_to - timedelta(seconds=PACE_TOLERANCE)


def _offer(lane: Waiting, hand: InHand, now: datetime) -> int:
    room = hand.width - hand.claimed
    if lane.probe_at is not None:
        return min(room, 1)
    if lane.rate_limit is not None:
        ahead = (now - max(lane.paced_to or now, now)).total_seconds() + PACE_TOLERANCE
        room = min(room, 1 + math.floor(ahead * lane.rate_limit + 1e-9))
    return room


def _shared(
    offers: list[tuple[Waiting, InHand, int]], *, free: int, free_slow: int
) -> list[tuple[Waiting, int]]:
    """Equal shares, what one does not need going to the others; the slow ones among them get no more than `free_slow`."""
    slow = _fair([(lane, room) for lane, hand, room in offers if hand.slow], min(free, free_slow))
    quick = _fair([(lane, room) for lane, hand, room in offers if not hand.slow], free)
    left = free - sum(count for _, count in quick)
    return quick + [(lane, count) for lane, count in _fair(slow, left) if count]


def _fair(wanted: list[tuple[Waiting, int]], free: int) -> list[tuple[Waiting, int]]:
    shares = []
    for position, (lane, room) in enumerate(sorted(wanted, key=lambda one: one[1])):
        # The last ones wait for their turn; which are last changes, as those that got something are wider next time.
        count = min(room, max(free, 0) // (len(wanted) - position) or min(free, 1))
        free -= count
        if count > 0:
            shares.append((lane, count))
    return shares


def _room(lane: Waiting, count: int, now: datetime) -> Room:
    if lane.rate_limit is None:
        return Room(lane.endpoint_id, count, probe=lane.probe_at is not None)
    paced_to = max(lane.paced_to or now, now) + timedelta(seconds=count / lane.rate_limit)
    return Room(lane.endpoint_id, count, probe=lane.probe_at is not None, paced_to=paced_to)
