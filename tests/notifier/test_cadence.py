"""How regularly a supplier's files come, and when the next one is expected."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.analyses.cadence import GoodDays, cadence_of
from services.notifier.analyses.expectation import HARDLY_ANY_SHARE, expected_after, usual_weekdays
from services.notifier.analyses.thresholds import Thresholds

THRESHOLDS = Thresholds()
MONDAY = date(2026, 3, 2)


def after(days, begin=MONDAY):
    return [begin + timedelta(days=number) for number in days]


def good(days, first=None):
    return GoodDays(first or (days[0] if days else None), days)


def bucket(days, silent, first=None):
    day = days[-1] + timedelta(days=silent) if days else MONDAY
    return cadence_of(good(days, first), day, THRESHOLDS).bucket


@pytest.mark.parametrize(
    ("days", "silent", "expected", "why"),
    [
        ([], 0, "new", "no file ever"),
        ([0], 27, "new", "one file"),
        ([0, 20], 7, "new", "two files"),
        (range(14), 0, "new", "the first one was 13 days ago"),
        (range(15), 0, "consistent", "the first one was 14 days ago"),
        ([0], 28, "dead", "silent for 28 days, new or not"),
        (range(100), 27, "consistent", "silent for 27 days"),
        (range(100), 28, "dead", "silent for 28 days"),
        (range(100), 500, "dead", "it fell out of the window"),
        ([0, 7, 14, 21, 28], 0, "consistent", "spread 0"),
        ([0, 1, 4, 5, 8, 9, 12, 13, 16], 0, "consistent", "gaps 1 and 3: median 2, spread 1"),
        ([*range(0, 20, 2), 44], 0, "consistent", "one gap of 26 in ten, however long it was"),
        ([0, 1, 2, 12, 13, 14, 24, 25, 26], 0, "inconsistent", "two gaps of 10 in eight"),
    ],
)
def test_buckets(days, silent, expected, why):
    assert bucket(after(days), silent) == expected, why


def test_who_was_seen_long_ago_and_hardly_since_is_not_new():
    assert bucket(after([0, 20]), 3, first=MONDAY - timedelta(days=300)) == "inconsistent"


def test_the_numbers_of_a_cadence():
    days = after([0, 1, 2, 5, 6])
    cadence = cadence_of(good(days), days[-1] + timedelta(days=2), THRESHOLDS)
    assert (cadence.good_days, cadence.median_gap, cadence.days_since) == (5, 1, 2)
    assert cadence.spread == pytest.approx(0.8660, abs=1e-4)  # of the gaps 1, 1, 3, 1
    assert cadence.long_gaps == 0.25


def test_only_the_window_counts():
    days = after([0, *range(200, 230)])
    cadence = cadence_of(good(days), days[-1], THRESHOLDS)
    assert (cadence.good_days, cadence.spread) == (30, 0)


WEDNESDAY = MONDAY + timedelta(days=2)
WORKDAYS = [number for number in range(80) if number % 7 < 5]


@pytest.mark.parametrize(
    ("days", "expected", "why"),
    [
        ([0, 1], None, "two days tell nothing"),
        (range(20), 20, "daily"),
        (WORKDAYS[:25], 35, "on workdays: after a Friday comes a Monday"),
        (WORKDAYS[:23], 31, "and after a Wednesday a Thursday"),
        ([*WORKDAYS[:20], 26], 28, "a lone Saturday changes nothing: Monday is next"),
        (range(0, 70, 7), 70, "weekly"),
        ([*range(0, 70, 7), 72], 77, "weekly, the last one two days late: the next one is on its weekday again"),
        (range(0, 84, 14), 84, "every other week"),
        ([0, 2, 4, 7, 9, 11, 14, 16, 18, 21], 23, "Monday, Wednesday, Friday: after a Monday comes a Wednesday"),
        ([0, 2, 4, 7, 9, 11, 14, 16, 18], 21, "and after a Friday a Monday"),
        ([*range(0, 30, 7), *range(42, 70, 7)], 70, "weekly, one was left out"),
        (range(0, 140, 28), 140, "every four weeks is not every month"),
    ],
)  # fmt: skip
def test_the_next_file_is_expected(days, expected, why):
    found = expected_after(good(after(days)))
    assert (found and (found.day - MONDAY).days) == expected, why


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (["2026-01-01", "2026-02-01", "2026-03-01", "2026-05-01"], "2026-06-01"),
        (["2026-08-15", "2026-09-15", "2026-10-15", "2026-11-15", "2026-12-15"], "2027-01-15"),
        (["2026-10-31", "2026-11-30", "2026-12-31", "2027-01-31"], "2027-02-28"),
        (["2026-06-01", "2026-07-01", "2026-08-03", "2026-09-01", "2026-10-01"], "2026-11-01"),
    ],
    ids=["the first, once left out", "the fifteenth", "the last", "the first workday"],
)
def test_monthly_files_are_expected_on_their_day_of_the_month(days, expected):
    found = expected_after(good([date.fromisoformat(day) for day in days]))
    assert found is not None
    assert found.day.isoformat() == expected


CALENDARS = {
    "daily": lambda day: True,
    "workdays": lambda day: day.isoweekday() <= 5,
    "weekly": lambda day: day.isoweekday() == 4,
    "biweekly": lambda day: day.toordinal() % 14 == 9,
    "Tuesday and Friday": lambda day: day.isoweekday() in {2, 5},
    "month-start": lambda day: day.day == 1,
}


@given(
    calendar=st.sampled_from(sorted(CALENDARS)),
    begin=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    # Of the files in a row, which one of each seven did not come; and how many of the last ones are not there yet.
    left_out=st.lists(st.integers(0, 6), min_size=30, max_size=30),
    not_yet=st.integers(0, 9),
)
def test_a_regular_supplier_is_expected_when_it_comes_next(calendar, begin, left_out, not_yet):
    comes = CALENDARS[calendar]
    regular = [day for day in after(range(180), begin) if comes(day)]
    there = [day for number, day in enumerate(regular) if number % 7 != left_out[number // 7] or number < 2]
    days = there[: len(there) - min(not_yet, len(there) - 5)]
    found = expected_after(good(days))
    assert found is not None
    following = days[-1] + timedelta(days=1)
    while not comes(following):
        following += timedelta(days=1)
    assert found.day >= following
    # A hole just on this weekday may allow for one regular file more, never for two.
    assert sum(comes(following + timedelta(days=n)) for n in range((found.day - following).days + 1)) <= 2
    assert comes(found.day)


@given(st.lists(st.integers(0, 179), min_size=3, max_size=180, unique=True).map(sorted))
def test_nothing_is_expected_on_a_weekday_on_which_hardly_any_file_came(numbers):
    days = after(numbers)
    found = expected_after(good(days))
    assert found is not None
    assert found.day > days[-1]
    assert found.day.isoweekday() in usual_weekdays(days)
    if len(days) >= 10:
        of_weekday = [sum(day.weekday() == weekday for day in days) for weekday in range(7)]
        assert of_weekday[found.day.weekday()] >= HARDLY_ANY_SHARE * max(of_weekday)
