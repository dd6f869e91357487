"""Sending again what an endpoint was sent, or was not: all since some time, all of some types."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import islice
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.deliveries import repository
from services.notifier.deliveries.filters import Filters, known_types
from services.notifier.deliveries.log import see_endpoint
from services.notifier.deliveries.resources import WebhookReplay
from services.notifier.deliveries.sending import lock_enabled
from shared.contracts.problems import Unprocessable
from shared.platform.querying import tenant_querying
from shared.platform.tenancy import tenant_writing

QUERY_SECONDS = 20.0  # of the 60 s that a request may take
MOST = 500_000  # put back by one request; 100,000 take 2.5 s
STEP = 5000  # in one transaction, some 0.1 s for which what is new for the endpoint waits


async def count_replayable(
    engine: AsyncEngine, tenant: str, endpoint_id: UUID, asked: WebhookReplay, retention: timedelta
) -> int:
    """How many deliveries `replay` would send again.

    Raises:
        NotFound: `webhook_not_found`.
        Unprocessable: `replay_unbounded`, `replay_too_large`, `event_type_unknown`, `filter_invalid`.
        Unavailable: `query_timeout`.
    """
    return len(await _chosen(engine, tenant, endpoint_id, asked, retention))


async def replay(
    engine: AsyncEngine, tenant: str, endpoint_id: UUID, asked: WebhookReplay, retention: timedelta
) -> int:
    """Make the deliveries asked for due again, in their order: how many.

    It goes step by step: one that ends early has replayed the first of them, and the same again replays the rest.

    Raises:
        NotFound: `webhook_not_found`.
        Conflict: `webhook_disabled`.
        Unprocessable: `replay_unbounded`, `replay_too_large`, `event_type_unknown`, `filter_invalid`.
        Unavailable: `query_timeout`.
    """
    chosen = iter(await _chosen(engine, tenant, endpoint_id, asked, retention))
    async with tenant_writing(engine, tenant) as connection:
        await lock_enabled(connection, tenant, endpoint_id)
        await repository.probe_now(connection, endpoint_id)
    count = 0
    while step := list(islice(chosen, STEP)):
        async with tenant_writing(engine, tenant) as connection:
            await lock_enabled(connection, tenant, endpoint_id)
            count += await repository.put_back(connection, endpoint_id, step)
    return count


async def _chosen(
    engine: AsyncEngine, tenant: str, endpoint_id: UUID, asked: WebhookReplay, retention: timedelta
) -> Sequence[int]:
    if asked.since is None and asked.event_types is None:
        raise Unprocessable(
            "replay_unbounded",
            "nothing says which deliveries to send again",
            hint="give `since`, or `event_types`, or both",
        )
    filters = Filters(
        statuses=frozenset() if asked.status == "all" else frozenset({"undelivered"}),
        event_types=known_types(asked.event_types or ()),
        since=asked.since,
        until=asked.until,
    )
    async with tenant_querying(
        engine,
        tenant,
        seconds=QUERY_SECONDS,
        what="deliveries",
        hint="narrow it by `since` and `until`",
    ) as connection:
        await see_endpoint(connection, tenant, endpoint_id)
        return await _few_enough(connection, tenant, endpoint_id, filters, retention)


async def _few_enough(
    connection: AsyncConnection, tenant: str, endpoint_id: UUID, filters: Filters, retention: timedelta
) -> Sequence[int]:
    chosen = await repository.replayable(
        connection, tenant, endpoint_id, filters, retention=retention, limit=MOST + 1
    )
    if len(chosen) > MOST:
        raise Unprocessable(
            "replay_too_large",
            f"these are more than {MOST:,} deliveries, which is what is sent again at a time",
            hint="narrow it by `since` and `until`, and go on from there",
        )
    return chosen
