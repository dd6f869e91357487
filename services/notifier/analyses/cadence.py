"""How regularly a supplier's good files come. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from statistics import median, pstdev
from typing import Literal, get_args

from services.notifier.analyses.thresholds import Thresholds

Bucket = Literal["new", "consistent", "inconsistent", "dead"]
BUCKETS: tuple[Bucket, ...] = get_args(Bucket)

LEAST_GOOD_DAYS = 3  # two gaps: with one there is nothing to compare it with


@dataclass(frozen=True)
class GoodDays:
    """The days on which a supplier sent a good file, up to the day that is looked at.

    Attributes:
        first: The first one ever; None: there is none.
        days: Those of the window that ends with the last one ever, in order.
    """

    first: date | None = None
    days: Sequence[date] = ()

    @property
    def last(self) -> date | None:
        return self.days[-1] if self.days else None


@dataclass(frozen=True)
class Cadence:
    """How regular the files of the window were that ends with the day looked at.

    Attributes:
        good_days: Days with a good file.
        median_gap: Days from one to the next; None: there are not two.
        spread: Standard deviation of these gaps (of the population), in days.
        long_gaps: Share of gaps that are longer than `long_gap_ratio` medians.
        days_since: Days since the last good file ever; None: there is none.
    """

    bucket: Bucket
    good_days: int
    median_gap: float | None
    spread: float | None
    long_gaps: float | None
    days_since: int | None


def cadence_of(good: GoodDays, day: date, thresholds: Thresholds) -> Cadence:
    """The cadence as of the end of `day`.

    `dead`: silent for `dead_days`, however long ago. `new`: not dead, and its first good file is fewer than `new_days` ago,
    or it has sent on fewer than three days ever. Else `consistent`, where the spread of the gaps is at most `spread_ratio`
    medians, or fewer than `long_gap_share` of them are long ones; and `inconsistent`, also where too few days of the
    window are left to tell.
    """
    begin = day - timedelta(days=thresholds.window_days)
    recent = [one for one in good.days if one > begin]
    gaps = gaps_of(recent)
    middle = median(gaps) if gaps else None
    spread = pstdev(gaps) if gaps else None
    long_gaps = _share_beyond(gaps, middle * thresholds.long_gap_ratio) if middle is not None else None
    days_since = (day - good.last).days if good.last else None
    bucket: Bucket
    if days_since is not None and days_since >= thresholds.dead_days:
        bucket = "dead"
    elif _is_new(good, day, thresholds):
        bucket = "new"
    elif len(recent) >= LEAST_GOOD_DAYS and _is_consistent(middle, spread, long_gaps, thresholds):
        bucket = "consistent"
    else:
        bucket = "inconsistent"
    return Cadence(bucket, len(recent), middle, spread, long_gaps, days_since)


def gaps_of(days: Sequence[date]) -> list[int]:
    """Days from each of `days`, which are in order, to the next."""
    return [(later - earlier).days for earlier, later in pairwise(days)]


def _is_new(good: GoodDays, day: date, thresholds: Thresholds) -> bool:
    if good.first is None or (day - good.first).days < thresholds.new_days:
        return True
    return len(good.days) < LEAST_GOOD_DAYS and good.first == good.days[0]


def _share_beyond(gaps: Sequence[int], limit: float) -> float:
    return sum(gap > limit for gap in gaps) / len(gaps)


def _is_consistent(
    middle: float | None, spread: float | None, long_gaps: float | None, thresholds: Thresholds
) -> bool:
    if middle is None or spread is None or long_gaps is None:
        return False
    return spread <= thresholds.spread_ratio * middle or long_gaps < thresholds.long_gap_share
