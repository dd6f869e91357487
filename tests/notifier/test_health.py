"""The circuit breaker, the warnings and the end of an endpoint."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.delivery.attempts import Attempt
from services.notifier.delivery.health import (
    DISABLED_AFTER,
    FAILURES_TO_OPEN,
    MOST_OPEN_SECONDS,
    WARN_AT,
    Health,
    Outcome,
    judged,
)

START = datetime(2026, 3, 1, tzinfo=UTC)


def outcome(status=500, *, probe=False, retry_after=None):
    return Outcome(Attempt(START, 12, status, retry_after=retry_after), probe)


def after(health, *outcomes, at=START):
    return judged(health, outcomes, at, draw=lambda: 0.5)


def opened():
    return after(Health(), *[outcome()] * FAILURES_TO_OPEN).health


def test_it_opens_after_some_failures_in_a_row():
    closed = after(Health(), *[outcome()] * (FAILURES_TO_OPEN - 1)).health
    assert closed.probe_at is None
    health = after(closed, outcome()).health
    assert (health.opened, health.probe_at) == (1, START + timedelta(seconds=5))


def test_one_success_in_between_keeps_it_closed():
    some = [outcome()] * (FAILURES_TO_OPEN - 1)
    assert after(Health(), *some, outcome(204), *some).health.probe_at is None


def test_failures_that_were_under_way_do_not_open_it_further():
    health = opened()
    later = after(health, *[outcome()] * 20).health
    assert (later.opened, later.probe_at) == (1, health.probe_at)


def test_a_probe_that_fails_opens_it_for_twice_as_long():
    health, seconds = opened(), []
    for _ in range(8):
        health = after(health, outcome(probe=True)).health
        seconds.append((health.probe_at - START).total_seconds())
    assert seconds == [10, 20, 40, 80, 160, 300, 300, MOST_OPEN_SECONDS]


def test_a_success_makes_it_well():
    assert after(opened(), outcome(200, probe=True)) == judged(Health(), [], START)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_receiver_is_left_alone_as_it_asks(status):
    health = after(Health(), outcome(status, retry_after=30)).health
    assert health.probe_at == START + timedelta(seconds=30)
    long = after(Health(), outcome(status, retry_after=36000)).health
    assert long.probe_at == START + timedelta(seconds=MOST_OPEN_SECONDS)


def test_what_a_busy_receiver_asks_for_makes_no_pause_shorter():
    health = opened()
    assert after(health, outcome(503, retry_after=1)).health.probe_at == health.probe_at


def test_another_failure_speaks_for_its_delivery_only():
    assert after(Health(), outcome(500, retry_after=30)).health.probe_at is None


def test_gone_ends_it_at_once():
    verdict = after(Health(), outcome(410), outcome(200))
    assert verdict.disabled == "gone"
    assert verdict.last.response_status == 410


def test_its_owner_is_warned_at_each_mark_once_and_then_it_is_disabled():
    health, told, now = Health(), [], START
    while now <= START + DISABLED_AFTER:
        verdict = after(health, outcome(), at=now)
        health = verdict.health
        if verdict.warning or verdict.disabled:
            told.append((round((now - START) / DISABLED_AFTER * 100), verdict.warning or verdict.disabled))
        now += timedelta(hours=1)
    assert told == [*[(percent, percent) for percent in WARN_AT], (100, "failing")]


def test_what_says_nothing_of_it_uses_no_warning_up():
    failing, late = after(Health(), outcome()).health, START + DISABLED_AFTER * 0.55
    failing = after(failing, outcome(), at=START + timedelta(hours=35)).health
    silent = after(failing, at=late)
    assert (silent.health, silent.warning, silent.disabled) == (failing, None, None)
    assert after(silent.health, outcome(), at=late).warning == 50


def test_failures_far_apart_are_no_streak():
    health = after(Health(), outcome()).health
    verdict = after(health, outcome(), at=START + timedelta(days=6))
    assert verdict.disabled is None
    assert verdict.health.failing_since == START + timedelta(days=6)
    assert verdict.health.failures == 1


@given(
    st.lists(
        st.tuples(st.sampled_from([200, 410, 500, 503, None]), st.booleans(), st.integers(0, 200_000)),
        max_size=60,
    )
)
def test_whatever_happens_it_stays_sensible(steps):
    health, now, since = Health(), START, None
    for status, probe, seconds in steps:
        now += timedelta(seconds=seconds)
        verdict = after(health, outcome(status, probe=probe), at=now)
        if status == 200:
            assert verdict.health == Health()
            since = None
        else:
            since = since or now
            assert verdict.health.failures >= 1
            assert since <= verdict.health.failing_since <= now
            if verdict.disabled == "failing":
                assert now - verdict.health.failing_since >= DISABLED_AFTER
        if verdict.health.probe_at is not None:
            assert verdict.health.probe_at <= now + timedelta(seconds=MOST_OPEN_SECONDS * 1.2)
        health = verdict.health
