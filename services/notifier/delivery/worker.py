"""The delivery worker: claims what is due, sends it outside of any transaction, has written down what came of it.

claim (lease of 60 s) ──► lane ──► send ──► recorder: attempt + new state, many in one transaction
                                     crash here: the delivery is sent again, with the same `webhook-id`
"""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.delivery import repository
from services.notifier.delivery.attempts import Attempt, Claimed, Destination, message_id
from services.notifier.delivery.in_hand import Lane
from services.notifier.delivery.lanes import Waiting, planned
from services.notifier.delivery.recorder import Recorder
from services.notifier.delivery.repository import Recorded
from services.notifier.delivery.schedule import verdict_after
from services.notifier.delivery.sender import Sender
from services.notifier.delivery.signing import signed_headers
from shared.platform.bus import Publish
from shared.platform.health import Check
from shared.platform.logs import current_traceparent, get_logger
from shared.platform.presence import is_alive
from shared.platform.service import Stopping
from shared.platform.telemetry.figures import ATTEMPTS, EVENT_TO_DELIVERY_SECONDS
from shared.platform.telemetry.tracing import SpanKind, span

POLL_SECONDS = 0.5  # how late what another process made due may be; what is due in this one wakes the worker
# From one claim to the next, at least: to look for deliveries at each event would cost as much as all else about it, and
# what one claim finds, many events made.
CLAIM_SECONDS = 0.01
CLAIM_SHARE = 0.3  # of the time, at most: with a thousand endpoints pending a claim takes 30 ms
PAUSE_SECONDS = 1.0  # at most, as when PostgreSQL has not answered for a minute
HOUSEKEEPING_SECONDS = 5.0  # how long a dead process's deliveries may wait
LANE_IDLE_SECONDS = 600.0  # a lane that is forgotten has to show anew that it is quick
RECORD_SHARE = 0.3  # of the time to stop, for writing down what came of the last attempts
USER_AGENT = "Penstock-Webhooks"

log = get_logger(__name__)


def _present() -> timedelta:
    return timedelta()


class DeliveryWorker:
    """Sends this deployment's due deliveries, with as many others of its kind as there are processes.

    Args:
        owner: This process's presence key; its leases are freed when it is seen to be dead.
        publish: Puts an event on the bus, in the caller's transaction.
        retry_scale: Factor on the delays of the retry schedule and of the circuit breaker.
        ahead: How far time is ahead of the database's, for trials of what takes days.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        sender: Sender,
        stopping: Stopping,
        *,
        owner: int,
        publish: Publish,
        retry_scale: float = 1.0,
        ahead: Callable[[], timedelta] = _present,
    ) -> None:
        self.owner = owner
        self._engine = engine
        self._sender = sender
        self._stopping = stopping
        self._retry_scale = retry_scale
        self._ahead = ahead
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._sending: set[asyncio.Task[Any]] = set()
        self._lanes: dict[UUID, Lane] = {}
        self._waited_for: dict[UUID, asyncio.Future[None]] = {}
        self._stopped = False
        self._failing = ""
        self._recorder = Recorder(
            engine,
            owner=owner,
            publish=publish,
            recorded=self._recorded,
            given_back=self._given_back,
            ahead=ahead,
            scale=retry_scale,
        )

    def wake(self) -> None:
        """There may be something due."""
        self._wake.set()

    def start(self) -> None:
        self._recorder.start()
        self._tasks = [
            asyncio.create_task(self._claim_on(), name="notifier.delivery"),
            asyncio.create_task(self._keep_house(), name="notifier.delivery.housekeeping"),
        ]

    async def stop(self, seconds: float) -> None:
        """Claim nothing more; what is in flight gets `seconds` to end, the rest stays due."""
        self._stopped = True
        self._wake.set()
        for lane in self._lanes.values():
            self._recorder.put_back(lane.all_waiting())
        in_hand = self._sending | set(self._tasks[:1])
        if in_hand:
            _, late = await asyncio.wait(in_hand, timeout=seconds * (1 - RECORD_SHARE))
            for task in (*late, *self._tasks):
                task.cancel()
            await asyncio.gather(*late, *self._tasks, return_exceptions=True)
        await self._recorder.stop(seconds * RECORD_SHARE)
        for waiter in self._waited_for.values():
            waiter.cancel()
        await self._sender.close()
        await self._release()

    def check(self) -> Check:
        """Whether the worker runs, can claim and writes down."""
        running = bool(self._tasks) and self._recorder.runs and not any(task.done() for task in self._tasks)
        detail = self._failing or ("" if running else "the worker does not run")
        return Check("delivery", ok=not detail, detail=detail)

    async def send_now(self, claimed: Claimed) -> Attempt:
        """Attempt a delivery that the caller has leased to `owner`, and write down what came of it.

        It goes past the lane, the rate limit and the circuit breaker: somebody asked for it. Who asked may go away: what
        was sent is written down all the same.
        """
        task = asyncio.create_task(self._sent_now(claimed))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return await asyncio.shield(task)

    async def _sent_now(self, claimed: Claimed) -> Attempt:
        self._lane(claimed.destination.endpoint_id).claimed += 1
        attempt = await self._send(claimed)
        written = self._waited_for[claimed.id] = asyncio.get_running_loop().create_future()
        self._put(claimed, attempt)
        await written
        return attempt

    @property
    def _ending(self) -> bool:
        # A flag and not a cancelled task: a claim that is cancelled may have committed its leases.
        return self._stopped or bool(self._stopping)

    async def _claim_on(self) -> None:
        while not self._ending:
            self._wake.clear()
            began = time.monotonic()
            try:
                wake_in = await self._claim()
                self._failing = ""
            except Exception as error:  # noqa: BLE001 - whatever it is, deliveries stay due and readiness shows it
                wake_in = self._claim_failed(error)
            took = time.monotonic() - began
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wake_in, POLL_SECONDS)):
                    await self._wake.wait()
            pause = max(CLAIM_SECONDS, min(took / CLAIM_SHARE, took + PAUSE_SECONDS))
            await asyncio.sleep(max(0.0, began + pause - time.monotonic()))

    def _claim_failed(self, error: Exception) -> float:
        if not self._failing:  # told once, not at every poll
            log.error("delivery.not_claimed", exc_info=error)
        self._failing = f"deliveries cannot be claimed: {type(error).__name__}"
        return POLL_SECONDS

    async def _claim(self) -> float:
        """Claim what there is room for, and begin to send it: in how many seconds there may be more."""
        async with self._engine.begin() as connection:
            ahead = self._ahead()
            now, waiting = await repository.waiting(connection, ahead)
            if now is None:
                return math.inf
            lanes: dict[UUID, tuple[Waiting, Destination]] = {
                one.endpoint_id: (one, to) for one, to in waiting
            }
            plan = planned(
                [(one, self._lane(one.endpoint_id).in_hand) for one, _ in waiting],
                now,
                claimed=sum(lane.claimed for lane in self._lanes.values()),
                slow=sum(lane.claimed for lane in self._lanes.values() if lane.in_hand.slow),
            )
            if not plan.rooms:
                return plan.wake_in
            claimed = await repository.claim(connection, plan.rooms, lanes, owner=self.owner, ahead=ahead)
        self._take(claimed)
        return plan.wake_in

    def _take(self, claimed: list[Claimed]) -> None:
        touched = set()
        for one in claimed:
            lane = self._lane(one.destination.endpoint_id)
            lane.add([one])
            touched.add(lane)
        for lane in touched:
            self._begin(lane)

    def _lane(self, endpoint_id: UUID) -> Lane:
        return self._lanes.setdefault(endpoint_id, Lane())

    def _begin(self, lane: Lane) -> None:
        """Send as much of a lane as it has connections for."""
        unsent = lane.all_waiting() if self._ending else lane.hopeless()
        if unsent:
            self._recorder.put_back(unsent)
        while (claimed := lane.next()) is not None:
            task = asyncio.create_task(self._deliver(lane, claimed))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _deliver(self, lane: Lane, claimed: Claimed) -> None:
        attempt = await self._send(claimed)
        lane.ended(attempt)
        self._put(claimed, attempt)
        self._begin(lane)

    async def _send(self, claimed: Claimed) -> Attempt:
        began, start = datetime.now(UTC), time.monotonic()
        with span(f"deliver {claimed.event_type}", SpanKind.CLIENT, parent=claimed.traceparent) as current:
            try:
                attempt = await self._sender.post(claimed.destination.url, _headers(claimed), claimed.body)
            except Exception:
                # A fault of ours must count as an attempt too, or it would be tried without end.
                log.exception("delivery.attempt_crashed", delivery_id=str(claimed.id))
                latency = round((time.monotonic() - start) * 1000)
                attempt = Attempt(attempted_at=began, latency_ms=latency, error="internal error")
            current.set_attribute("http.response.status_code", attempt.response_status or 0)
        ATTEMPTS.labels(_result(attempt)).inc()
        is_again = claimed.attempts_made > claimed.tries  # somebody has had it sent once more
        if attempt.succeeded and claimed.happened_at and not is_again:
            took = (datetime.now(UTC) - claimed.happened_at).total_seconds()
            EVENT_TO_DELIVERY_SECONDS.observe(max(0.0, took))  # the clocks of two machines may differ
        return attempt

    def _put(self, claimed: Claimed, attempt: Attempt) -> None:
        verdict = verdict_after(claimed.tries + 1, attempt, once=claimed.test, scale=self._retry_scale)
        self._recorder.put(Recorded(claimed, attempt, verdict))

    def _recorded(self, recorded: Recorded) -> None:
        self._given_back(recorded.claimed)
        waiter = self._waited_for.pop(recorded.claimed.id, None)
        if waiter is not None and not waiter.done():  # who waited may have gone
            waiter.set_result(None)

    def _given_back(self, claimed: Claimed) -> None:
        self._lane(claimed.destination.endpoint_id).settled()
        self._wake.set()

    async def _keep_house(self) -> None:
        """Every few seconds: free what dead processes had leased, forget endpoints that are sent nothing."""
        while True:
            try:
                await self._free_leases()
            except Exception as error:  # noqa: BLE001 - as above: claiming fails too, and says so
                log.warning("delivery.leases_not_freed", error=repr(error))
            oldest = time.monotonic() - LANE_IDLE_SECONDS
            for endpoint_id, lane in list(self._lanes.items()):
                if not lane.claimed and lane.used_at < oldest:
                    del self._lanes[endpoint_id]
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def _free_leases(self) -> None:
        async with self._engine.begin() as connection:
            for owner in await repository.lease_owners(connection):
                if owner != self.owner and not await is_alive(connection, owner):
                    freed = await repository.release_leases(connection, owner, self._ahead())
                    log.info("delivery.leases_freed", count=freed)
                    self._wake.set()

    async def _release(self) -> None:
        try:
            async with self._engine.begin() as connection:
                await repository.release_leases(connection, self.owner, self._ahead())
        except Exception as error:  # noqa: BLE001 - the others see that this process is gone and free them
            log.warning("delivery.leases_kept", error=repr(error))


def _result(attempt: Attempt) -> str:
    """Of few different ones: what was answered by its class, or that nothing was."""
    if attempt.succeeded:
        return "succeeded"
    return f"{attempt.response_status // 100}xx" if attempt.response_status else "unanswered"


def _headers(claimed: Claimed) -> dict[str, str]:
    signed = signed_headers(claimed.destination.keys, message_id(claimed.id), int(time.time()), claimed.body)
    sequence = {} if claimed.sequence is None else {"webhook-sequence": str(claimed.sequence)}
    current = current_traceparent()
    traceparent = {"traceparent": current} if current and claimed.traceparent else {}
    return {
        **claimed.destination.headers,
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        **signed,
        **sequence,
        **traceparent,
        **({"webhook-test": "true"} if claimed.test else {}),
    }
