"""A delivery that is to be attempted, and what came of an attempt. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Destination:
    """A webhook endpoint as an attempt needs it.

    Attributes:
        headers: Those that its owner adds.
        keys: What attempts are signed with, `whsec_…` and `whsk_…`: the present ones first, then retired ones.
    """

    endpoint_id: UUID
    tenant: str
    url: str
    headers: Mapping[str, str]
    keys: Sequence[str] = field(repr=False)


@dataclass(frozen=True)
class Claimed:
    """A delivery leased to this process, with all that its next attempt needs.

    Attributes:
        attempts_made: All there were.
        tries: Those since it was created, retried or replayed: its place in the retry schedule.
        ordered: Whether others may wait behind it.
        test: Somebody asked for it to try the endpoint: there is one attempt, which says so in a header.
        troubled: Its endpoint may have failed lately, so that a success is news.
        probe: The circuit of its endpoint is open, and this is the attempt that tells whether it may close.
        happened_at: The time of the event that it tells; None: somebody tries the endpoint.
        traceparent: The trace of that event.
    """

    id: UUID
    destination: Destination
    event_type: str
    body: bytes = field(repr=False)
    sequence: int | None
    attempts_made: int
    tries: int
    ordered: bool = False
    test: bool = False
    troubled: bool = True
    probe: bool = False
    happened_at: datetime | None = None
    traceparent: str | None = None


@dataclass(frozen=True)
class Attempt:
    """What one attempt was and what came back.

    Attributes:
        response_status: None where nothing was answered.
        retry_after: Seconds that the receiver asks to wait, whatever way it said so; None: it did not.
    """

    attempted_at: datetime
    latency_ms: int
    response_status: int | None = None
    response_body: str | None = None
    error: str | None = None
    retry_after: float | None = None

    @property
    def succeeded(self) -> bool:
        """Only 2xx is success; a redirect is a failure."""
        return self.response_status is not None and 200 <= self.response_status < 300


def message_id(delivery_id: UUID) -> str:
    """The `webhook-id`: stable over retries, so that a receiver can tell a repetition."""
    return f"msg_{delivery_id.hex}"
