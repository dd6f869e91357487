"""Single attempts because somebody asks for them: a test, a retry. HTTP is outside of any transaction.

lease to this process ──► commit ──► send ──► attempt + new state ──► commit
                            crash here: the lease is freed, and the delivery is attempted again like any other
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.deliveries import repository
from services.notifier.deliveries.filters import sendable
from services.notifier.deliveries.log import delivery_not_found
from services.notifier.deliveries.samples import sample_of
from services.notifier.delivery.attempts import Claimed
from services.notifier.delivery.worker import DeliveryWorker
from services.notifier.endpoints.changing import not_found
from shared.contracts.problems import Conflict, TooManyRequests
from shared.platform.tenancy import tenant_writing

AT_ONCE = (
    5  # for each tenant and process: who asks waits, up to an attempt's 15 s, and a person has two hands
)
BUSY_SECONDS = 5  # after which a place may be free


class SendOnRequest:
    """Sends one delivery at once, past the queue, and waits for what comes back."""

    def __init__(self, engine: AsyncEngine, worker: DeliveryWorker) -> None:
        self._engine = engine
        self._worker = worker
        self._waiting: Counter[str] = Counter()  # by tenant

    async def test(self, tenant: str, endpoint_id: UUID, event_type: str) -> UUID:
        """Send an example of `event_type`, of which there is one attempt: the id of its delivery.

        Raises:
            NotFound: `webhook_not_found`.
            TooManyRequests: `webhook_busy`.
            Unprocessable: `event_type_unknown`.
        """
        event_id = uuid4()
        body = sample_of(sendable(event_type), endpoint_id)
        with self._place(tenant):
            async with tenant_writing(self._engine, tenant) as connection:
                sequence = await repository.next_sequence(connection, tenant, endpoint_id)
                if sequence is None:
                    raise not_found(endpoint_id)
                delivery_id = await repository.add_test(
                    connection,
                    tenant,
                    endpoint_id,
                    sequence=sequence,
                    owner=self._worker.owner,
                    event_id=event_id,
                    event_type=event_type,
                    body=body,
                )
                to = await repository.destination(connection, endpoint_id)
            await self._worker.send_now(
                Claimed(
                    id=delivery_id,
                    destination=to,
                    event_type=event_type,
                    body=body,
                    sequence=sequence,
                    attempts_made=0,
                    tries=0,
                    test=True,
                )
            )
        return delivery_id

    async def retry(self, tenant: str, endpoint_id: UUID, delivery_id: UUID) -> None:
        """Attempt a delivery now, as the first of a new round, whatever became of it before.

        One that is held by an earlier one goes past it: somebody asked for it.

        Raises:
            NotFound: `webhook_not_found`, `delivery_not_found`.
            Conflict: `webhook_disabled`, `delivery_in_flight`, `delivery_attempts_limit`.
            TooManyRequests: `webhook_busy`.
        """
        with self._place(tenant):
            async with tenant_writing(self._engine, tenant) as connection:
                claimed = await self._claim(connection, tenant, endpoint_id, delivery_id)
            await self._worker.send_now(claimed)

    async def _claim(
        self, connection: AsyncConnection, tenant: str, endpoint_id: UUID, delivery_id: UUID
    ) -> Claimed:
        await lock_enabled(connection, tenant, endpoint_id)
        row = await repository.lock_delivery(connection, tenant, endpoint_id, delivery_id)
        if row is None:
            raise delivery_not_found(endpoint_id, delivery_id)
        if row.in_flight:
            raise Conflict(
                "delivery_in_flight",
                "an attempt of this delivery is under way",
                hint="look at the delivery again in a few seconds",
            )
        if row.attempts_made >= repository.MOST_ATTEMPTS:
            raise Conflict(
                "delivery_attempts_limit",
                f"this delivery was attempted {row.attempts_made} times, and is not attempted again",
                hint="fetch what it says with `GET` of the delivery: it is in `payload`",
            )
        await repository.lease(connection, delivery_id, self._worker.owner)
        bodies = await repository.bodies_of(connection, [delivery_id])
        to = await repository.destination(connection, endpoint_id)
        return repository.claimed_of(row, to, bodies[delivery_id])

    @contextmanager
    def _place(self, tenant: str) -> Iterator[None]:
        if self._waiting[tenant] >= AT_ONCE:
            raise TooManyRequests(
                "webhook_busy",
                f"{AT_ONCE} tests and retries are under way, and no more are made at a time",
                retry_after=BUSY_SECONDS,
                hint="wait for one of them; a replay sends many deliveries again",
            )
        self._waiting[tenant] += 1
        try:
            yield
        finally:
            self._waiting[tenant] -= 1
            self._waiting += Counter()  # forgets who has none


async def lock_enabled(connection: AsyncConnection, tenant: str, endpoint_id: UUID) -> None:
    """Lock an endpoint that may be sent deliveries.

    Raises:
        NotFound: `webhook_not_found`.
        Conflict: `webhook_disabled`.
    """
    endpoint = await repository.lock_endpoint(connection, tenant, endpoint_id)
    if endpoint is None:
        raise not_found(endpoint_id)
    if not endpoint.enabled:
        raise Conflict(
            "webhook_disabled",
            "this webhook endpoint is disabled, and is sent nothing but tests",
            hint="enable it first: `PATCH` it with `enabled: true`",
        )
