"""The lane of one endpoint in a process."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.notifier.delivery import in_hand
from services.notifier.delivery.attempts import Attempt
from services.notifier.delivery.health import FAILURES_TO_OPEN
from services.notifier.delivery.in_hand import BEGIN_WITHIN, SLOW_MS, WIDTH_SECONDS, Lane
from services.notifier.delivery.lanes import (
    LANE_CONNECTIONS,
    LANE_MOST,
    SLOW_PLACES,
    Waiting,
    planned,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
QUICK, SLOW, FAILED = Attempt(NOW, 5, 204), Attempt(NOW, SLOW_MS, 204), Attempt(NOW, 5, 500)


@pytest.fixture
def clock(monkeypatch):
    """The seconds that have gone by."""
    seconds = [1000.0]
    monkeypatch.setattr(in_hand.time, "monotonic", lambda: seconds[0])
    return seconds


def lane_of(count):
    lane = Lane()
    lane.add(range(count))
    return lane


def test_so_many_go_at_once_and_the_next_when_one_has_ended():
    lane = lane_of(LANE_CONNECTIONS + 2)
    assert [lane.next() for _ in range(LANE_CONNECTIONS + 1)] == [*range(LANE_CONNECTIONS), None]
    lane.ended(QUICK)
    assert (lane.next(), lane.next()) == (LANE_CONNECTIONS, None)


def test_what_waits_is_given_back_when_the_endpoint_only_fails():
    lane = lane_of(LANE_CONNECTIONS + 2)
    for nth in range(FAILURES_TO_OPEN):
        assert lane.hopeless() == [], nth
        lane.next()
        lane.ended(FAILED)
    assert lane.hopeless() == [*range(FAILURES_TO_OPEN, LANE_CONNECTIONS + 2)]
    assert lane.next() is None


def test_what_waits_for_so_long_that_its_lease_may_end_is_given_back(clock):
    lane = lane_of(2)
    clock[0] += BEGIN_WITHIN + 1
    lane.add([2])
    assert lane.hopeless() == [0, 1]
    assert lane.next() == 2


def test_a_lane_is_as_wide_as_its_endpoint_is_fast(clock):
    lane = lane_of(0)
    assert lane.in_hand.width == LANE_CONNECTIONS
    for _ in range(LANE_MOST + 50):
        lane.ended(QUICK)
    assert lane.in_hand.width == LANE_MOST
    clock[0] += WIDTH_SECONDS + 0.1
    assert lane.in_hand.width == LANE_CONNECTIONS


def test_it_is_slow_until_it_has_been_quick_and_whenever_it_is_not():
    lane, found = lane_of(0), []
    for attempt in (None, QUICK, SLOW, QUICK, FAILED, QUICK):
        if attempt is not None:
            lane.ended(attempt)
        found.append(lane.in_hand.slow)
    assert found == [True, False, True, False, True, False]


def test_hundreds_that_nobody_knows_leave_room_for_one_that_is_quick():
    quick, unknown = lane_of(0), [(Waiting(uuid4(), NOW), Lane().in_hand) for _ in range(200)]
    quick.ended(QUICK)
    first = planned(unknown, NOW, claimed=0, slow=0)
    taken = sum(room.count for room in first.rooms)
    assert taken == SLOW_PLACES
    known = Waiting(uuid4(), NOW)
    then = planned([*unknown, (known, quick.in_hand)], NOW + timedelta(seconds=1), claimed=taken, slow=taken)
    assert {room.endpoint_id: room.count for room in then.rooms} == {known.endpoint_id: LANE_CONNECTIONS}
