"""A delivery that is to be attempted, and what came of an attempt. Pure."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Claimed:
    """A delivery leased to this process, with all that its next attempt needs."""

    id: UUID
    endpoint_id: UUID
    body: bytes
    attempts_made: int
    url: str
    secret: str


@dataclass(frozen=True)
class Attempt:
    """What one attempt was and what came back. `response_status` is None where nothing was answered."""

    attempted_at: datetime
    latency_ms: int
    response_status: int | None = None
    response_body: str | None = None
    error: str | None = None
