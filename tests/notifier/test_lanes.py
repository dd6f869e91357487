"""How the places of a process are shared out among endpoints."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.delivery.lanes import (
    LANE_CONNECTIONS,
    PLACES,
    SLOW_PLACES,
    InHand,
    Waiting,
    planned,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def lane(due=0.0, **more):
    return Waiting(uuid4(), NOW + timedelta(seconds=due), **more)


def counts(plan):
    return [room.count for room in plan.rooms]


def test_what_is_due_is_claimed_as_wide_as_its_lane_is():
    plan = planned([(lane(), InHand()), (lane(), InHand(claimed=7))], NOW, claimed=7, slow=0)
    assert sorted(counts(plan)) == [LANE_CONNECTIONS - 7, LANE_CONNECTIONS]


def test_what_is_due_later_wakes_it_then():
    plan = planned([(lane(3.0), InHand()), (lane(2.0), InHand())], NOW, claimed=0, slow=0)
    assert (plan.rooms, plan.wake_in) == ([], 2.0)


def test_an_open_circuit_waits_for_its_probe_which_is_one():
    soon = lane(failures=5, probe_at=NOW + timedelta(seconds=4))
    now = lane(failures=5, probe_at=NOW)
    plan = planned([(soon, InHand()), (now, InHand(slow=True))], NOW, claimed=0, slow=0)
    assert [(room.endpoint_id, room.count, room.probe) for room in plan.rooms] == [(now.endpoint_id, 1, True)]
    assert plan.wake_in == 4.0


def test_a_rate_limit_is_kept_however_often_it_is_asked():
    waiting, sent, now = lane(rate_limit=10), [], NOW
    while now < NOW + timedelta(seconds=5):
        plan = planned([(waiting, InHand())], now, claimed=0, slow=0)
        for room in plan.rooms:
            sent += [now] * room.count
            waiting = waiting._replace(paced_to=room.paced_to)
        now += timedelta(milliseconds=7)
    assert 49 <= len(sent) <= 51
    assert all(later - first >= timedelta(seconds=0.9) for first, later in zip(sent, sent[10:], strict=False))


def test_a_high_rate_limit_is_kept_by_what_is_claimed_together():
    waiting, sent, now = lane(rate_limit=500), 0, NOW
    while now < NOW + timedelta(seconds=2):
        plan = planned([(waiting, InHand(width=200))], now, claimed=0, slow=0)
        for room in plan.rooms:
            sent += room.count
            waiting = waiting._replace(paced_to=room.paced_to)
        now += timedelta(milliseconds=15)
    assert 980 <= sent <= 1020


def test_slow_endpoints_leave_half_of_the_places_to_the_others():
    many = [(lane(), InHand(slow=True)) for _ in range(PLACES)]
    plan = planned([*many, (lane(), InHand())], NOW, claimed=0, slow=0)
    assert sum(counts(plan)) == SLOW_PLACES + LANE_CONNECTIONS


hands = st.builds(InHand, claimed=st.integers(0, 30), width=st.integers(10, 200), slow=st.booleans())


@given(st.lists(hands, max_size=150), st.integers(0, PLACES))
def test_no_place_is_given_twice_and_none_is_kept_back(found, claimed):
    slow = min(claimed, SLOW_PLACES)
    waiting = [(lane(), hand) for hand in found]
    plan = planned(waiting, NOW, claimed=claimed, slow=slow)
    by_id = {one.endpoint_id: hand for one, hand in waiting}
    given_out = {room.endpoint_id: room.count for room in plan.rooms}
    assert len(given_out) == len(plan.rooms)
    assert sum(given_out.values()) <= PLACES - claimed
    for endpoint_id, count in given_out.items():
        assert 0 < count <= by_id[endpoint_id].width - by_id[endpoint_id].claimed
    taken_slow = sum(count for one, count in given_out.items() if by_id[one].slow)
    assert taken_slow <= SLOW_PLACES - slow
    wanted_quick = sum(max(hand.width - hand.claimed, 0) for hand in found if not hand.slow)
    assert sum(given_out.values()) - taken_slow == min(wanted_quick, PLACES - claimed)
