"""Proof that work gets done: a canary goes through every queue, and a consumer that finishes nothing is not ready.

A connection that answers, a queue that has consumers, a task that runs: all of these are there, too, when a consumer has
come back deaf after its broker was away (FastStream #2758). So each process sends a canary through the outbox, the relay,
the exchange and the queue wherever its own consumer has finished nothing for CANARY_SECONDS. RabbitMQ hands messages out in
turn, so every consumer gets its share of those that all processes of the service send. On PostgreSQL, where whoever is quickest
gets a message, a consumer shows that it lives by asking for one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from shared.platform.health import Check
from shared.platform.logs import get_logger
from shared.platform.telemetry.figures import CONSUMER_IDLE_SECONDS, Sample

CANARY_SECONDS = 10.0  # so long a consumer may be idle until a canary is sent
UNSENT_SECONDS = 2.0  # until the next one where there was no database to send it through
PAUSE_SECONDS = 30.0  # the longest pause between two of them, while none comes back
DEAF_SECONDS = 60.0  # idle for so long, and the consumer is not ready
STUCK_SECONDS = 3600.0  # a message in hand for so long does not end; a large atomic import takes minutes

log = get_logger(__name__)


class Pulse:
    """When the consumer of one queue, in this process, last showed that it lives."""

    def __init__(self, queue: str, *, now: Callable[[], float] = monotonic) -> None:
        self.queue = queue
        self._now = now
        self._last_done = self._last_seen = now()
        self._in_hand: dict[object, float] = {}
        self._next_canary = 0.0
        self._pause = CANARY_SECONDS

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around the handling of a message. That it failed is a sign of life, too."""
        token = object()
        self._in_hand[token] = self._now()
        try:
            yield
        finally:
            del self._in_hand[token]
            self._last_done = self._last_seen = self._now()
            self._pause, self._next_canary = CANARY_SECONDS, 0.0

    def seen(self) -> None:
        """It has asked for messages."""
        self._last_seen = self._now()

    def wants_canary(self) -> bool:
        """Whether a canary is to be sent now; then it counts as sent."""
        now = self._now()
        if self._is_busy(now) or now < max(self._next_canary, self._last_done + CANARY_SECONDS):
            return False
        self._next_canary = now + self._pause
        self._pause = min(self._pause * 2, PAUSE_SECONDS)
        return True

    def not_sent(self) -> None:
        """The canary could not be sent: another one is wanted as soon as that may be otherwise."""
        self._pause, self._next_canary = CANARY_SECONDS, self._now() + UNSENT_SECONDS

    def idle_seconds(self) -> float:
        """Since it last showed that it lives; 0 while it has a message in hand that is not stuck."""
        now = self._now()
        return 0.0 if self._is_busy(now) else now - self._last_seen

    def check(self) -> Check:
        """Ready, or not."""
        name, idle = f"bus.consumer.{self.queue}", self.idle_seconds()
        if idle < DEAF_SECONDS:
            return Check(name, ok=True)
        stuck = f", and has {len(self._in_hand)} in hand that do not end" if self._in_hand else ""
        detail = f"the consumer has finished nothing, no canary either, for {idle:.0f} s{stuck}"
        return Check(name, ok=False, detail=detail)

    def _is_busy(self, now: float) -> bool:
        return any(now - begun < STUCK_SECONDS for begun in self._in_hand.values())

    def sample(self) -> Sample:
        return CONSUMER_IDLE_SECONDS.of(self.idle_seconds(), self.queue)


async def send_canaries(
    pulses: Sequence[Pulse], send: Callable[[Sequence[str]], Awaitable[None]], *, every: float = 1.0
) -> None:
    """For ever: have `send` put a canary into each queue that wants one."""
    while True:
        await asyncio.sleep(every)
        wanting = [pulse for pulse in pulses if pulse.wants_canary()]
        if queues := [pulse.queue for pulse in wanting]:
            try:
                await send(queues)
            except Exception as error:  # noqa: BLE001 - the database is away: readiness says so, and there is a next time
                log.info("canary.not_sent", queues=queues, error=repr(error))
                for pulse in wanting:
                    pulse.not_sent()
