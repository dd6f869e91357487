"""Every figure of `/metrics`, declared once: its name, what it means, its labels. `deploy/METRICS.md` is made from these.

No label says a tenant: there may be any number of them, and each would be a series of its own.

Counters and histograms are this process's own, and are summed. What is read from the database and the broker when somebody
asks (`AtScrape`) is the whole installation's: every process that shows it shows the same, so take `max` over them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

# When a series began: a third of all lines, and Prometheus finds a counter that begins anew by itself.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)

QUICK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LONG_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400)


@dataclass(frozen=True)
class Sample:
    """One value of a figure that is read at a scrape."""

    figure: "AtScrape"
    labels: Sequence[str]
    value: float


@dataclass(frozen=True)
class AtScrape:
    """A gauge whose values are read when somebody asks for them. What cannot be read is left out, never 0."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()

    def of(self, value: float, *labels: str) -> Sample:
        """Its value, where its labels have these values, in their order."""
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {labels}")
        return Sample(self, labels, value)


# Imports.

IMPORTS = Counter(
    "penstock_imports",
    "Imports that ended, by how (completed, failed, cancelled).",
    ["dataset", "status"],
    registry=REGISTRY,
)
RECORDS = Counter(
    "penstock_records",
    "Records of imports that were done, dry runs too, by what became of them (inserted, updated, unchanged, duplicate, rejected).",
    ["dataset", "outcome"],
    registry=REGISTRY,
)
ROW_ERRORS = Counter(
    "penstock_row_errors",
    "Row errors found in what was done, those not kept as rows included.",
    ["dataset", "code"],
    registry=REGISTRY,
)
SLICE_SECONDS = Histogram(
    "penstock_slice_seconds",
    "From the moment a slice is read to its commit, without what was read ahead.",
    ["dataset"],
    buckets=QUICK_SECONDS,
    registry=REGISTRY,
)
IMPORTS_OPEN = AtScrape(
    "penstock_imports_open", "Imports that have not ended: pending or processing.", ("status",)
)
IMPORT_OLDEST_SECONDS = AtScrape(
    "penstock_import_oldest_seconds", "Since an import that has not ended last moved; 0: there is none."
)

# The bus.

MESSAGES = Counter(
    "penstock_messages",
    "Messages by what a consumer did with them: handled, later (not now, no attempt), failed (an attempt), invalid (no event); and"
    " dead, beside failed: that was the last attempt.",
    ["queue", "outcome"],
    registry=REGISTRY,
)
MESSAGE_SECONDS = Histogram(
    "penstock_message_seconds",
    "What a message took its handler.",
    ["queue"],
    buckets=QUICK_SECONDS,
    registry=REGISTRY,
)
MESSAGE_AGE_SECONDS = Histogram(
    "penstock_message_age_seconds",
    "From an event to the beginning of an attempt at its message: what it waited for, retries included, canaries too.",
    ["queue"],
    buckets=LONG_SECONDS,
    registry=REGISTRY,
)
CANARY_SECONDS = Histogram(
    "penstock_canary_seconds",
    "From the outbox to a consumer, through the whole bus: what a canary took.",
    ["queue"],
    buckets=QUICK_SECONDS,
    registry=REGISTRY,
)
CONSUMER_IDLE_SECONDS = AtScrape(
    "penstock_consumer_idle_seconds",
    "Since this process's consumer of a queue has shown that it lives. Canaries keep it below 30; above 60 it is unready.",
    ("queue",),
)
QUEUE_MESSAGES = AtScrape(
    "penstock_queue_messages",
    "Messages of a queue, in PostgreSQL and at the broker: waiting, in_hand, scheduled (a later attempt), dead.",
    ("queue", "state"),
)
QUEUE_OLDEST_SECONDS = AtScrape(
    "penstock_queue_oldest_seconds",
    "For how long the message that waits longest has been due, as far as it is in PostgreSQL; 0: none waits.",
    ("queue",),
)
OUTBOX_LAG_SECONDS = AtScrape(
    "penstock_outbox_lag_seconds",
    "Age of the oldest message that a service has published and RabbitMQ has not confirmed; 0: none.",
    ("service",),
)
PROCESSES = AtScrape("penstock_processes", "Processes of a service that live.", ("service",))

# Webhooks.

ATTEMPTS = Counter(
    "penstock_webhook_attempts",
    "Attempts at deliveries, by result: succeeded, 1xx, 3xx, 4xx, 5xx, unanswered.",
    ["result"],
    registry=REGISTRY,
)
EVENT_TO_DELIVERY_SECONDS = Histogram(
    "penstock_event_to_delivery_seconds",
    "From an event to the successful end of its delivery, retries included; what somebody sends again by hand is left out.",
    buckets=LONG_SECONDS,
    registry=REGISTRY,
)
DELIVERIES_PAST_DUE = AtScrape(
    "penstock_deliveries_past_due", "Deliveries whose next attempt is due, and which nobody has in hand."
)
DELIVERIES_PAST_DUE_SECONDS = AtScrape(
    "penstock_deliveries_past_due_seconds",
    "For how long the delivery that waits longest has been due, of endpoints that may be sent to; 0: none is due.",
)

# HTTP, database, store.

REQUEST_SECONDS = Histogram(
    "penstock_http_request_seconds",
    "From a request's head to its answer's end, by route (not path) and status. Live streams are left out.",
    ["method", "route", "status"],
    buckets=QUICK_SECONDS,
    registry=REGISTRY,
)
DATABASE_CONNECTIONS = AtScrape(
    "penstock_database_connections",
    "This process's connections for the requests and work of a service, without those of the bus and of edits under way: in_use,"
    " idle, limit.",
    ("service", "state"),
)
STORE_SECONDS = Histogram(
    "penstock_store_seconds",
    "Requests to the object store, by operation (put, read, delete, check) and outcome (ok, missing, failed), without what a put"
    " waited for its bytes. What its caller broke off is left out.",
    ["operation", "outcome"],
    buckets=QUICK_SECONDS,
    registry=REGISTRY,
)
STORE_FREE_BYTES = AtScrape(
    "penstock_store_free_bytes", "Free room where files are, if the store is a folder."
)

# The process itself.

BUILD = Gauge(
    "penstock_build", "1: this process, with its version.", ["service", "version"], registry=REGISTRY
)
SCRAPE_FAILURES = Counter(
    "penstock_scrape_failures",
    "Figures that could not be read when they were asked for.",
    ["source"],
    registry=REGISTRY,
)

COUNTED: tuple[Counter | Gauge | Histogram, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Counter | Gauge | Histogram)
)
AT_SCRAPE = tuple(value for value in list(globals().values()) if isinstance(value, AtScrape))
