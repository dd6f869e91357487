"""Who hears what. Declared here once; every service declares all of it on the broker at every start."""

from dataclasses import dataclass

EXCHANGE = "penstock.events"  # topic exchange, durable; the routing key is the event type
LIVE_EXCHANGE = "penstock.live"  # topic exchange; what it carries may be lost
DEAD_EXCHANGE = "penstock.dead"  # direct exchange behind every queue's dead-letter queue

# Event types that go out live, to every process that listens, past the outbox.
LIVE_TYPES = frozenset({"import.progressed", "record.replied"})

# The event type that goes to one queue, whatever its service: nothing follows from it but that it arrived.
CANARY_TYPE = "canary.sent"


@dataclass(frozen=True)
class Queue:
    """One consumer's inbox.

    Attributes:
        types: The event types bound to it.
        workers: How many run at once in a process.
        acknowledged_together: So many messages of a worker may be acknowledged at once, on the embedded transport, as long
            as there are more. What was handled and not acknowledged comes again after a crash.
    """

    name: str
    types: frozenset[str]
    workers: int = 1
    acknowledged_together: int = 1

    @property
    def service(self) -> str:
        """Whose processes consume it."""
        return self.name.partition(".")[0]

    @property
    def dead_letter_queue(self) -> str:
        return f"{self.name}.dead"

    @property
    def canary_key(self) -> str:
        """The routing key of canaries for this queue alone."""
        return canary_key(self.name)


def canary_key(queue: str) -> str:
    """The routing key of canaries for the queue of that name alone."""
    return f"{CANARY_TYPE}.{queue}"


# The only one of upload: to check a file of many GB takes a minute, in which another one may be checked.
UPLOAD_FINISH = Queue("upload.finish", frozenset({"upload.finish"}), workers=2)
PROCESSOR_IMPORTS = Queue("processor.imports", frozenset({"import.uploaded", "slice.process"}), workers=2)
# Apart from the imports themselves, which may keep all workers busy for seconds.
PROCESSOR_COMMANDS = Queue("processor.commands", frozenset({"import.cancel", "import.retry"}))
# Somebody waits for each of these. Most take a millisecond or two; one that meets a slice waits half a second for it, and
# then goes to the end of the queue, so that no tenant's import or deletion holds up the edits of all others.
PROCESSOR_RECORDS = Queue(
    "processor.records",
    frozenset({"record.create", "record.replace", "record.patch", "record.delete", "records.delete_all"}),
    workers=4,
)
RESULTS_IMPORTS = Queue(
    "results.imports",
    frozenset({"import.uploaded", "import.resumed", "import.completed", "import.failed", "import.cancelled"}),
)
NOTIFIER_EVENTS = Queue(
    "notifier.events",
    frozenset(
        {
            *("import.completed", "import.failed", "import.cancelled"),
            *("import.uploaded", "records.changed", "records.deleted"),
            *("investigation.opened", "investigation.reopened", "investigation.resolved"),
            *("endpoint.failing", "endpoint.disabled"),
        }
    ),
    # What comes at the same time is told in one transaction.
    workers=16,
    acknowledged_together=20,
)

QUEUES = (
    *(UPLOAD_FINISH, PROCESSOR_IMPORTS, PROCESSOR_COMMANDS, PROCESSOR_RECORDS),
    *(RESULTS_IMPORTS, NOTIFIER_EVENTS),
)
SERVICES = tuple(dict.fromkeys(queue.service for queue in QUEUES))  # each of the four has one at least


def queues_for(event_type: str) -> tuple[Queue, ...]:
    """The queues that an event of this type must reach.

    Raises:
        LookupError: no queue is bound; publishing it would lose it.
    """
    found = tuple(queue for queue in QUEUES if event_type in queue.types)
    if not found:
        raise LookupError(f"no queue is bound to {event_type!r}; add it to shared/contracts/topology.py")
    return found
