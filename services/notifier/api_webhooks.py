"""Routes of webhook endpoints and their deliveries."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier import repository
from services.notifier.guard import (
    MAX_URL_LENGTH,
    Resolve,
    TargetForbidden,
    TargetUnresolvable,
    parsed,
    vetted_address,
)
from services.notifier.schedule import DeliveryStatus
from services.notifier.signing import new_secret
from services.notifier.texts import Paragraph
from services.notifier.webhooks import EVENT_TYPES, WILDCARDS, checked_event_types, message_id
from shared.contracts.problems import Conflict, NotFound, Unprocessable
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Cursors, Limit, page_of
from shared.platform.tenancy import tenant_reading, tenant_writing

MAX_ENDPOINTS = 50  # for each tenant

_CURSORS = Cursors[UUID](UUID)
_KNOWN = ", ".join(f"`{name}`" for name in (*EVENT_TYPES, *WILDCARDS))


class NewWebhook(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str = Field(description="http or https.", max_length=MAX_URL_LENGTH)
    event_types: list[str] = Field(description=f"Any of {_KNOWN}.", min_length=1, max_length=50)
    description: Paragraph | None = None


class Webhook(BaseModel):
    """A webhook endpoint: where deliveries go, and which."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    url: str
    event_types: list[str]
    description: str | None
    enabled: bool
    disabled_reason: str | None = Field(description="`gone`: the receiver answered 410.")
    created_at: datetime


class CreatedWebhook(Webhook):
    secret: str = Field(description="Signs every delivery (Standard Webhooks 1.0). Shown only here.")


class WebhookPage(BaseModel):
    items: list[Webhook]
    next_cursor: str | None


class DeliveryAttempt(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    number: int
    attempted_at: datetime
    latency_ms: int
    response_status: int | None = Field(description="None: there was no answer; see `error`.")
    response_body: str | None = Field(description="Up to 16 kB.")
    error: str | None


class Delivery(BaseModel):
    """One event on its way to one endpoint."""

    id: UUID
    webhook_id: str = Field(description="The `webhook-id` header, the same in every attempt.")
    event_type: str
    status: DeliveryStatus
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    attempts: list[DeliveryAttempt]


class DeliveryPage(BaseModel):
    items: list[Delivery]
    next_cursor: str | None


def webhooks_router(
    engine: AsyncEngine, authenticator: Authenticator, *, allow_private: bool, resolve: Resolve
) -> APIRouter:
    """Create, list, get and delete endpoints; list their deliveries."""
    routes = APIRouter(prefix="/webhooks", tags=["webhooks"])
    Caller = Annotated[Principal, Depends(authenticator.require("webhooks:admin"))]  # noqa: N806 - a type

    @routes.post(
        "",
        status_code=201,
        operation_id="create_webhook",
        summary="Have events sent to a URL",
        responses=problem_responses(401, 403, 409, 422),
    )
    async def create(caller: Caller, new: NewWebhook, response: Response) -> CreatedWebhook:
        values = {**new.model_dump(), "event_types": checked_event_types(new.event_types)}
        await _check_url(new.url, allow_private=allow_private, resolve=resolve)
        async with tenant_writing(engine, caller.tenant) as connection:
            await repository.lock_endpoints(connection, caller.tenant)
            if await repository.count_endpoints(connection, caller.tenant) >= MAX_ENDPOINTS:
                raise _too_many()
            values["secret"] = new_secret()
            row = await repository.add_endpoint(connection, caller.tenant, values)
        response.headers["Location"] = f"/api/v1/webhooks/{row.id}"
        return CreatedWebhook.model_validate(row)

    @routes.get(
        "",
        operation_id="list_webhooks",
        summary="All webhook endpoints, the newest first",
        responses=problem_responses(401, 403, 422),
    )
    async def list_all(caller: Caller, limit: Limit = 50, cursor: Cursor = None) -> WebhookPage:
        before = _CURSORS.decode("webhooks", cursor)
        async with tenant_reading(engine, caller.tenant) as connection:
            rows = await repository.list_endpoints(connection, caller.tenant, limit=limit, before=before)
        page, last = page_of(rows, limit)
        return WebhookPage(
            items=[Webhook.model_validate(row) for row in page],
            next_cursor=last and _CURSORS.encode("webhooks", last.id),
        )

    @routes.get(
        "/{webhook_id}",
        operation_id="get_webhook",
        summary="One webhook endpoint",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def get(caller: Caller, webhook_id: UUID) -> Webhook:
        async with tenant_reading(engine, caller.tenant) as connection:
            row = await repository.endpoint(connection, caller.tenant, webhook_id)
        if row is None:
            raise _not_found(webhook_id)
        return Webhook.model_validate(row)

    @routes.delete(
        "/{webhook_id}",
        status_code=204,
        operation_id="delete_webhook",
        summary="Remove a webhook endpoint; what it was not sent yet is dropped",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def delete(caller: Caller, webhook_id: UUID) -> None:
        async with tenant_writing(engine, caller.tenant) as connection:
            if not await repository.delete_endpoint(connection, caller.tenant, webhook_id):
                raise _not_found(webhook_id)

    @routes.get(
        "/{webhook_id}/deliveries",
        operation_id="list_deliveries",
        summary="What was sent to an endpoint and what came back, the newest first",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def deliveries(
        caller: Caller, webhook_id: UUID, limit: Limit = 50, cursor: Cursor = None
    ) -> DeliveryPage:
        this = f"deliveries/{webhook_id}"
        before = _CURSORS.decode(this, cursor)
        async with tenant_reading(engine, caller.tenant) as connection:
            if await repository.endpoint(connection, caller.tenant, webhook_id) is None:
                raise _not_found(webhook_id)
            rows = await repository.list_deliveries(connection, webhook_id, limit=limit, before=before)
            page, last = page_of(rows, limit)
            attempts = await repository.attempts_of(connection, [row.id for row in page])
        items = [
            Delivery(
                webhook_id=message_id(row.id),
                attempts=[DeliveryAttempt.model_validate(attempt) for attempt in attempts[row.id]],
                **{name: row._mapping[name] for name in _FROM_ROW},
            )
            for row in page
        ]
        return DeliveryPage(items=items, next_cursor=last and _CURSORS.encode(this, last.id))

    return routes


_FROM_ROW = ("id", "event_type", "status", "created_at", "next_attempt_at", "finished_at")


async def _check_url(url: str, *, allow_private: bool, resolve: Resolve) -> None:
    """Refuse a URL that can never be called.

    A host without an address is let through: it may get one, and every attempt looks again.
    """
    try:
        await vetted_address(parsed(url), allow_private=allow_private, resolve=resolve)
    except TargetForbidden as error:
        raise Unprocessable(
            "webhook_url_forbidden",
            f"`url`: {error}",
            hint="use a public address; for development set PENSTOCK_WEBHOOK_ALLOW_PRIVATE=true",
        ) from error
    except TargetUnresolvable:
        return
    except ValueError as error:
        raise Unprocessable("webhook_url_invalid", f"`url`: {error}") from error


def _too_many() -> Conflict:
    return Conflict(
        "webhook_limit",
        f"there are {MAX_ENDPOINTS} webhook endpoints, which is all that a tenant may have",
        hint="delete one that is not needed any more",
    )


def _not_found(webhook_id: UUID) -> NotFound:
    return NotFound("webhook_not_found", f"there is no webhook endpoint {webhook_id}")
