"""When a failed message is tried again. Pure: a decision is a number of seconds, or None for never."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with jitter.

    Attributes:
        first_delay: Seconds before the second attempt.
        factor: Each further delay is this many times the one before.
        max_delay: Seconds; no delay is longer, jitter included.
        max_attempts: After this many failed attempts the message is dead.
        jitter: Share by which a delay may differ from the rule, up or down.
    """

    first_delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 300.0
    max_attempts: int = 10
    jitter: float = 0.2

    def delay_after(self, attempts: int, *, draw: Callable[[], float] = random.random) -> float | None:
        """Seconds to wait after `attempts` (≥ 1) failed ones; None when that was the last. `draw` gives [0, 1)."""
        if attempts >= self.max_attempts:
            return None
        delay = min(self.first_delay * self.factor ** min(attempts - 1, 64), self.max_delay)
        return min(delay * (1 + self.jitter * (2 * draw() - 1)), self.max_delay)


FOREVER = RetryPolicy(first_delay=0.5, max_delay=5.0, max_attempts=2**31)
