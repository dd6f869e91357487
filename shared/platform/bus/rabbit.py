"""RabbitMQ: quorum queues with dead letters, confirmed publishing, bounded prefetch, live events on the side."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.abc import ExchangeType as AmqpExchangeType
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelNotFoundEntity
from faststream import AckPolicy
from faststream.exceptions import RejectMessage
from faststream.message import StreamMessage
from faststream.rabbit import Channel, ExchangeType, QueueType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.subscriber import RabbitSubscriber

from shared.contracts.events import AnyEvent, EventInvalid, event_from
from shared.contracts.topology import (
    CANARY_TYPE,
    DEAD_EXCHANGE,
    EXCHANGE,
    LIVE_EXCHANGE,
    QUEUES,
    Queue,
    canary_key,
)
from shared.platform.bus.backlog import BrokerSilent, Depth
from shared.platform.health import Check
from shared.platform.logs import get_logger

PUBLISH_TIMEOUT_SECONDS = 10.0
RECONNECT_SECONDS = 1.0
CONNECT_SECONDS = (
    10.0  # one that is frozen takes connections and says nothing; else it would be 130 s, or for ever
)
# RabbitMQ closes the connection of who was silent for two of them, and gives others what it had. The library's 60 would
# keep the messages of a frozen process for three minutes.
HEARTBEAT_SECONDS = 20
DEPTHS_TIMEOUT_SECONDS = 2.0
ANSWER_SECONDS = 2.0  # to a check
# A message that killed its consumer this often is dead. Explicit, as the default differs: none before 4.0, 20 from it.
DELIVERY_LIMIT = 20

EVENTS = RabbitExchange(EXCHANGE, type=ExchangeType.TOPIC, durable=True)
LIVE = RabbitExchange(LIVE_EXCHANGE, type=ExchangeType.TOPIC, durable=True)

log = get_logger(__name__)
_library_log = logging.getLogger("penstock.bus")


def declared(queue: Queue) -> RabbitQueue:
    """The queue as RabbitMQ must know it: durable, replicated, its dead letters kept."""
    return RabbitQueue(
        queue.name,
        queue_type=QueueType.QUORUM,
        arguments={
            "x-dead-letter-exchange": DEAD_EXCHANGE,
            "x-dead-letter-routing-key": queue.name,
            "x-delivery-limit": DELIVERY_LIMIT,
        },
    )


class RabbitTransport:
    """One connection to RabbitMQ for one service, with a heartbeat of 20 s where the URL names none."""

    def __init__(self, url: str, service: str, *, stop_seconds: float) -> None:
        self._service = service
        self._subscribers: dict[str, RabbitSubscriber] = {}
        self._broker = RabbitBroker(
            url,
            default_channel=Channel(publisher_confirms=True, on_return_raises=True),
            reconnect_interval=RECONNECT_SECONDS,
            timeout=CONNECT_SECONDS,
            graceful_timeout=stop_seconds,
            client_properties={}
            if "heartbeat" in parse_qs(urlsplit(url).query)
            else {"heartbeat": HEARTBEAT_SECONDS},
            app_id=f"penstock-{service}",
            logger=_library_log,
            apply_types=False,
        )

    async def start(
        self,
        consumers: Sequence[tuple[Queue, Callable[[bytes], Awaitable[None]]]],
        listeners: Sequence[Callable[[AnyEvent], Awaitable[None]]],
    ) -> None:
        """Connect, declare the whole topology (every service's), then consume and listen."""
        await _declare_topology(await self._broker.connect())
        for queue, handle in consumers:
            subscriber = self._broker.subscriber(
                declared(queue),
                channel=Channel(prefetch_count=queue.workers),
                ack_policy=AckPolicy.NACK_ON_ERROR,
                decoder=_whole_message,
            )
            subscriber(_rejecting_invalid(handle))
            self._subscribers[queue.name] = subscriber
        if listeners:
            self._subscribe_live(listeners)
        await self._broker.start()

    async def stop(self) -> None:
        """Take no new message, finish what is in hand, disconnect."""
        await asyncio.gather(*map(_take_no_more, self._subscribers.values()))
        await self._broker.stop()

    async def publish(self, event: AnyEvent, body: bytes) -> None:
        """Publish persistent, mandatory, and wait for the broker's confirmation.

        Raises:
            Exception: unroutable, refused or not confirmed within 10 s. The outbox keeps the event and tries again.
        """
        with _not_cancelled_by_the_library():
            await self._broker.publish(
                body,
                exchange=EVENTS,
                routing_key=canary_key(event.subject) if event.type == CANARY_TYPE else event.type,
                persist=True,
                mandatory=True,
                timeout=PUBLISH_TIMEOUT_SECONDS,
                message_id=str(event.id),
                message_type=event.type,
                content_type="application/cloudevents+json",
            )

    async def send(self, event: AnyEvent) -> None:
        """Publish a live event; what cannot be sent now is lost, as agreed."""
        try:
            with _not_cancelled_by_the_library():
                await self._broker.publish(
                    event.to_bytes(),
                    exchange=LIVE,
                    routing_key=event.type,
                    mandatory=False,
                    timeout=1.0,
                    content_type="application/cloudevents+json",
                )
        except Exception as error:  # noqa: BLE001 - live events may be lost
            log.warning("live.not_sent", error=repr(error))

    async def checks(self) -> list[Check]:
        """Whether the broker answers and knows each consumer of this service."""
        connected = await self._broker.ping(timeout=ANSWER_SECONDS)
        found = await asyncio.gather(*map(self._consumers, self._subscribers)) if connected else []
        if not connected or (found and all(consumers is None for consumers in found)):
            return [Check("bus.rabbitmq", ok=False, detail="RabbitMQ does not answer")]
        consumes = [
            Check(f"bus.subscriber.{name}", ok=bool(consumers) and _is_open(subscriber), detail=name)
            for (name, subscriber), consumers in zip(self._subscribers.items(), found, strict=True)
        ]
        return [Check("bus.rabbitmq", ok=True), *consumes]

    async def depths(self) -> dict[str, Depth]:
        """What the broker holds of each queue.

        Raises:
            BrokerSilent: it does not say within 2 s.
        """
        try:
            async with asyncio.timeout(DEPTHS_TIMEOUT_SECONDS):
                with _not_cancelled_by_the_library():
                    return await _depths(await self._broker.connect())
        except Exception as error:
            log.warning("bus.depths_unknown", error=repr(error))
            raise BrokerSilent(f"RabbitMQ does not say what it holds ({type(error).__name__})") from error

    async def _consumers(self, queue: str) -> int | None:
        """How many consumers the broker knows of the queue; None: it does not say."""
        # `ping` and `running` stay true when the broker has cancelled the consumer, or says nothing; the queue knows better.
        # Asked by another channel than the consumer's: the library closes one whose answer does not come in time.
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                with _not_cancelled_by_the_library():
                    channel = await _channel_below(await self._broker.connect())
                    declared = await channel.queue_declare(queue, passive=True)
                    await channel.close()
        except ChannelNotFoundEntity:
            return 0  # the queue is not there
        except Exception:  # noqa: BLE001 - whatever the reason, it does not say
            return None
        return declared.consumer_count or 0

    def _subscribe_live(self, listeners: Sequence[Callable[[AnyEvent], Awaitable[None]]]) -> None:
        async def hear(message: StreamMessage[object]) -> None:
            for callback in listeners:
                await callback(event_from(message.body))

        mine = RabbitQueue(
            f"penstock.live.{self._service}.{uuid4().hex[:12]}",
            durable=False,
            exclusive=True,
            auto_delete=True,
            routing_key="#",
        )
        self._broker.subscriber(mine, LIVE, ack_policy=AckPolicy.ACK_FIRST, decoder=_whole_message)(hear)


async def depths_at(url: str) -> dict[str, Depth]:
    """What the broker at `url` holds of each queue, by a connection of its own, which ends with this and is tried once.

    Raises:
        BrokerSilent: it does not say within CONNECT_SECONDS.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS), await aio_pika.connect(url) as connection:
            return await _depths(connection)
    except Exception as error:
        raise BrokerSilent(f"RabbitMQ does not say what it holds ({type(error).__name__})") from error


async def _declare_topology(connection: AbstractConnection) -> None:
    # Not through the broker: it would remember the queues as this channel's, and consume without their prefetch.
    channel = await connection.channel()
    events = await channel.declare_exchange(EXCHANGE, AmqpExchangeType.TOPIC, durable=True)
    dead = await channel.declare_exchange(DEAD_EXCHANGE, AmqpExchangeType.DIRECT, durable=True)
    await channel.declare_exchange(LIVE_EXCHANGE, AmqpExchangeType.TOPIC, durable=True)
    for queue in QUEUES:
        graveyard = await channel.declare_queue(
            queue.dead_letter_queue, durable=True, arguments={"x-queue-type": "quorum"}
        )
        await graveyard.bind(dead, routing_key=queue.name)
        inbox = await channel.declare_queue(queue.name, durable=True, arguments=declared(queue).arguments)
        for routing_key in (*sorted(queue.types), queue.canary_key):
            await inbox.bind(events, routing_key=routing_key)


async def _depths(connection: AbstractConnection) -> dict[str, Depth]:
    channel = await _channel_below(connection)
    found = {}
    for queue in QUEUES:
        inbox = await channel.queue_declare(queue.name, passive=True)
        graveyard = await channel.queue_declare(queue.dead_letter_queue, passive=True)
        found[queue.name] = Depth(
            waiting=inbox.message_count or 0,
            in_hand=None,
            dead_letters=graveyard.message_count or 0,
            consumers=inbox.consumer_count or 0,
        )
    await channel.close()  # not where that failed: a broker that does not answer would not answer this either
    return found


async def _channel_below(connection: AbstractConnection) -> AbstractChannel:
    # Below the library's channel, which would come back after the connection did; and one of its own, as the broker
    # closes a channel that asks for a queue that is not there.
    if connection.transport is None:
        raise ConnectionError("not connected")
    return await connection.transport.connection.channel()


@contextmanager
def _not_cancelled_by_the_library() -> Iterator[None]:
    """When it gives a silent connection up, it cancels what waits for that; who waits, as the relay, must go on.

    Raises:
        ConnectionError: in place of a cancellation that nobody has asked this task for.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionError("the connection to RabbitMQ was given up") from error


def _is_open(subscriber: RabbitSubscriber) -> bool:
    queue = subscriber._queue_obj
    return queue is not None and not queue.channel.is_closed


async def _take_no_more(subscriber: RabbitSubscriber) -> None:
    """Have RabbitMQ give its messages to others from now on.

    The library does so only after those in hand have ended; what comes meanwhile it drops without an answer, so that nobody
    would handle it until the connection is closed.
    """
    queue, tag = subscriber._queue_obj, subscriber._consumer_tag
    subscriber._consumer_tag = None
    if queue is not None and tag is not None and not queue.channel.is_closed:
        # What cannot be told any more need not be: without a connection others get them.
        with suppress(OSError, TimeoutError, aio_pika.exceptions.AMQPError):
            await queue.cancel(tag, timeout=ANSWER_SECONDS)


def _rejecting_invalid(
    handle: Callable[[bytes], Awaitable[None]],
) -> Callable[[StreamMessage[object]], Awaitable[None]]:
    async def consume(message: StreamMessage[object]) -> None:
        try:
            await handle(message.body)
        except EventInvalid as error:
            log.exception("event.invalid")
            raise RejectMessage from error

    return consume


async def _whole_message(message: StreamMessage[object]) -> StreamMessage[object]:
    return message
