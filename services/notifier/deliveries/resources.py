"""Deliveries as the API shows them, made from rows. Pure."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.notifier.delivery.attempts import message_id
from services.notifier.delivery.schedule import DeliveryStatus
from shared.platform.paging import TotalCount
from shared.platform.parameters import RequestedMoment

ATTEMPTS_LISTED = 10  # a round of the retry schedule
ATTEMPTS_SHOWN = 100  # of a delivery by itself; with a response of 16 kB each some 1.6 MB
PAGE_BYTES = (
    2 * 1024 * 1024
)  # of payloads and responses on a page; they are read and written as JSON while others wait

RowT = TypeVar("RowT")


class DeliveryAttempt(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    number: int = Field(description="From 1, over all retries and replays.")
    attempted_at: datetime
    latency_ms: int
    response_status: int | None = Field(description="null: there was no answer; see `error`.")
    response_body: str | None = Field(description="What the receiver answered, its first 16 kB.")
    error: str | None = Field(description="Why there was no answer, or why it does not count.")


class LastAttempt(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    attempted_at: datetime
    latency_ms: int
    response_status: int | None
    error: str | None


class Links(BaseModel):
    """Where to go on: paths on this host."""

    self_: str = Field(serialization_alias="self")
    webhook: str
    retry: str


class Delivery(BaseModel):
    """One message on its way to one webhook endpoint."""

    id: UUID
    webhook_id: str = Field(description="The header `webhook-id`, the same in every attempt.")
    sequence: int = Field(
        description="The header `webhook-sequence`: 1, 2, 3, … for each endpoint, without gaps, in the order in which"
        " the deliveries were made."
    )
    event_id: UUID = Field(description="The event that it tells of; several deliveries may tell of one.")
    event_type: str
    test: bool = Field(description="It was sent because somebody asked for a test.")
    status: DeliveryStatus = Field(
        description="`pending`: it will be attempted. `succeeded`: it was answered with 2xx. `failed`: it was given up."
        " `skipped`: it was made while the endpoint was disabled, and was not sent. A retry or a replay makes it"
        " `pending` again."
    )
    in_flight: bool = Field(description="An attempt is under way.")
    held: bool = Field(
        description="It waits for an earlier one about the same import, record or investigation, so that they"
        " arrive in order."
    )
    attempts_made: int
    created_at: datetime
    next_attempt_at: datetime | None = Field(
        description="null while it is `held` or `in_flight`, and at the end."
    )
    finished_at: datetime | None
    last_attempt: LastAttempt | None
    attempts: list[DeliveryAttempt] = Field(
        description=f"The first one first; in a list the latest {ATTEMPTS_LISTED}, else the latest {ATTEMPTS_SHOWN}."
    )
    payload: dict[str, Any] | None = Field(
        description="What is sent, `{type, timestamp, data}`. In a list null, unless it is asked for with `payload=true`."
    )
    links: Links


class DeliveryPage(BaseModel):
    items: list[Delivery]
    next_cursor: str | None
    total: TotalCount = None


class WebhookTest(BaseModel):
    """What to try an endpoint with."""

    model_config = ConfigDict(extra="forbid")

    event_type: str = Field(
        "webhook.test",
        description="Any type of webhook; it need not be one that the endpoint has asked for.",
        max_length=100,
        examples=["product.updated"],
    )


class WebhookReplay(BaseModel):
    """Which deliveries to send again. One of `since` and `event_types` is needed."""

    model_config = ConfigDict(extra="forbid")

    since: RequestedMoment | None = Field(
        None, description="Those created at this moment or later; a date is its midnight in UTC."
    )
    until: RequestedMoment | None = Field(
        None, description="Those created before this moment, which is after `since`; likewise."
    )
    event_types: Annotated[list[str], Field(min_length=1, max_length=100)] | None = Field(
        None, description="Those of one of these types; `product.*` is all that begin with `product.`."
    )
    status: Literal["undelivered", "all"] = Field(
        "undelivered",
        description="`undelivered`: all that did not succeed, as in the list of deliveries. `all`: what has succeeded is sent again, too.",
    )
    dry_run: bool = Field(False, description="Only count them.")


class Replayed(BaseModel):
    count: int = Field(
        ge=0, description="How many deliveries are sent again; of a dry run, how many would be."
    )


def delivery_of(row: Any, attempts: Sequence[Any], body: bytes | None) -> Delivery:
    """A row of `repository`, with its latest attempts, the first one first; `body`: None leaves the payload out."""
    here = f"/api/v1/webhooks/{row.endpoint_id}"
    return Delivery(
        id=row.id,
        webhook_id=message_id(row.id),
        sequence=row.sequence,
        event_id=row.event_id,
        event_type=row.event_type,
        test=row.test,
        status=row.status,
        in_flight=row.in_flight,
        held=row.held,
        attempts_made=row.attempts_made,
        created_at=row.created_at,
        next_attempt_at=None if row.held or row.in_flight else row.next_attempt_at,
        finished_at=row.finished_at,
        last_attempt=LastAttempt.model_validate(attempts[-1]) if attempts else None,
        attempts=[DeliveryAttempt.model_validate(attempt) for attempt in attempts],
        payload=None if body is None else json.loads(body),
        links=Links(
            self_=f"{here}/deliveries/{row.id}", webhook=here, retry=f"{here}/deliveries/{row.id}/retry"
        ),
    )


def cut(rows: Iterable[tuple[RowT, int]], most: int) -> list[RowT]:
    """The first of `rows`, each with its size, that together are no more than `most`; the very first in any case."""
    kept: list[RowT] = []
    for row, size in rows:
        most -= size
        if kept and most < 0:
            break
        kept.append(row)
    return kept
