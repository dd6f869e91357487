"""What was sent to an endpoint and what came back. All for one tenant."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.deliveries import repository
from services.notifier.deliveries.filters import Filters, Order
from services.notifier.deliveries.resources import (
    ATTEMPTS_LISTED,
    ATTEMPTS_SHOWN,
    PAGE_BYTES,
    Delivery,
    DeliveryPage,
    cut,
    delivery_of,
)
from services.notifier.endpoints.changing import not_found
from shared.contracts.problems import NotFound
from shared.platform.paging import Cursors, HowTotal, page_of, total_of

_CURSORS = Cursors[int](int)
BIGINT_MAX = 2**63 - 1


@dataclass(frozen=True)
class Page:
    """Which page of a list. `cursor`: None for the first one; `payload`: with what was sent."""

    order: Order
    cursor: str | None
    limit: int
    total: HowTotal | None
    payload: bool


async def list_deliveries(
    connection: AsyncConnection, tenant: str, endpoint_id: UUID, filters: Filters, page: Page
) -> DeliveryPage:
    """A page of the endpoint's deliveries, which ends early where it has more than `PAGE_BYTES`.

    Raises:
        NotFound: `webhook_not_found`.
        Unprocessable: `cursor_invalid`.
    """
    this = f"deliveries/{endpoint_id}/{page.order}"
    after = _CURSORS.decode(this, page.cursor)
    await see_endpoint(connection, tenant, endpoint_id)
    query = repository.matching(tenant, endpoint_id, filters)
    found = await repository.list_deliveries(
        connection,
        query,
        order=page.order,
        after=None if after is None else min(max(after, 0), BIGINT_MAX),
        limit=page.limit + 1,
        attempts_each=ATTEMPTS_LISTED,
        payload=page.payload,
    )
    rows, last = page_of(found, page.limit)
    kept = cut([(row, row.bytes) for row in rows], PAGE_BYTES)
    if len(kept) < len(rows):
        last = kept[-1]
    ids = [row.id for row in kept]
    attempts = await repository.attempts_of(connection, ids, latest=ATTEMPTS_LISTED)
    bodies = await repository.bodies_of(connection, ids) if page.payload else {}
    return DeliveryPage(
        items=[delivery_of(row, attempts[row.id], bodies.get(row.id)) for row in kept],
        next_cursor=last and _CURSORS.encode(this, last.sequence),
        total=await total_of(connection, query, page.total),
    )


async def get_delivery(
    connection: AsyncConnection, tenant: str, endpoint_id: UUID, delivery_id: UUID
) -> Delivery:
    """One delivery, whole.

    Raises:
        NotFound: `webhook_not_found`, `delivery_not_found`.
    """
    row = await repository.find_delivery(connection, tenant, endpoint_id, delivery_id)
    if row is None:
        await see_endpoint(connection, tenant, endpoint_id)
        raise delivery_not_found(endpoint_id, delivery_id)
    attempts = await repository.attempts_of(connection, [delivery_id], latest=ATTEMPTS_SHOWN)
    bodies = await repository.bodies_of(connection, [delivery_id])
    return delivery_of(row, attempts[delivery_id], bodies.get(delivery_id))


async def see_endpoint(connection: AsyncConnection, tenant: str, endpoint_id: UUID) -> None:
    """See that there is such an endpoint.

    Raises:
        NotFound: `webhook_not_found`.
    """
    if not await repository.endpoint_exists(connection, tenant, endpoint_id):
        raise not_found(endpoint_id)


def delivery_not_found(endpoint_id: UUID, delivery_id: UUID) -> NotFound:
    return NotFound(
        "delivery_not_found",
        f"the webhook endpoint {endpoint_id} has no delivery {delivery_id}",
        hint="deliveries are listed for a limited time; `GET …/deliveries` shows those that there are",
    )
