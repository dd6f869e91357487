"""What becomes of a delivery after an attempt: done, again later, or given up. Pure."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from services.notifier.delivery.attempts import Attempt

MINUTE, HOUR = 60.0, 3600.0

# Seconds before each attempt, counted from the one before (Standard Webhooks 1.0, "Deliverability and reliability").
DELAYS = (0.0, 5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
MAX_TRIES = len(DELAYS)
JITTER = 0.2  # share by which a delay may differ, so that receivers that were down are not hit all at once
RETRY_AFTER_MOST = 10 * HOUR  # what a receiver asks for beyond that is not honoured

# So often one that others wait behind is tried before they go on without it: long enough for a receiver that is away
# for some minutes to get all in order, short enough that one message that it cannot take does not hold up an import.
HOLD_TRIES = 3

DeliveryStatus = Literal["pending", "succeeded", "failed", "skipped"]


@dataclass(frozen=True)
class Verdict:
    """The delivery's new state.

    Attributes:
        retry_in: Seconds until the next attempt, where `status` is pending.
        gone: The receiver said that it wants nothing more (410 Gone).
    """

    status: DeliveryStatus
    retry_in: float | None = None
    gone: bool = False


def verdict_after(
    tries: int,
    attempt: Attempt,
    *,
    once: bool = False,
    scale: float = 1.0,
    draw: Callable[[], float] = random.random,
) -> Verdict:
    """The verdict after the last of `tries` (≥ 1) attempts.

    Args:
        once: There is no other attempt (a test).
        scale: Factor on all delays.
        draw: Gives [0, 1).
    """
    if attempt.succeeded:
        return Verdict("succeeded")
    gone = attempt.response_status == HTTPStatus.GONE
    if gone or once or tries >= MAX_TRIES:
        return Verdict("failed", gone=gone)
    asked_for = min(attempt.retry_after or 0.0, RETRY_AFTER_MOST)
    return Verdict("pending", retry_in=max(jittered(DELAYS[tries], draw), asked_for) * scale)


def jittered(seconds: float, draw: Callable[[], float] = random.random) -> float:
    """`seconds`, up to a fifth more or less."""
    return seconds * (1 + JITTER * (2 * draw() - 1))
