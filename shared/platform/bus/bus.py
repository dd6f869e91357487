"""A service's end of the bus: publishes through the outbox, consumes from RabbitMQ or straight from PostgreSQL."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic, perf_counter
from typing import Any, Literal
from uuid import UUID

from faststream.exceptions import NackMessage
from faststream.message import StreamMessage
from faststream_outbox import OutboxBroker
from faststream_outbox.message import OutboxInnerMessage
from sqlalchemy import Insert, delete, func, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.contracts.events import (
    AnyEvent,
    CanarySent,
    EventData,
    EventInvalid,
    EventUnknown,
    envelope_from,
    event_from,
    event_of,
)
from shared.contracts.topology import CANARY_TYPE, LIVE_TYPES, QUEUES, Queue, queues_for
from shared.platform.bus.backlog import IN_POSTGRESQL, LEASE_SECONDS, BrokerSilent, Depth, relay_of
from shared.platform.bus.canary import Pulse, send_canaries
from shared.platform.bus.delivery import Later, Subscription
from shared.platform.bus.figures import read_backlog
from shared.platform.bus.live import Live, PostgresLive
from shared.platform.bus.rabbit import RabbitTransport
from shared.platform.bus.retry import FOREVER, RetryPolicy
from shared.platform.bus.settling import SettlingClient
from shared.platform.bus.tables import TABLES
from shared.platform.database import engine_for
from shared.platform.health import Check, in_time, together
from shared.platform.logs import bound, current_traceparent, get_logger, new_traceparent
from shared.platform.presence import Presence
from shared.platform.telemetry.figures import (
    CANARY_SECONDS,
    MESSAGE_AGE_SECONDS,
    MESSAGE_SECONDS,
    MESSAGES,
    SCRAPE_FAILURES,
    Sample,
)
from shared.platform.telemetry.tracing import SpanKind, span

RELAY_BATCH = 10
PARK_RETRY_SECONDS = 2.0
PARK_SECONDS = 20 * 60  # RabbitMQ takes a message back after 30 minutes
PLATFORM_TENANT = "penstock"  # of canaries, which are nobody's
POLL_SECONDS = 1.0  # how late a delayed message may be; what is due now is announced by NOTIFY

log = get_logger(__name__)
_library_log = logging.getLogger("penstock.bus")


class _Logged(Exception):
    """A handler's error, which is in the log already. The message is tried again, or dead-lettered."""

    def __init__(self, error: Exception) -> None:
        super().__init__(repr(error))

    def __repr__(self) -> str:
        return str(self)


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], _Logged | Later))


_library_log.addFilter(_is_news)


class Bus:
    """One service's publisher and consumers. Made in `app.py`, started and stopped by the service's lifespan."""

    def __init__(
        self,
        service: str,
        *,
        database_url: str,
        bus_url: str | None = None,
        retry: RetryPolicy | None = None,
        stop_seconds: float = 5.0,
    ) -> None:
        self.service = service
        self._database_url = database_url
        self._retry = retry or RetryPolicy()
        self._stop_seconds = stop_seconds
        self._subscriptions: list[Subscription] = []
        self._pulses: dict[str, Pulse] = {}
        self._canaries: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[AnyEvent], Awaitable[None]]] = []
        self._rabbit = RabbitTransport(bus_url, service, stop_seconds=stop_seconds) if bus_url else None
        self._publisher = OutboxBroker(outbox_table=TABLES.outbox, logger=_library_log)
        self._engine: AsyncEngine | None = None
        self._broker: OutboxBroker | None = None
        self._postgres_live: PostgresLive | None = None
        self._stopping = asyncio.Event()
        self.presence = Presence(database_url, service)

    def subscribe(self, subscription: Subscription) -> None:
        """Consume a queue from the next `start` on."""
        self._subscriptions.append(subscription)

    def listen(self, callback: Callable[[AnyEvent], Awaitable[None]]) -> None:
        """Hear live events (`LIVE_TYPES`) of all services from the next `start` on. Some may be lost."""
        self._listeners.append(callback)

    def event(self, data: EventData, *, tenant: str, subject: UUID | str) -> AnyEvent:
        """A new event of this service, in the trace of the request or event at hand."""
        return event_of(
            data, tenant=tenant, subject=subject, service=self.service, traceparent=current_traceparent()
        )

    async def publish(self, connection: AsyncConnection, *events: AnyEvent) -> None:
        """Put events into the outbox; they go out when the caller's transaction commits.

        Raises:
            LookupError: no queue is bound to the type of one.
        """
        bodies: defaultdict[str, list[bytes]] = defaultdict(list)
        for event in events:
            queues = queues_for(event.type)
            for name in [relay_of(self.service)] if self._rabbit else [queue.name for queue in queues]:
                bodies[name].append(event.to_bytes())
        for name, of_queue in bodies.items():
            if len(of_queue) == 1:
                await self._publisher.publish(of_queue[0], queue=name, session=connection)
            else:
                await self._publisher.publish_batch(*of_queue, queue=name, session=connection)

    async def announce(self, event: AnyEvent) -> None:
        """Send a live event now, past the outbox. Never raises for a transport that is away: it may be lost."""
        if event.type not in LIVE_TYPES:
            raise LookupError(f"{event.type!r} is not a live type; publish it")
        live: Live | None = self._rabbit or self._postgres_live
        if live is not None:
            await live.send(event)

    async def start(self) -> None:
        """Connect, declare the topology, begin to consume."""
        queues = [subscription.queue for subscription in self._subscriptions]
        mine = [queue.name for queue in queues] + [relay_of(self.service)]
        self._pulses = {queue.name: Pulse(queue.name) for queue in queues}
        await self.presence.start(mine)
        connections = sum(queue.workers + 1 for queue in queues) + (2 if self._rabbit else 0) + 3
        self._engine = engine_for(self._database_url, self.service, pool_size=connections)
        self._broker = self._consumers_on(self._engine)
        if self._rabbit:
            consumers = [
                (subscription.queue, self._on_rabbit(subscription)) for subscription in self._subscriptions
            ]
            await self._rabbit.start(consumers, self._listeners)
        else:
            self._postgres_live = PostgresLive(self._database_url, self._engine, self._listeners)
            await self._postgres_live.start()
            await self._relay_by_hand()
        await self._broker.start()
        self._canaries = asyncio.create_task(send_canaries(list(self._pulses.values()), self._send_canaries))

    async def stop(self) -> None:
        """Take no new message, finish what is in hand, disconnect. At most `stop_seconds`."""
        self._stopping.set()
        if self._canaries:
            self._canaries.cancel()
        stopping = []
        if self._rabbit:
            stopping.append(self._rabbit.stop())
        if self._postgres_live:
            stopping.append(self._postgres_live.stop())
        if self._broker is not None:
            stopping.append(self._broker.stop())
        ended = await asyncio.gather(*stopping, return_exceptions=True)
        if self._canaries:
            # Its connection goes back before the pool is closed.
            await asyncio.wait([self._canaries], timeout=1.0)
        await self.presence.stop()
        if self._engine is not None:
            await self._engine.dispose()
        self._engine = self._broker = self._postgres_live = None
        for error in filter(None, ended):
            log.warning("bus.stopped_badly", error=repr(error))

    async def checks(self) -> list[Check]:
        """Whether the transport answers and every consumer of this service consumes."""
        of_rabbit = [self._rabbit.checks()] if self._rabbit else []
        checks = [*await together(self._outbox_check(), *of_rabbit)]
        checks.append(Check("bus.presence", ok=self.presence.connected))
        if self._postgres_live:
            checks.append(Check("bus.live", ok=self._postgres_live.alive))
        return checks + [pulse.check() for pulse in self._pulses.values()]

    async def _outbox_check(self) -> Check:
        async def ask() -> None:
            if self._broker is None or not await self._broker.ping(timeout=2.0):
                raise ConnectionError("the library says no more")

        check = await in_time("bus.outbox", ask())
        return check if check.ok else replace(check, detail="the outbox or one of its consumers is down")

    @property
    def transport(self) -> Literal["embedded", "rabbitmq"]:
        """What carries messages from service to service."""
        return "rabbitmq" if self._rabbit else "embedded"

    async def depths(self) -> dict[str, Depth]:
        """What is outside PostgreSQL, by queue.

        Raises:
            BrokerSilent: RabbitMQ does not say.
        """
        if self._rabbit:
            return await self._rabbit.depths()
        return {queue.name: IN_POSTGRESQL for queue in QUEUES}

    async def figures(self) -> Sequence[Sample]:
        """How much waits in the queues that this service consumes, for how long, and what it has not got rid of itself.

        While RabbitMQ does not say how much it has, the queues' messages are left out. What has not reached it is shown.
        """
        assert self._engine is not None
        depths: Mapping[str, Depth] | None = None
        try:
            depths = await self.depths()  # first: it may take seconds, for which no connection is held
        except BrokerSilent:
            SCRAPE_FAILURES.labels(f"{self.service}.rabbitmq").inc()
        async with self._engine.connect() as connection:
            backlog = await read_backlog(connection, self.service, depths)
        return [*backlog, *(pulse.sample() for pulse in self._pulses.values())]

    def _consumers_on(self, engine: AsyncEngine) -> OutboxBroker:
        broker = OutboxBroker(
            engine,
            outbox_table=TABLES.outbox,
            dlq_table=TABLES.dead_letters,
            graceful_timeout=self._stop_seconds,
            logger=_library_log,
            apply_types=False,
            metrics_recorder=self._on_poll,
        )
        broker.config.broker_config.client = SettlingClient(
            engine, TABLES.outbox, dlq_table=TABLES.dead_letters
        )
        for subscription in self._subscriptions:
            queue = subscription.queue
            subscribed = self._subscribe(
                broker,
                queue.name,
                queue.workers,
                self._retry,
                acknowledged_together=queue.acknowledged_together,
            )
            subscribed(self._on_outbox(subscription))
        if self._rabbit:
            self._subscribe(broker, relay_of(self.service), 1, FOREVER, batch=RELAY_BATCH)(self._relay)
        return broker

    def _subscribe(
        self,
        broker: OutboxBroker,
        queue: str,
        workers: int,
        retry: RetryPolicy,
        *,
        batch: int = 1,
        acknowledged_together: int = 1,
    ) -> Callable[..., object]:
        return broker.subscriber(
            queue,
            max_workers=workers,
            # What is fetched is leased, and waits here while the workers are busy: as little as possible.
            fetch_batch_size=max(batch, workers),
            terminal_flush_batch_size=acknowledged_together,
            min_fetch_interval=POLL_SECONDS / 4,
            max_fetch_interval=POLL_SECONDS,
            lease_ttl_seconds=LEASE_SECONDS,
            retry_strategy=_Strategy(retry),
            decoder=_whole_message,
        )

    def _on_outbox(
        self, subscription: Subscription
    ) -> Callable[[StreamMessage[OutboxInnerMessage]], Awaitable[None]]:
        async def handle(message: StreamMessage[OutboxInnerMessage]) -> None:
            is_last = self._retry.delay_after(message.raw_message.attempts_count + 1) is None
            event = _opened(subscription.queue, message.body, is_last=is_last)
            try:
                await self._handle(subscription, event)
            except Later:
                message.raw_message.attempts_count -= (
                    1  # the library counts every return; waiting is no attempt
                )
                raise
            except Exception as error:
                if is_last:
                    await self._exhausted_or_later(subscription, event, error)
                raise _Logged(error) from error

        return handle

    def _on_rabbit(self, subscription: Subscription) -> Callable[[bytes], Awaitable[None]]:
        async def handle(body: bytes) -> None:
            event: AnyEvent | None = None
            try:
                event = _opened(subscription.queue, body)
                await self._handle(subscription, event)
            except EventInvalid:
                raise
            except Exception as error:  # noqa: BLE001 - the message is kept, with the error, in PostgreSQL
                await self._park_patiently(subscription, event, body, error)

        return handle

    async def _handle(self, subscription: Subscription, event: AnyEvent) -> None:
        queue, begun, outcome = subscription.queue.name, perf_counter(), ""
        # The clocks of two machines may differ.
        age = max(0.0, (datetime.now(UTC) - event.time).total_seconds())
        MESSAGE_AGE_SECONDS.labels(queue).observe(age)
        with (
            self._pulses[queue].working(),
            bound(event_id=str(event.id), event_type=event.type, tenant=event.tenant),
            span(
                f"process {event.type}",
                SpanKind.CONSUMER,
                parent=event.traceparent,
                **{"messaging.destination.name": queue, "messaging.message.id": str(event.id)},
            ),
        ):
            try:
                if event.type == CANARY_TYPE:
                    CANARY_SECONDS.labels(queue).observe(age)
                else:
                    await subscription.handlers[event.type](event)
                outcome = "handled"
            except Later:
                outcome = "later"
                raise
            except Exception:
                outcome = "failed"
                log.exception("event.handler_failed", queue=queue, subject=event.subject)
                raise
            finally:
                if outcome:  # else it was cut off, and comes again
                    MESSAGE_SECONDS.labels(queue).observe(perf_counter() - begun)
                    MESSAGES.labels(queue, outcome).inc()

    async def _exhausted(self, subscription: Subscription, event: AnyEvent, error: Exception) -> None:
        log.error("event.dead", queue=subscription.queue.name, event_id=str(event.id), subject=event.subject)
        if subscription.on_exhausted:
            await subscription.on_exhausted(event, error)

    async def _exhausted_or_later(
        self, subscription: Subscription, event: AnyEvent, error: Exception
    ) -> None:
        try:
            await self._exhausted(subscription, event, error)
        except Exception as failure:
            # Dead-lettered without its end being told, the event would be lost to its sender.
            log.exception("event.exhausted_failed", event_id=str(event.id))
            raise Later(PARK_RETRY_SECONDS) from failure
        MESSAGES.labels(subscription.queue.name, "dead").inc()

    async def _park_patiently(
        self, subscription: Subscription, event: AnyEvent | None, body: bytes, error: Exception
    ) -> None:
        """Park the message; while PostgreSQL is away hold it, as giving it back would only bring it again at once."""
        until = monotonic() + PARK_SECONDS
        while monotonic() < until:
            try:
                return await self._park(subscription, event, body, error)
            except Exception as failure:  # noqa: BLE001 - whatever the reason, the message must not be lost
                log.warning("event.not_parked", queue=subscription.queue.name, error=repr(failure))
            with suppress(TimeoutError):
                async with asyncio.timeout(PARK_RETRY_SECONDS):
                    await self._stopping.wait()
                break
        raise NackMessage

    async def _park(
        self, subscription: Subscription, event: AnyEvent | None, body: bytes, error: Exception
    ) -> None:
        """Hand a message that failed on RabbitMQ to PostgreSQL, where its next attempt is due."""
        attempts = 0 if isinstance(error, Later) else 1
        delay = error.seconds if isinstance(error, Later) else self._retry.delay_after(attempts)
        if delay is None and event is not None:
            await self._exhausted(subscription, event, error)
        assert self._engine is not None
        async with self._engine.begin() as connection:
            await connection.execute(_parked(subscription.queue, body, attempts, delay, error))
        if delay is None:
            MESSAGES.labels(subscription.queue.name, "dead").inc()

    async def _relay_by_hand(self) -> None:
        """Bring what waits for the relay, from a time on RabbitMQ, to the queues on PostgreSQL."""
        assert self._engine is not None
        waiting = delete(TABLES.outbox).where(TABLES.outbox.c.queue == relay_of(self.service))
        async with self._engine.begin() as connection:
            rows = (await connection.execute(waiting.returning(TABLES.outbox.c.payload))).scalars().all()
            for body in rows:
                event_type = envelope_from(body).type
                for queue in () if event_type == CANARY_TYPE else queues_for(event_type):
                    await self._publisher.publish(body, queue=queue.name, session=connection)

    async def _relay(self, message: StreamMessage[OutboxInnerMessage]) -> None:
        assert self._rabbit is not None
        event = envelope_from(message.body)
        with span(f"publish {event.type}", SpanKind.PRODUCER, parent=event.traceparent):
            await self._rabbit.publish(event, message.body)

    async def _send_canaries(self, queues: Sequence[str]) -> None:
        """Put a canary for each of these queues where whatever this service publishes begins its way."""
        assert self._engine is not None
        async with self._engine.begin() as connection:
            for name in queues:
                canary = event_of(
                    CanarySent(queue=name),
                    tenant=PLATFORM_TENANT,
                    subject=name,
                    service=self.service,
                    traceparent=new_traceparent(sampled=False),
                )
                begins = relay_of(self.service) if self._rabbit else name
                await self._publisher.publish(canary.to_bytes(), queue=begins, session=connection)

    def _on_poll(self, event: str, tags: Mapping[str, Any]) -> None:
        """What the library tells of its consumers on PostgreSQL; on RabbitMQ these have the next attempts only."""
        pulse = self._pulses.get(tags.get("queue", ""))
        if event == "fetched" and pulse and not self._rabbit:
            pulse.seen()


def _opened(queue: Queue, body: bytes, *, is_last: bool = False) -> AnyEvent:
    try:
        return event_from(body)
    except EventInvalid:
        MESSAGES.labels(queue.name, "invalid").inc()
        raise
    except EventUnknown:
        for outcome in ("failed", "dead") if is_last else ("failed",):
            MESSAGES.labels(queue.name, outcome).inc()
        raise


def _parked(queue: Queue, body: bytes, attempts: int, delay: float | None, error: Exception) -> Insert:
    now = func.now()
    if delay is None:
        return insert(TABLES.dead_letters).values(
            original_id=0, queue=queue.name, payload=body, deliveries_count=attempts, created_at=now,
            failure_reason="retry_terminal", last_exception=repr(error)[:8000],
        )  # fmt: skip
    return insert(TABLES.outbox).values(
        queue=queue.name, payload=body, attempts_count=attempts, deliveries_count=attempts,
        next_attempt_at=now + func.make_interval(0, 0, 0, 0, 0, 0, delay),
    )  # fmt: skip


async def _whole_message(message: StreamMessage[OutboxInnerMessage]) -> StreamMessage[OutboxInnerMessage]:
    return message


class _Strategy:
    """`RetryPolicy` in the words of faststream-outbox."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy

    def get_next_attempt_delay(
        self,
        *,
        first_attempt_at: datetime,
        last_attempt_at: datetime,
        attempts_count: int,
        exception: BaseException | None = None,
    ) -> float | None:
        if isinstance(exception, EventInvalid):
            return None
        if isinstance(exception, Later):
            return exception.seconds
        return self._policy.delay_after(attempts_count)
