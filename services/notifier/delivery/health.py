"""How an endpoint does: its circuit breaker, when its owner is warned, when it is disabled. Pure.

    closed ──── 5 failures in a row ───► open: nothing is sent
      ▲                                    │ 5 s, 10 s, … 5 min
      └── it succeeds ── half-open: one attempt is sent ── it fails ──► open, for twice as long

A probe is an attempt of a delivery that is due by its own schedule, so that an open circuit only ever saves attempts.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Literal

from services.notifier.delivery.attempts import Attempt
from services.notifier.delivery.schedule import jittered

FAILURES_TO_OPEN = 5
FIRST_OPEN_SECONDS, MOST_OPEN_SECONDS = 5.0, 300.0

DISABLED_AFTER = timedelta(days=5)
WARN_AT = (50, 70, 90)  # percent of that
# Longer than the longest delay of the retry schedule: failures further apart than this are not the same streak, as in
# between nothing was tried that might have succeeded.
STREAK_BREAKS_AFTER = timedelta(hours=36)

# Statuses whose Retry-After speaks for all of the endpoint (RFC 6585, section 4; RFC 9110, section 15.6.4).
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(frozen=True)
class Health:
    """What is known of an endpoint; as it is here it is well.

    Attributes:
        failures: In a row, since the last success.
        failing_since: The first of them.
        warned_percent: The last warning that its owner was sent.
        opened: How often in a row the circuit was opened.
        probe_at: The circuit is open, and from then on one attempt may tell whether it may close.
    """

    failures: int = 0
    failing_since: datetime | None = None
    last_failure_at: datetime | None = None
    warned_percent: int = 0
    opened: int = 0
    probe_at: datetime | None = None


@dataclass(frozen=True)
class Outcome:
    """An attempt, as far as it says something of its endpoint. `probe` as in `Claimed`."""

    attempt: Attempt
    probe: bool = False


@dataclass(frozen=True)
class Judged:
    """What follows from some attempts.

    Attributes:
        warning: Percent of the time to its end at which its owner is to be warned now.
        disabled: Why it is disabled now.
        last: The last attempt that failed.
    """

    health: Health
    warning: int | None = None
    disabled: Literal["gone", "failing"] | None = None
    last: Attempt | None = None


def judged(
    health: Health,
    outcomes: Iterable[Outcome],
    now: datetime,
    *,
    scale: float = 1.0,
    draw: Callable[[], float] = random.random,
) -> Judged:
    """An endpoint's health after `outcomes`, in the order in which they ended.

    Args:
        scale: Factor on the time that a circuit stays open.
        draw: Gives [0, 1).
    """
    last: Attempt | None = None
    for outcome in outcomes:
        if outcome.attempt.succeeded:
            health, last = Health(), None
            continue
        last = outcome.attempt
        health = _failed(health, outcome, now, scale, draw)
        if last.response_status == HTTPStatus.GONE:
            return Judged(health, disabled="gone", last=last)
    return _warned(health, last, now)


def _failed(
    health: Health, outcome: Outcome, now: datetime, scale: float, draw: Callable[[], float]
) -> Health:
    silent = health.last_failure_at is not None and now - health.last_failure_at > STREAK_BREAKS_AFTER
    if silent or health.failing_since is None:
        health = replace(health, failures=0, failing_since=now, warned_percent=0)
    health = replace(health, failures=health.failures + 1, last_failure_at=now)
    if outcome.probe or (health.probe_at is None and health.failures >= FAILURES_TO_OPEN):
        seconds = min(FIRST_OPEN_SECONDS * 2 ** min(health.opened, 16), MOST_OPEN_SECONDS)
        opens_for = timedelta(seconds=jittered(seconds, draw) * scale)
        health = replace(health, opened=health.opened + 1, probe_at=now + opens_for)
    return _paused(health, outcome.attempt, now, scale)


def _paused(health: Health, attempt: Attempt, now: datetime, scale: float) -> Health:
    """What a receiver asks for that is too busy for anything: at most five minutes, as it asks in one answer for all."""
    if attempt.retry_after is None or attempt.response_status not in _BUSY:
        return health
    until = now + timedelta(seconds=min(attempt.retry_after, MOST_OPEN_SECONDS) * scale)
    return replace(health, probe_at=max(until, health.probe_at or until))


def _warned(health: Health, last: Attempt | None, now: datetime) -> Judged:
    if health.failing_since is None or last is None:
        return Judged(health)
    share = (now - health.failing_since) / DISABLED_AFTER
    if share >= 1:
        return Judged(health, disabled="failing", last=last)
    reached = max((percent for percent in WARN_AT if share * 100 >= percent), default=0)
    if reached <= health.warned_percent:
        return Judged(health, last=last)
    return Judged(replace(health, warned_percent=reached), warning=reached, last=last)
