"""What becomes of a delivery after an attempt: done, again later, or given up. Pure."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

MINUTE, HOUR = 60.0, 3600.0

# Seconds before each attempt, counted from the one before (Standard Webhooks 1.0, "Deliverability and reliability").
DELAYS = (0.0, 5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
MAX_ATTEMPTS = len(DELAYS)
JITTER = 0.2  # share by which a delay may differ, so that receivers that were down are not hit all at once

DeliveryStatus = Literal["pending", "succeeded", "failed"]


@dataclass(frozen=True)
class Verdict:
    """The delivery's new state.

    Attributes:
        retry_in: Seconds until the next attempt, where `status` is pending.
        disables_endpoint: The receiver said that it wants nothing more (410 Gone).
    """

    status: DeliveryStatus
    retry_in: float | None = None
    disables_endpoint: bool = False


def verdict_after(
    attempts: int,
    response_status: int | None,
    *,
    scale: float = 1.0,
    draw: Callable[[], float] = random.random,
) -> Verdict:
    """The verdict after `attempts` (≥ 1), the last of which was answered with `response_status` (None: no answer).

    Only 2xx is success; a redirect is a failure. `draw` gives [0, 1).
    """
    if response_status is not None and 200 <= response_status < 300:
        return Verdict("succeeded")
    if response_status == HTTPStatus.GONE:
        return Verdict("failed", disables_endpoint=True)
    if attempts >= MAX_ATTEMPTS:
        return Verdict("failed")
    return Verdict("pending", retry_in=DELAYS[attempts] * scale * (1 + JITTER * (2 * draw() - 1)))
