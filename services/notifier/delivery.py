"""The delivery worker: claims what is due, sends it outside of any transaction, writes down what came of it.

claim (lease of 60 s) ──► send ──► attempt + new state, in one transaction
                             crash here: the delivery is sent again, with the same `webhook-id`
"""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier import repository
from services.notifier.attempts import Attempt, Claimed
from services.notifier.schedule import verdict_after
from services.notifier.sender import LANE_SIZE, Sender
from services.notifier.signing import signed_headers
from services.notifier.webhooks import message_id
from shared.platform.health import Check
from shared.platform.logs import get_logger
from shared.platform.presence import is_alive
from shared.platform.service import Stopping

MAX_IN_FLIGHT = 20
POLL_SECONDS = 0.5  # how late a retry may be; what is due at once wakes the worker
HOUSEKEEPING_SECONDS = 5.0  # how long a dead process's deliveries may wait
USER_AGENT = "Penstock-Webhooks"

log = get_logger(__name__)


class DeliveryWorker:
    """Sends this deployment's due deliveries, with as many others of its kind as there are processes.

    Args:
        owner: This process's presence key; its leases are freed when it is seen to be dead.
        retry_scale: Factor on the delays of the retry schedule.
    """

    def __init__(
        self, engine: AsyncEngine, sender: Sender, stopping: Stopping, *, owner: int, retry_scale: float = 1.0
    ) -> None:
        self._engine = engine
        self._sender = sender
        self._stopping = stopping
        self._owner = owner
        self._retry_scale = retry_scale
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[UUID] = Counter()
        self._stopped = False
        self._swept_at = float("-inf")
        self._failing = ""

    def wake(self) -> None:
        """There may be something due."""
        self._wake.set()

    def start(self) -> None:
        self._loop_task = asyncio.create_task(self._run(), name="notifier.delivery")

    async def stop(self, seconds: float) -> None:
        """Claim nothing more; what is in flight gets `seconds` to end, the rest stays due."""
        self._stopped = True
        self._wake.set()
        in_hand = self._sending | ({self._loop_task} if self._loop_task else set())
        if in_hand:
            _, late = await asyncio.wait(in_hand, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._sender.close()
        await self._release()

    def check(self) -> Check:
        """Whether the worker runs and can claim."""
        running = self._loop_task is not None and not self._loop_task.done()
        detail = self._failing or ("" if running else "the worker does not run")
        return Check("delivery", ok=not detail, detail=detail)

    @property
    def _ending(self) -> bool:
        # A flag and not a cancelled task: a claim that is cancelled may have committed its leases.
        return self._stopped or bool(self._stopping)

    async def _run(self) -> None:
        while not self._ending:
            self._wake.clear()
            try:
                claimed = await self._claim()
                self._failing = ""
            except Exception as error:  # noqa: BLE001 - whatever it is, deliveries stay due and readiness shows it
                claimed = self._claim_failed(error)
            for delivery in claimed if not self._ending else ():
                self._begin(delivery)
            if not claimed:
                await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()

    def _claim_failed(self, error: Exception) -> list[Claimed]:
        if not self._failing:  # told once, not at every poll
            log.error("delivery.not_claimed", exc_info=error)
        self._failing = f"deliveries cannot be claimed: {type(error).__name__}"
        return []

    async def _claim(self) -> list[Claimed]:
        await self._sweep()
        room = MAX_IN_FLIGHT - len(self._sending)
        if room <= 0:
            return []
        async with self._engine.begin() as connection:
            return await repository.claim_due(
                connection, owner=self._owner, room=room, lane_size=LANE_SIZE, in_flight=self._in_flight
            )

    async def _sweep(self) -> None:
        """Every few seconds: free what dead processes had leased, close connections that nobody uses."""
        if time.monotonic() < self._swept_at + HOUSEKEEPING_SECONDS:
            return
        async with self._engine.begin() as connection:
            for owner in await repository.lease_owners(connection):
                if owner != self._owner and not await is_alive(connection, owner):
                    freed = await repository.release_leases(connection, owner)
                    log.info("delivery.leases_freed", count=freed)
        await self._sender.close_idle()
        self._swept_at = time.monotonic()

    async def _release(self) -> None:
        try:
            async with self._engine.begin() as connection:
                await repository.release_leases(connection, self._owner)
        except Exception as error:  # noqa: BLE001 - the others see that this process is gone and free them
            log.warning("delivery.leases_kept", error=repr(error))

    def _begin(self, delivery: Claimed) -> None:
        self._in_flight[delivery.endpoint_id] += 1
        task = asyncio.create_task(self._deliver(delivery))
        self._sending.add(task)
        task.add_done_callback(lambda done: self._end(done, delivery))

    def _end(self, task: asyncio.Task[None], delivery: Claimed) -> None:
        self._sending.discard(task)
        self._in_flight[delivery.endpoint_id] -= 1
        self._in_flight += Counter()  # drops those at 0
        self._wake.set()

    async def _deliver(self, delivery: Claimed) -> None:
        try:
            await self._record(delivery, await self._send(delivery))
        except Exception:
            # The lease runs out and the delivery is sent again, with the same id: better twice than never.
            log.exception("delivery.not_recorded", delivery_id=str(delivery.id))

    async def _send(self, delivery: Claimed) -> Attempt:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
            **signed_headers(delivery.secret, message_id(delivery.id), int(time.time()), delivery.body),
        }
        return await self._sender.post(delivery.endpoint_id, delivery.url, headers, delivery.body)

    async def _record(self, delivery: Claimed, attempt: Attempt) -> None:
        number = delivery.attempts_made + 1
        verdict = verdict_after(number, attempt.response_status, scale=self._retry_scale)
        async with self._engine.begin() as connection:
            written = await repository.record_attempt(connection, delivery, self._owner, attempt, verdict)
        report = log.debug if verdict.status == "succeeded" else log.info
        report(
            "delivery.attempted" if written else "delivery.lease_lost",
            delivery_id=str(delivery.id),
            endpoint_id=str(delivery.endpoint_id),
            number=number,
            status=verdict.status,
            response_status=attempt.response_status,
            latency_ms=attempt.latency_ms,
            error=attempt.error,
        )
