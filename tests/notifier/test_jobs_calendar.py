"""Which dates are due, in zones that change their clocks, and one that left out a day."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.jobs.calendar import (
    DAY,
    MAX_TRIES,
    RETRY_DELAYS,
    dates_due,
    due_at,
    latest_due,
    latest_over,
    retry_delay,
)

NAMES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Atlantic/Azores", "UTC")
zones = st.sampled_from([ZoneInfo(name) for name in NAMES])
times = st.times().map(lambda at: at.replace(second=0, microsecond=0, fold=0))
# Apia left out 30 December 2011; the Azores' clocks go from 1:00 back to midnight, and at midnight on to 1:00.
moments = st.one_of(
    st.floats(0, days, allow_nan=False).map(lambda days, first=first: first + days * DAY)
    for first, days in (
        (datetime(2011, 12, 27, tzinfo=UTC), 7),
        (datetime(2011, 1, 1, tzinfo=UTC), 7000),
    )
)


@pytest.mark.parametrize(
    ("zone", "logical_date", "at", "moment"),
    [
        ("Europe/Berlin", "2026-02-28", "06:00", "2026-03-01T05:00Z"),
        ("Europe/Berlin", "2026-07-31", "06:00", "2026-08-01T04:00Z"),
        ("Europe/Berlin", "2026-03-28", "02:30", "2026-03-29T01:30Z"),  # there is no 2:30 on that day
        ("Europe/Berlin", "2026-10-24", "02:30", "2026-10-25T00:30Z"),  # there are two: the first
        ("America/New_York", "2026-03-07", "02:30", "2026-03-08T07:30Z"),
        ("America/New_York", "2026-10-31", "01:30", "2026-11-01T05:30Z"),
        ("Asia/Kolkata", "2026-02-28", "00:00", "2026-02-28T18:30Z"),
        ("Pacific/Apia", "2011-12-28", "06:00", "2011-12-29T16:00Z"),
        ("Pacific/Apia", "2011-12-29", "06:00", "2011-12-30T16:00Z"),  # 30 December was left out
        ("Pacific/Apia", "2011-12-30", "06:00", "2011-12-30T16:00Z"),
        ("UTC", "2024-02-28", "00:00", "2024-02-29T00:00Z"),
    ],
)
def test_a_date_is_due_at_the_local_time_of_the_day_after(zone, logical_date, at, moment):
    due = due_at(date.fromisoformat(logical_date), time.fromisoformat(at), ZoneInfo(zone))
    assert due == datetime.fromisoformat(moment)


@given(moments, times, zones)
def test_the_latest_date_is_due_and_the_next_one_is_not(now, at, zone):
    latest = latest_due(now, at, zone)
    assert due_at(latest, at, zone) <= now < due_at(latest + DAY, at, zone)
    # In time; where the day after was left out, that day is two behind.
    assert (latest_over(now, zone) - latest).days in (0, 1, 2)


@given(moments, times, zones)
def test_no_date_is_due_before_it_is_over(now, at, zone):
    latest = latest_due(now, at, zone)
    assert latest <= latest_over(now, zone)
    assert now.astimezone(zone).date() > latest


@given(
    moments, st.lists(st.tuples(st.integers(1, 60 * 80), zones, times), min_size=1, max_size=30), st.data()
)
def test_each_date_has_its_turn_once_whatever_the_zone_is_set_to(now, looks, data):
    """Looks at any times, between which the zone and the time of day may be set anew."""
    most = data.draw(st.integers(10, 40))  # none of the pauses is longer
    had, scheduled = [], None
    for minutes, zone, at in looks:
        now += timedelta(minutes=minutes)
        latest = latest_due(now, at, zone)
        due = dates_due(latest, scheduled, most=most)
        had += due
        scheduled = max([*due, *([scheduled] if scheduled else [])])
        assert scheduled >= latest
    assert had == [had[0] + n * DAY for n in range(len(had))]


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(-3, 100), st.integers(1, 60))
def test_what_was_missed_is_made_up_for_the_oldest_first_up_to_a_limit(latest, missed, most):
    due = dates_due(latest, latest - missed * DAY, most=most)
    assert due == [latest - n * DAY for n in reversed(range(min(max(missed, 0), most)))]


def test_the_first_time_nothing_but_yesterday_is_due():
    assert dates_due(date(2026, 3, 1), None, most=31) == [date(2026, 3, 1)]


def test_what_fails_is_tried_again_later_and_later_for_about_a_day():
    delays = [retry_delay(tries) for tries in range(1, MAX_TRIES + 1)]
    assert delays == [*RETRY_DELAYS, None]
    assert list(RETRY_DELAYS) == sorted(RETRY_DELAYS)
    assert timedelta(hours=20) < sum(RETRY_DELAYS, timedelta()) < timedelta(days=1)
