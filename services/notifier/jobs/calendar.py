"""When: which logical dates are due, and when one that failed is tried again. Pure.

A logical date is the day that a run is about, and it is due on the day after. A day that a zone left out (Apia went from
29 to 31 December 2011) is due together with the one before; nothing is due twice, whatever a zone does.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

DAY = timedelta(days=1)

# Before each attempt but the first, counted from the end of the one before: 23 h 21 min in all, so that a source which is
# away over night is met again, and one which stays away is told of within a day.
RETRY_DELAYS = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(hours=6),
    timedelta(hours=12),
)
MAX_TRIES = len(RETRY_DELAYS) + 1


def due_at(logical_date: date, at: time, zone: tzinfo) -> datetime:
    """The moment, in UTC, at which a date is due.

    A local time that there is twice is the first of the two; one that a zone leaves out is as much later as it leaves out.
    """
    return datetime.combine(logical_date + DAY, at, tzinfo=zone).astimezone(UTC)


def latest_due(now: datetime, at: time, zone: tzinfo) -> date:
    """The latest logical date that is due at `now`."""
    latest = now.astimezone(zone).date()  # no earlier than the one looked for: its day after has begun
    while due_at(latest, at, zone) > now:
        latest -= DAY
    return latest


def latest_over(now: datetime, zone: tzinfo) -> date:
    """Yesterday: the latest day that is over."""
    return now.astimezone(zone).date() - DAY


def dates_due(latest: date, scheduled: date | None, *, most: int) -> Sequence[date]:
    """The dates whose turn it is, the oldest first, and no more than the `most` latest of them.

    Args:
        latest: The latest date that is due.
        scheduled: The latest one whose turn it was; None: it is the first time, and only `latest` is looked back to.
    """
    first = latest if scheduled is None else max(scheduled + DAY, latest - (most - 1) * DAY)
    return [first + days * DAY for days in range((latest - first).days + 1)]


def retry_delay(tries: int) -> timedelta | None:
    """How long to wait after `tries` (≥ 1) failed attempts; None: that was the last one."""
    return RETRY_DELAYS[tries - 1] if tries < MAX_TRIES else None
