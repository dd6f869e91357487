"""What a process has in hand for one endpoint: what waits for a connection, what is under way, how it goes."""

import time
from collections import deque
from collections.abc import Iterable

from services.notifier.delivery.attempts import Attempt, Claimed
from services.notifier.delivery.health import FAILURES_TO_OPEN
from services.notifier.delivery.lanes import LANE_CONNECTIONS, LANE_MOST, InHand
from services.notifier.delivery.repository import LEASE_SECONDS

# How much an endpoint takes in that time is claimed ahead, so that its connections never wait for the next claim.
WIDTH_SECONDS = 0.5
SLOW_MS = 1000
# What has waited longer is not begun: its lease must last for an attempt (15 s) and the writing down of it.
BEGIN_WITHIN = LEASE_SECONDS / 2


class Lane:
    """One endpoint's deliveries in this process: from their claim until what came of them is written down."""

    def __init__(self) -> None:
        self.claimed = 0
        self.used_at = time.monotonic()
        self._under_way = 0
        self._queue: deque[tuple[float, Claimed]] = deque()
        self._successes: deque[float] = deque(maxlen=LANE_MOST)
        self._failures = 0
        self._slow = True  # until it has shown that it is not: hundreds that hang must not get all places

    @property
    def in_hand(self) -> InHand:
        """As the plan of the next claim needs it."""
        oldest = time.monotonic() - WIDTH_SECONDS
        while self._successes and self._successes[0] < oldest:
            self._successes.popleft()
        width = max(LANE_CONNECTIONS, len(self._successes))
        return InHand(self.claimed, width, slow=self._slow)

    def add(self, claimed: Iterable[Claimed]) -> None:
        """Take them in hand; `next` gives them out."""
        self.used_at = now = time.monotonic()
        self._failures = 0
        for one in claimed:
            self.claimed += 1
            self._queue.append((now, one))

    def next(self) -> Claimed | None:
        """What is to be attempted now, if anything is and there is a connection for it."""
        if not self._queue or self._under_way >= LANE_CONNECTIONS:
            return None
        self._under_way += 1
        return self._queue.popleft()[1]

    def hopeless(self) -> list[Claimed]:
        """What waits and is not to be begun: because the endpoint has only failed since, or it waits for too long."""
        latest = time.monotonic() - BEGIN_WITHIN
        if self._failures >= FAILURES_TO_OPEN:
            return self.all_waiting()
        unsent = []
        while self._queue and self._queue[0][0] < latest:
            unsent.append(self._queue.popleft()[1])
        return unsent

    def all_waiting(self) -> list[Claimed]:
        """What waits, taken out of hand."""
        unsent = [one for _, one in self._queue]
        self._queue.clear()
        return unsent

    def ended(self, attempt: Attempt) -> None:
        """An attempt is over; it is not written down yet."""
        self._under_way -= 1
        self._slow = attempt.latency_ms >= SLOW_MS or not attempt.succeeded
        if attempt.succeeded:
            self._failures = 0
            self._successes.append(time.monotonic())
        else:
            self._failures += 1
            self._successes.clear()

    def settled(self) -> None:
        """One is written down, or given back."""
        self.claimed -= 1
        self.used_at = time.monotonic()
