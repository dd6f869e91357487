"""When the next good file is expected: from the gaps and weekdays of those before. Pure.

The expectation is made when a file has come and stands until the next one does, however long that takes.
"""

import math
from calendar import monthrange
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from services.notifier.analyses.cadence import LEAST_GOOD_DAYS, GoodDays, gaps_of

# Of four of five gaps a file was there by then: a hole now and then neither delays what is expected nor counts as usual.
USUAL_SHARE = 0.8
# A weekday with fewer files than this share of the busiest one's is one on which hardly any file ever came.
HARDLY_ANY_SHARE = 0.2
# Days from which on weekdays say something by themselves; fewer say it where half of them are of one weekday.
TELLING_DAYS = 10
# Files that are a month apart come within so many days of the month, as a weekend may move them.
MONTH_SPAN = 4
_LEAST_MONTH_GAP = 28 - MONTH_SPAN

Basis = Literal["weekday", "gaps", "month"]


@dataclass(frozen=True)
class Expectation:
    """When the next good file is expected at the latest.

    Attributes:
        gap: Days after the last one that it usually has come by.
        basis: What the gap is of: of files that followed one on the same weekday, of all, or of the days of the month.
        weekdays: On which files come: 1 is Monday.
    """

    day: date
    gap: int
    basis: Basis
    weekdays: tuple[int, ...]


def expected_after(good: GoodDays) -> Expectation | None:
    """When a file is expected after the last good one; None: there were too few to expect anything.

    Whoever sends from Monday to Friday is expected on Monday after a Friday; whoever sends every other Tuesday, on a
    Tuesday; whoever sends on the first of the month, then. Never on a weekday on which hardly any file ever came.
    """
    days = good.days
    if len(days) < LEAST_GOOD_DAYS:
        return None
    last, gaps, weekdays = days[-1], gaps_of(days), usual_weekdays(days)
    meant = _nearest(last, weekdays)
    following = [gap for day, gap in zip(days, gaps, strict=False) if day.weekday() == meant.weekday()]
    basis: Basis
    if _is_monthly(days, gaps):
        basis, wanted = "month", _next_month(last, _usual([day.day for day in days]))
    elif following:
        basis, wanted = "weekday", meant + timedelta(days=_usual(following))
    else:
        basis, wanted = "gaps", last + timedelta(days=_usual(gaps))
    wanted = max(wanted, last + timedelta(days=1))
    while wanted.isoweekday() not in weekdays:
        wanted += timedelta(days=1)
    return Expectation(wanted, (wanted - last).days, basis, weekdays)


def _nearest(day: date, weekdays: Sequence[int]) -> date:
    """The nearest day on one of `weekdays`: the one that was meant, by whoever came a day or two late or early."""
    away = (0, -1, 1, -2, 2, -3, 3)
    return next(near for days in away if (near := day + timedelta(days=days)).isoweekday() in weekdays)


def usual_weekdays(days: Sequence[date]) -> tuple[int, ...]:
    """The weekdays on which files come (1 is Monday); all of them, where there are too few files to tell."""
    counts = Counter(day.isoweekday() for day in days)
    busiest = max(counts.values(), default=0)
    of_one_weekday = busiest >= LEAST_GOOD_DAYS and busiest * 2 >= len(days)
    if len(days) < TELLING_DAYS and not of_one_weekday:
        return tuple(range(1, 8))
    return tuple(sorted(day for day, count in counts.items() if count >= busiest * HARDLY_ANY_SHARE))


def _usual(numbers: Sequence[int]) -> int:
    """The least number that `USUAL_SHARE` of `numbers` do not exceed."""
    return sorted(numbers)[math.ceil(len(numbers) * USUAL_SHARE) - 1]


def _is_monthly(days: Sequence[date], gaps: Sequence[int]) -> bool:
    of_month = [day.day for day in days]
    return min(gaps) >= _LEAST_MONTH_GAP and max(of_month) - min(of_month) <= MONTH_SPAN


def _next_month(last: date, day_of_month: int) -> date:
    year, month = (last.year + last.month // 12, last.month % 12 + 1)
    return date(year, month, min(day_of_month, monthrange(year, month)[1]))
