"""Routes of webhook endpoints."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.endpoints import changing, repository
from services.notifier.endpoints.changing import not_found
from services.notifier.endpoints.repository import Filters
from services.notifier.endpoints.resources import (
    CreatedWebhook,
    NewWebhook,
    RotatedSecret,
    Rotation,
    Webhook,
    WebhookPage,
    WebhookPatch,
    WebhookSecret,
    checked_datasets,
    created_webhook_from,
    secret_from,
    webhook_from,
)
from services.notifier.messages.event_types import checked_event_types, patterns_for
from services.notifier.targets.errors import TargetForbidden
from services.notifier.targets.guard import Guard
from shared.contracts.problems import Unprocessable
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Cursors, Limit, StorableText, Total, page_of, total_of
from shared.platform.parameters import only_known
from shared.platform.tenancy import tenant_reading, tenant_writing

_CURSORS = Cursors[UUID](UUID)
_CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "headers": {
            "Location": {"description": "Where the webhook endpoint is", "schema": {"type": "string"}}
        }
    }
}


def webhooks_router(
    engine: AsyncEngine,
    authenticator: Authenticator,
    *,
    guard: Guard,
    wake: Callable[[], None],
) -> APIRouter:
    """Create, list, get, change and delete endpoints; show and replace their secrets.

    `wake` is called when something may have become due.
    """
    routes = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])
    caller = Depends(authenticator.require("webhooks:admin"))
    _add_creating(routes, caller, engine, guard)
    _add_showing(routes, caller, engine)
    _add_changing(routes, caller, engine, guard, wake)
    _add_secrets(routes, caller, engine)
    return routes


def _add_creating(routes: APIRouter, caller_is: Any, engine: AsyncEngine, guard: Guard) -> None:
    @routes.post(
        "",
        status_code=201,
        operation_id="create_webhook",
        summary="Have events sent to a URL",
        description="Up to 50 for each tenant. A URL whose host has no address yet is taken: every attempt looks anew.",
        responses=_CREATED | problem_responses(401, 403, 409, 422),
    )
    async def create(
        caller: Annotated[Principal, caller_is], new: NewWebhook, response: Response
    ) -> CreatedWebhook:
        await _check_url(guard, new.url)
        async with tenant_writing(engine, caller.tenant) as connection:
            webhook_id, secret = await changing.create(connection, caller.tenant, new)
            row = await repository.endpoint(connection, caller.tenant, webhook_id)
        response.headers["Location"] = f"/api/v1/webhooks/{webhook_id}"
        return created_webhook_from(row, secret)


def _add_showing(routes: APIRouter, caller_is: Any, engine: AsyncEngine) -> None:
    @routes.get(
        "",
        operation_id="list_webhooks",
        summary="Webhook endpoints, the newest first",
        responses=problem_responses(401, 403, 422),
        dependencies=[caller_is, Depends(only_known)],
    )
    async def list_all(
        *,
        caller: Annotated[Principal, caller_is],
        enabled: Annotated[bool | None, Query(description="Only those that are, or that are not")] = None,
        event_type: Annotated[
            StorableText | None,
            Query(
                description="Only those that are sent this; a wildcard: all of these", examples=["import.*"]
            ),
        ] = None,
        dataset: Annotated[
            StorableText | None, Query(description="Only those that are sent what is of this dataset")
        ] = None,
        q: Annotated[
            StorableText | None,
            Query(description="Only those with this in URL or description, in whatever case", max_length=255),
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> WebhookPage:
        of_dataset = None if dataset is None else checked_datasets([dataset])[0]
        filters = Filters(enabled=enabled, patterns=_patterns(event_type), dataset=of_dataset, q=q)
        this = f"webhooks/{filters}"
        before = _CURSORS.decode(this, cursor)
        listed = repository.listed(caller.tenant, filters)
        async with tenant_reading(engine, caller.tenant) as connection:
            rows = await repository.page(connection, listed, limit=limit, before=before)
            count = await total_of(connection, listed, total)
        page, last = page_of(rows, limit)
        return WebhookPage(
            items=[webhook_from(row) for row in page],
            next_cursor=last and _CURSORS.encode(this, last.id),
            total=count,
        )

    @routes.get(
        "/{webhook_id}",
        operation_id="get_webhook",
        summary="One webhook endpoint",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def get(caller: Annotated[Principal, caller_is], webhook_id: UUID) -> Webhook:
        async with tenant_reading(engine, caller.tenant) as connection:
            row = await repository.endpoint(connection, caller.tenant, webhook_id)
        if row is None:
            raise not_found(webhook_id)
        return webhook_from(row)


def _add_changing(
    routes: APIRouter,
    caller_is: Any,
    engine: AsyncEngine,
    guard: Guard,
    wake: Callable[[], None],
) -> None:
    @routes.patch(
        "/{webhook_id}",
        operation_id="change_webhook",
        summary="Change, enable or disable a webhook endpoint",
        description="A JSON merge patch (RFC 7396). Deliveries that wait go to the new URL, with the new headers."
        " Enabling it, or changing its URL, takes it for healthy again.",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def change(
        caller: Annotated[Principal, caller_is], webhook_id: UUID, patch: WebhookPatch
    ) -> Webhook:
        if "url" in patch.model_fields_set:
            await _check_url(guard, patch.url)
        async with tenant_writing(engine, caller.tenant) as connection:
            row = await changing.change(connection, caller.tenant, webhook_id, patch)
        wake()
        return webhook_from(row)

    @routes.delete(
        "/{webhook_id}",
        status_code=204,
        operation_id="delete_webhook",
        summary="Remove a webhook endpoint, with its deliveries: what it was not sent yet is dropped",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def delete(caller: Annotated[Principal, caller_is], webhook_id: UUID) -> None:
        async with tenant_writing(engine, caller.tenant) as connection:
            if not await repository.delete_endpoint(connection, caller.tenant, webhook_id):
                raise not_found(webhook_id)


def _add_secrets(routes: APIRouter, caller_is: Any, engine: AsyncEngine) -> None:
    @routes.get(
        "/{webhook_id}/secret",
        operation_id="get_webhook_secret",
        summary="What a webhook endpoint's signatures are checked with",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def secret(caller: Annotated[Principal, caller_is], webhook_id: UUID) -> WebhookSecret:
        async with tenant_reading(engine, caller.tenant) as connection:
            keys = await repository.keys(connection, caller.tenant, webhook_id)
            if keys is None:
                raise not_found(webhook_id)
            return secret_from(keys, await repository.retired_keys(connection, webhook_id))

    @routes.post(
        "/{webhook_id}/rotate-secret",
        operation_id="rotate_webhook_secret",
        summary="Replace a webhook endpoint's secret, or its key pair",
        description="Until the overlap ends, every attempt has a signature of each, so that receivers may change over"
        " without missing one. 409 `webhook_secret_limit`: five replaced ones are in use still.",
        responses=problem_responses(401, 403, 404, 409, 422),
    )
    async def rotate(
        caller: Annotated[Principal, caller_is], webhook_id: UUID, rotation: Rotation | None = None
    ) -> RotatedSecret:
        async with tenant_writing(engine, caller.tenant) as connection:
            ends_at = await changing.rotate(connection, caller.tenant, webhook_id, rotation or Rotation())
            keys = await repository.keys(connection, caller.tenant, webhook_id)
            shown = secret_from(keys, await repository.retired_keys(connection, webhook_id))
        return RotatedSecret(**dict(shown), overlap_ends_at=ends_at)


def _patterns(event_type: str | None) -> tuple[str, ...] | None:
    """What an endpoint that is sent `event_type` asks for.

    Raises:
        Unprocessable: `event_type_unknown`.
    """
    return None if event_type is None else tuple(patterns_for(*checked_event_types([event_type])))


async def _check_url(guard: Guard, url: str) -> None:
    """Refuse a URL that can never be called.

    A host without an address is let through: it may get one, and every attempt looks again.
    """
    try:
        await guard.check(url)
    except TargetForbidden as error:
        raise Unprocessable("webhook_url_forbidden", f"`url`: {error}", hint=error.hint) from error
    except ValueError as error:
        raise Unprocessable("webhook_url_invalid", f"`url`: {error}") from error
