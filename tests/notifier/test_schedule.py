"""What becomes of a delivery after each attempt."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.delivery.attempts import Attempt
from services.notifier.delivery.schedule import (
    JITTER,
    MAX_TRIES,
    RETRY_AFTER_MOST,
    Verdict,
    verdict_after,
)

# Before attempts 2 to 10, in seconds, as the contract has them.
WAITS = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600]


def answered(status, **more):
    return Attempt(datetime(2026, 3, 1, tzinfo=UTC), 12, status, **more)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_two_hundreds_are_success(status):
    assert verdict_after(1, answered(status)) == Verdict("succeeded")


@pytest.mark.parametrize("status", [None, 100, 199, 301, 302, 307, 400, 404, 429, 500, 503])
def test_anything_else_is_tried_again_on_schedule(status):
    for tries, wait in enumerate(WAITS, start=1):
        verdict = verdict_after(tries, answered(status), draw=lambda: 0.5)
        assert verdict == Verdict("pending", retry_in=wait)


@given(st.integers(1, MAX_TRIES - 1), st.floats(0, 1, exclude_max=True))
def test_the_jitter_is_a_fifth_at_most(tries, drawn):
    wait = WAITS[tries - 1]
    retry_in = verdict_after(tries, answered(500), draw=lambda: drawn).retry_in
    assert wait * (1 - JITTER) <= retry_in <= wait * (1 + JITTER)


@pytest.mark.parametrize("status", [None, 302, 404, 500])
def test_the_tenth_attempt_is_the_last(status):
    assert verdict_after(10, answered(status)) == Verdict("failed")


def test_gone_is_final_and_told():
    assert verdict_after(1, answered(410)) == Verdict("failed", gone=True)


def test_a_test_has_one_attempt():
    assert verdict_after(1, answered(500), once=True) == Verdict("failed")
    assert verdict_after(1, answered(200), once=True) == Verdict("succeeded")


@given(st.floats(0, 1e9), st.integers(1, MAX_TRIES - 1))
def test_what_a_receiver_asks_for_is_waited_for_up_to_ten_hours(seconds, tries):
    verdict = verdict_after(tries, answered(503, retry_after=seconds), draw=lambda: 0.5)
    assert verdict.retry_in == max(WAITS[tries - 1], min(seconds, RETRY_AFTER_MOST))


def test_a_scale_shortens_all_delays():
    assert verdict_after(3, answered(500), scale=0.001, draw=lambda: 0.5).retry_in == pytest.approx(1.8)
