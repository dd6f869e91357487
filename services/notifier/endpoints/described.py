"""The webhooks themselves for the OpenAPI description, in its section `webhooks`: what receivers are sent. Pure.

The payloads are made in `payloads`; these models only describe them.
"""

from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field, create_model

from services.notifier.endpoints.resources import may_be_missing
from services.notifier.messages.event_types import TEST_TYPE
from services.notifier.messages.payloads import UNTOLD
from shared.contracts.datasets import datasets
from shared.contracts.events import (
    EndpointDisabled,
    EndpointFailing,
    EventData,
    ImportCancelled,
    ImportCompleted,
    ImportFailed,
    InvestigationOpened,
    InvestigationReopened,
    InvestigationResolved,
)

_OF_EVENTS: tuple[type[EventData], ...] = (
    ImportCompleted,
    ImportFailed,
    ImportCancelled,
    InvestigationOpened,
    InvestigationReopened,
    InvestigationResolved,
    EndpointFailing,
    EndpointDisabled,
)
_DONE = {"created": "Created", "updated": "Updated", "deleted": "Deleted"}
_HOW = (
    "Signed as Standard Webhooks 1.0 has it: `webhook-signature` is a list of signatures over"
    " `{webhook-id}.{webhook-timestamp}.{body}`, separated by spaces, one of which must be right. Any status of 2xx is"
    " success, and the answer must be there within 15 s; 410 disables the endpoint, and after anything else it is sent again,"
    " with the same `webhook-id`. It may come more than once for other reasons, too."
)
_RESPONSES: dict[int | str, dict[str, Any]] = {
    410: {"description": "The receiver wants nothing more: the endpoint is disabled"},
    "default": {"description": "A failure: it is sent again, later"},
}


class Payload(BaseModel):
    """What a webhook says (Standard Webhooks 1.0)."""

    type: str
    timestamp: datetime = Field(description="When it happened.")


class RecordLinks(BaseModel):
    record: str = Field(description="Where the record is: a path on Penstock's host.")


class ChangedRecord(BaseModel):
    """A record as `GET /api/v1/records/{dataset}/{id}` shows it when the message is made; of a deleted one its `id` alone."""

    model_config = ConfigDict(extra="allow")

    id: str
    changed_by_row: int = may_be_missing(description="The import's record that changed it, from 1.")
    links: RecordLinks = may_be_missing()
    thin: Literal[True] = may_be_missing(
        description="The record is too large to be told: fetch it from `links.record`."
    )
    deleted: Literal[True] = may_be_missing(description="The record is gone already.")


class DatasetLinks(BaseModel):
    records: str = Field(description="Where the dataset's records are listed: a path on Penstock's host.")


class ChangedRecords(BaseModel):
    """Records of a dataset that an import or an edit has changed."""

    dataset: str
    import_id: UUID = may_be_missing(description="The import that changed them.")
    edit_id: UUID = may_be_missing(description="Or the edit that did.")
    batch: int = may_be_missing(
        description="The number of this batch within its import, from 1, over all types."
    )
    count: int = Field(description="How many: of `items`, but when a whole dataset was deleted.")
    first_row: int = may_be_missing(description="The first of the import's records that are told of here.")
    last_row: int = may_be_missing(description="And the last one.")
    whole_dataset: Literal[True] = may_be_missing(description="All of the dataset was deleted.")
    links: DatasetLinks = may_be_missing()
    items: list[ChangedRecord] = Field(description="In order of the file.", max_length=500)


class WebhookTest(BaseModel):
    """What the test button sends."""

    webhook_id: UUID
    message: str


@cache  # nothing in it depends on the process that shows it
def webhook_events() -> APIRouter:
    """A route for each event type, which nobody ever calls: it is described."""
    routes = APIRouter()
    for data in _OF_EVENTS:
        _add(routes, data.type, _told(data), (data.__doc__ or "").partition("\n")[0])
    for dataset in datasets().values():
        for what, done in _DONE.items():
            _add(routes, f"{dataset.noun}.{what}", ChangedRecords, f"{done}: records of `{dataset.name}`")
    _add(routes, TEST_TYPE, WebhookTest, "A test that somebody asked for; it says nothing of anything")
    return routes


def _told(data: type[EventData]) -> type[BaseModel]:
    """The model of what receivers are told of an event's data."""
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in data.model_fields.items() if name not in UNTOLD
    }
    if len(fields) == len(data.model_fields):
        return data
    description = (data.__doc__ or "").partition("\n\n    Attributes:")[0]
    return create_model(data.__name__, __doc__=description, **fields)


def _add(routes: APIRouter, event_type: str, data: type[BaseModel], summary: str) -> None:
    body = payload_model(event_type, data)

    @routes.post(
        event_type,
        name=event_type,
        operation_id=f"webhook_{event_type}",
        summary=summary,
        description=_HOW,
        status_code=204,
        response_description="Taken; any status of 2xx will do",
        responses=_RESPONSES,
        tags=["webhook events"],
    )
    async def receive(
        payload: body,  # type: ignore[valid-type]
        webhook_id: Annotated[
            str, Header(description="The same in every attempt, and in no other delivery.")
        ],
        webhook_timestamp: Annotated[int, Header(description="Of the attempt, in Unix seconds.")],
        webhook_signature: Annotated[str, Header(description="`v1,…`, and with `ed25519` also `v1a,…`.")],
        webhook_sequence: Annotated[
            int,
            Header(description="Counts the endpoint's deliveries from 1: a gap tells that one is missing."),
        ],
    ) -> None: ...


def payload_model(event_type: str, data: type[BaseModel]) -> type[Payload]:
    """The payload of an event type."""
    name = "".join(part.capitalize() for part in event_type.replace(".", "-").split("-"))
    fields: dict[str, Any] = {"type": (Literal[event_type], ...), "data": (data, ...)}
    return create_model(f"{name}Webhook", __base__=Payload, **fields)
