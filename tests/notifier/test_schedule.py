"""What follows from an attempt, as a table."""

import pytest

from services.notifier.schedule import MAX_ATTEMPTS, Verdict, verdict_after

HOUR = 3600


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [
        (1, 5),
        (2, 5 * 60),
        (3, 30 * 60),
        (4, 2 * HOUR),
        (5, 5 * HOUR),
        (6, 10 * HOUR),
        (7, 14 * HOUR),
        (8, 20 * HOUR),
        (9, 24 * HOUR),
    ],
)
def test_delay_after_each_failed_attempt(attempts, seconds):
    middle, shortest, longest = (
        verdict_after(attempts, 500, draw=lambda value=value: value).retry_in for value in (0.5, 0.0, 1.0)
    )
    assert (middle, shortest, longest) == pytest.approx((seconds, 0.8 * seconds, 1.2 * seconds))


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict("succeeded")),
        (204, Verdict("succeeded")),
        (299, Verdict("succeeded")),
        (410, Verdict("failed", disables_endpoint=True)),
    ],
)
def test_answers_that_end_a_delivery(status, verdict):
    assert verdict_after(1, status) == verdict


@pytest.mark.parametrize("status", [None, 199, 301, 302, 307, 400, 404, 429, 500, 503])
def test_answers_that_are_tried_again(status):
    assert verdict_after(1, status).status == "pending"
    assert verdict_after(MAX_ATTEMPTS, status) == Verdict("failed")


def test_success_counts_on_the_last_attempt_too():
    assert verdict_after(MAX_ATTEMPTS, 200) == Verdict("succeeded")


def test_the_scale_shortens_every_delay():
    assert verdict_after(9, None, scale=0.001, draw=lambda: 0.5).retry_in == pytest.approx(86.4)
