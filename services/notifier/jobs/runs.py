"""Runs of jobs: what is claimed, how an attempt at it ended, which to list. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

Status = Literal["pending", "running", "succeeded", "failed"]


@dataclass(frozen=True)
class Claimed:
    """A run under way.

    Attributes:
        attempt: Its number, over all rounds.
        tries: Attempts of this round, with this one.
    """

    tenant: str
    job: str
    logical_date: date
    attempt: int
    tries: int


@dataclass(frozen=True)
class Ending:
    """How an attempt ended, and what becomes of the run.

    Attributes:
        retry_in: From now, where the run is pending.
        counts: Whether the attempt is one of those that the schedule of retries has.
    """

    status: Literal["pending", "succeeded", "failed"]
    error: str | None = None
    result: Mapping[str, Any] | None = None
    retry_in: timedelta | None = None
    counts: bool = True


@dataclass(frozen=True)
class Filters:
    """Which runs to list. `statuses`: with one of these, or none with any; from the date `since` on and before `until`."""

    statuses: frozenset[Status] = frozenset()
    since: date | None = None
    until: date | None = None
