"""The bus: one way to publish and to subscribe, on two transports.

    publish(connection, event) ──► bus.outbox, in the caller's transaction
        embedded:  a row for each bound queue; the consumers take it from there
        RabbitMQ:  one row for the relay, which publishes it (persistent, mandatory, confirmed) to the exchange

A handler that fails is tried again after a delay kept in PostgreSQL, on both transports, and dead-lettered after
the last attempt. A message may come twice; `once` makes a handler idempotent.
"""

from shared.platform.bus.backlog import BrokerSilent, Depth, Kept, dead_letters, kept, relay_of
from shared.platform.bus.bus import Bus
from shared.platform.bus.delivery import Handler, Later, Publish, Subscription, inbox_table, once
from shared.platform.bus.retry import RetryPolicy

__all__ = [
    "BrokerSilent",
    "Bus",
    "Depth",
    "Handler",
    "Kept",
    "Later",
    "Publish",
    "RetryPolicy",
    "Subscription",
    "dead_letters",
    "inbox_table",
    "kept",
    "once",
    "relay_of",
]
