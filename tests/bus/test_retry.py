"""The retry policy, as a table."""

import inspect

import pytest
from faststream_outbox.subscriber import usecase
from hypothesis import given
from hypothesis import strategies as st

from shared.platform.bus import RetryPolicy, settling


@pytest.mark.parametrize(
    ("attempts", "delay"),
    [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (9, 60.0), (10, None), (11, None)],
    ids=["first", "doubled", "again", "later", "at the cap", "that was the last", "beyond"],
)
def test_delays(attempts, delay):
    policy = RetryPolicy(first_delay=1, factor=2, max_delay=60, max_attempts=10, jitter=0)
    assert policy.delay_after(attempts) == delay


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_a_delay_never_leaves_its_bounds(attempts, drawn):
    policy = RetryPolicy(first_delay=0.5, max_delay=300, max_attempts=2**31, jitter=0.2)
    delay = policy.delay_after(attempts, draw=lambda: drawn)
    assert 0.4 <= delay <= 300


def test_the_pause_that_is_shortened_is_the_one_that_the_library_makes():
    """Its name is not public: another version may have another one, and setting this would change nothing."""
    assert settling.usecase is usecase
    assert "sleep(_compute_backoff(error_attempt, _BACKOFF_MAX_SECONDS))" in inspect.getsource(usecase)
