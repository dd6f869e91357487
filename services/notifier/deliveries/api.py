"""Routes of deliveries: the log of an endpoint; test, retry and replay."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.deliveries import log, replaying
from services.notifier.deliveries.filters import Filters, Order, StatusFilter, known_types
from services.notifier.deliveries.log import BIGINT_MAX, Page
from services.notifier.deliveries.resources import (
    PAGE_BYTES,
    Delivery,
    DeliveryPage,
    Replayed,
    WebhookReplay,
    WebhookTest,
)
from services.notifier.deliveries.sending import SendOnRequest
from services.notifier.delivery.worker import DeliveryWorker
from shared.platform.auth import Authenticator, Principal
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Limit, StorableText, Total
from shared.platform.parameters import RequestedMoment, only_known
from shared.platform.querying import tenant_querying
from shared.platform.tenancy import tenant_reading

QUERY_SECONDS = 10.0
_NARROW = "narrow it by `sequence_from` and `sequence_to`; leave out `total=exact`"

SequenceBound = Annotated[int, Field(ge=0, le=BIGINT_MAX)]
Statuses = Annotated[
    list[StatusFilter] | None,
    Query(
        description="Only those with this status; may be given more than once, for any of them."
        " `undelivered`: all that did not succeed, so far or at all, but for tests, which a replay never sends"
    ),
]
Types = Annotated[
    list[StorableText] | None,
    Query(
        description="Only those of this type; `product.*` is all that begin with `product.`. May be given more than once"
    ),
]
Payload = Annotated[
    bool,
    Query(
        description="With what was sent, so that a receiver can fetch what it missed. A page then ends where its payloads"
        f" and responses are {PAGE_BYTES // 2**20} MB, whatever `limit` is: go on with `next_cursor`"
    ),
]


def deliveries_router(
    engine: AsyncEngine, authenticator: Authenticator, worker: DeliveryWorker, *, retention_days: int
) -> APIRouter:
    """`/webhooks/{webhook_id}`: its deliveries; test, retry, replay."""
    routes = APIRouter(prefix="/api/v1/webhooks/{webhook_id}", tags=["webhooks"])
    admin = Depends(authenticator.require("webhooks:admin"))
    Caller = Annotated[Principal, admin]  # noqa: N806 - a type
    on_request = SendOnRequest(engine, worker)
    retention = timedelta(days=retention_days)

    @routes.get(
        "/deliveries",
        operation_id="list_deliveries",
        summary="What an endpoint was sent and what came back",
        description="In order of `sequence`, the newest first. A receiver that saw the header `webhook-sequence` go from 17 to"
        " 20 asks for `sequence_from=18&sequence_to=19&payload=true`; one that was away asks for `status=undelivered`."
        f" Deliveries are kept for {retention_days} days.",
        responses=problem_responses(401, 403, 404, 422, 503),
        dependencies=[admin, Depends(only_known)],
    )
    async def list_deliveries(
        *,
        caller: Caller,
        webhook_id: UUID,
        status: Statuses = None,
        event_type: Types = None,
        since: Annotated[
            RequestedMoment | None,
            Query(description="Only those created at this moment or later; a date is its midnight in UTC"),
        ] = None,
        until: Annotated[
            RequestedMoment | None,
            Query(
                description="Only those created before this moment, which is after `since`; a date is its midnight in UTC"
            ),
        ] = None,
        sequence_from: Annotated[
            SequenceBound | None, Query(description="Only those from this sequence on")
        ] = None,
        sequence_to: Annotated[
            SequenceBound | None, Query(description="Only those up to this sequence")
        ] = None,
        payload: Payload = False,
        order: Annotated[
            Order, Query(description="By sequence: `desc`, the newest first; `asc`, the oldest first")
        ] = "desc",
        limit: Limit = 50,
        cursor: Cursor = None,
        total: Total = None,
    ) -> DeliveryPage:
        filters = Filters(
            frozenset(status or ()), known_types(event_type or ()), since, until, sequence_from, sequence_to
        )
        async with tenant_querying(
            engine, caller.tenant, seconds=QUERY_SECONDS, what="deliveries", hint=_NARROW
        ) as connection:
            return await log.list_deliveries(
                connection, caller.tenant, webhook_id, filters, Page(order, cursor, limit, total, payload)
            )

    @routes.get(
        "/deliveries/{delivery_id}",
        operation_id="get_delivery",
        summary="A delivery with what was sent and all that came back",
        responses=problem_responses(401, 403, 404, 422),
    )
    async def get_delivery(caller: Caller, webhook_id: UUID, delivery_id: UUID) -> Delivery:
        return await shown(caller, webhook_id, delivery_id)

    async def shown(caller: Principal, webhook_id: UUID, delivery_id: UUID) -> Delivery:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await log.get_delivery(connection, caller.tenant, webhook_id, delivery_id)

    @routes.post(
        "/test",
        operation_id="test_webhook",
        summary="Send an example now, and see what comes back",
        description="The example is signed like any delivery, has a `webhook-id` and a `webhook-sequence` of its own, is in"
        " the log, and says in the header `webhook-test: true` that it is a test. It is sent once, also to an endpoint that"
        " is disabled, and whatever types that one has asked for. The answer is 200 with the delivery and its attempt, whether"
        " that succeeded or not.",
        responses=problem_responses(401, 403, 404, 422, 429),
    )
    async def test(
        caller: Caller,
        webhook_id: UUID,
        asked: Annotated[WebhookTest | None, Body()] = None,
    ) -> Delivery:
        event_type = (asked or WebhookTest()).event_type
        delivery_id = await on_request.test(caller.tenant, webhook_id, event_type)
        return await shown(caller, webhook_id, delivery_id)

    @routes.post(
        "/deliveries/{delivery_id}/retry",
        operation_id="retry_delivery",
        summary="Attempt a delivery now, and see what comes back",
        description="With the same `webhook-id`, whatever became of it before, and before its turn if it is `held`. The"
        " answer is 200 with the delivery and its new attempt, whether that succeeded or not; if not, it is `pending`,"
        " and goes through the retry schedule again from its beginning.",
        responses=problem_responses(401, 403, 404, 409, 422, 429),
    )
    async def retry(caller: Caller, webhook_id: UUID, delivery_id: UUID) -> Delivery:
        await on_request.retry(caller.tenant, webhook_id, delivery_id)
        return await shown(caller, webhook_id, delivery_id)

    @routes.post(
        "/replay",
        status_code=202,
        operation_id="replay_webhook",
        summary="Send deliveries again: all since some time, all of some types",
        description="They are due at once, in their order, each with the `webhook-id` and `webhook-sequence` that it had, and"
        " go through the retry schedule from its beginning. What is due by itself, is under way or waits behind another is"
        " left as it is and not counted; tests are not sent again. With `dry_run` the answer is 200 and nothing is done."
        " What happened before the endpoint was created, or was of types that it had not asked for then, has no deliveries"
        f" and cannot be replayed; neither can what is older than {retention_days} days. At most {replaying.MOST:,} are sent"
        " again by one request.",
        response_description="They are on their way",
        responses=problem_responses(401, 403, 404, 409, 422, 503)
        | {200: {"model": Replayed, "description": "Of a dry run: how many it would be"}},
    )
    async def replay(caller: Caller, webhook_id: UUID, asked: WebhookReplay, response: Response) -> Replayed:
        if asked.dry_run:
            response.status_code = 200
            count = await replaying.count_replayable(engine, caller.tenant, webhook_id, asked, retention)
            return Replayed(count=count)
        try:
            return Replayed(count=await replaying.replay(engine, caller.tenant, webhook_id, asked, retention))
        finally:
            worker.wake()

    return routes
