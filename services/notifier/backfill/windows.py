"""Which times are read. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

# A row of later than this is left until its time has come: one wrong clock must not move the watermark past all others.
AHEAD = timedelta(minutes=5)


@dataclass(frozen=True)
class Window:
    """From `since` (None: from the first row) until before `until`."""

    since: datetime | None
    until: datetime


def windows(
    since: datetime | None,
    logical_date: date,
    *,
    zone: ZoneInfo,
    now: datetime,
    kept_since: datetime | None = None,
) -> Sequence[Window]:
    """What a run for `logical_date` reads, in order of time.

    All from `since` on (None: from the first row), whatever the date: so runs that catch up find nothing left to do. Of the
    logical date as well what is before: who asks for it by hand wants it looked at again, but for what is before
    `kept_since`.
    """
    until = now + AHEAD
    if since is None:
        return [Window(None, until)]
    begins, ends = start_of(logical_date, zone), start_of(logical_date + timedelta(days=1), zone)
    begins, ends = max(begins, kept_since or begins), min(ends, since)
    again = [Window(begins, ends)] if begins < ends else []
    return [*again, Window(since, until)]


def read_again_from(last: datetime, overlap: timedelta, kept_since: datetime) -> datetime:
    """From when on a run reads which follows one whose last row was of `last`.

    Args:
        kept_since: Events from then on are all kept. Others may have been forgotten, and would count again.
    """
    return max(last - overlap, min(last, kept_since))


def start_of(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)
