"""SQL of webhook endpoints, their deliveries and the attempts. The caller's transaction, always."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Integer,
    Row,
    Select,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    literal,
    null,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.attempts import Attempt, Claimed
from services.notifier.schedule import Verdict
from services.notifier.tables import attempts, deliveries, endpoints
from shared.platform.database import advisory_key

# Longer than an attempt (15 s) and the writing down of it; what a process that hangs holds is free after this.
LEASE_SECONDS = 60.0

_SHOWN = [column for column in endpoints.c if column is not endpoints.c.secret]


async def lock_endpoints(connection: AsyncConnection, tenant: str) -> None:
    """Let no other transaction add an endpoint to the tenant until this one ends, so that counting counts."""
    key = advisory_key(f"penstock:notifier:endpoints:{tenant}")
    await connection.execute(select(func.pg_advisory_xact_lock(key)))


async def count_endpoints(connection: AsyncConnection, tenant: str) -> int:
    query = select(func.count()).select_from(endpoints).where(endpoints.c.tenant == tenant)
    return int(await connection.scalar(query) or 0)


async def add_endpoint(connection: AsyncConnection, tenant: str, values: Mapping[str, Any]) -> Row[Any]:
    statement = insert(endpoints).values(tenant=tenant, **values).returning(*endpoints.c)
    return (await connection.execute(statement)).one()


async def endpoint(connection: AsyncConnection, tenant: str, endpoint_id: UUID) -> Row[Any] | None:
    query = select(*_SHOWN).where(endpoints.c.tenant == tenant, endpoints.c.id == endpoint_id)
    return (await connection.execute(query)).one_or_none()


async def list_endpoints(
    connection: AsyncConnection, tenant: str, *, limit: int, before: UUID | None
) -> Sequence[Row[Any]]:
    """The newest first, those older than `before`."""
    query = select(*_SHOWN).where(endpoints.c.tenant == tenant)
    return list(await connection.execute(_page(query, endpoints.c.id, limit, before)))


async def delete_endpoint(connection: AsyncConnection, tenant: str, endpoint_id: UUID) -> bool:
    """Remove the endpoint with its deliveries, sent or not. False: the tenant has no such endpoint."""
    statement = delete(endpoints).where(endpoints.c.tenant == tenant, endpoints.c.id == endpoint_id)
    return (await connection.execute(statement)).rowcount > 0


async def add_deliveries(
    connection: AsyncConnection,
    *,
    tenant: str,
    event_id: UUID,
    event_type: str,
    patterns: Sequence[str],
    body: bytes,
) -> int:
    """One delivery, due now, for each enabled endpoint of the tenant that asked for one of `patterns`: how many."""
    asked = select(
        literal(tenant), endpoints.c.id, literal(event_id, Uuid), literal(event_type), literal(body)
    ).where(
        endpoints.c.tenant == tenant, endpoints.c.enabled, endpoints.c.event_types.overlap(list(patterns))
    )
    # The lock: an endpoint that is deleted meanwhile is skipped instead of failing the whole event.
    locked = asked.with_for_update(key_share=True, read=True)
    columns = ["tenant", "endpoint_id", "event_id", "event_type", "body"]
    return (await connection.execute(insert(deliveries).from_select(columns, locked))).rowcount


# `waiting` is a loose index scan: one probe for each endpoint that has anything pending, however much it has.
# Then each endpoint offers what its lane has room for, and first turns go before second ones: a long queue
# of one endpoint does not keep another waiting.
_CLAIM = text("""
    WITH RECURSIVE waiting (endpoint_id) AS (
        (SELECT endpoint_id FROM notifier.deliveries WHERE status = 'pending' ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (
            SELECT endpoint_id FROM notifier.deliveries
            WHERE status = 'pending' AND endpoint_id > waiting.endpoint_id ORDER BY endpoint_id LIMIT 1
        ) FROM waiting WHERE waiting.endpoint_id IS NOT NULL
    ), lanes AS (
        SELECT e.id, :lane_size - coalesce(busy.in_flight, 0) AS room
        FROM waiting JOIN notifier.endpoints e ON e.id = waiting.endpoint_id AND e.enabled
        LEFT JOIN unnest(:busy, :in_flight) AS busy (endpoint_id, in_flight) ON busy.endpoint_id = e.id
    ), offered AS (
        SELECT due.id FROM lanes CROSS JOIN LATERAL (
            SELECT id, next_attempt_at, row_number() OVER (ORDER BY next_attempt_at) AS turn
            FROM notifier.deliveries
            WHERE endpoint_id = lanes.id AND status = 'pending' AND next_attempt_at <= now()
                AND (leased_until IS NULL OR leased_until <= now())
            ORDER BY next_attempt_at LIMIT greatest(lanes.room, 0)
        ) due
        ORDER BY due.turn, due.next_attempt_at LIMIT :room
    ), locked AS (
        SELECT id FROM notifier.deliveries
        WHERE id IN (SELECT id FROM offered) AND status = 'pending'
            AND (leased_until IS NULL OR leased_until <= now())
        FOR UPDATE SKIP LOCKED
    )
    UPDATE notifier.deliveries d
    SET lease_owner = :owner, leased_until = now() + make_interval(secs => :lease)
    FROM locked, notifier.endpoints e
    WHERE d.id = locked.id AND e.id = d.endpoint_id
    RETURNING d.id, d.endpoint_id, d.body, d.attempts_made, e.url, e.secret
""").bindparams(bindparam("busy", type_=ARRAY(Uuid)), bindparam("in_flight", type_=ARRAY(Integer)))


async def claim_due(
    connection: AsyncConnection, *, owner: int, room: int, lane_size: int, in_flight: Mapping[UUID, int]
) -> list[Claimed]:
    """Lease up to `room` due deliveries to `owner`, no endpoint getting more than `lane_size` with those `in_flight`."""
    parameters = {
        "owner": owner,
        "room": room,
        "lane_size": lane_size,
        "lease": LEASE_SECONDS,
        "busy": list(in_flight),
        "in_flight": list(in_flight.values()),
    }
    return [Claimed(**row._mapping) for row in await connection.execute(_CLAIM, parameters)]


async def record_attempt(
    connection: AsyncConnection, claimed: Claimed, owner: int, attempt: Attempt, verdict: Verdict
) -> bool:
    """Write down an attempt and what follows from it. False: the lease was lost or the endpoint deleted."""
    number = claimed.attempts_made + 1
    if verdict.disables_endpoint:  # before the delivery, the order in which deleting an endpoint locks too
        await _disable_endpoint(connection, claimed.endpoint_id, "gone")
    pending = verdict.retry_in is not None
    statement = (
        update(deliveries)
        .where(
            deliveries.c.id == claimed.id,
            deliveries.c.lease_owner == owner,
            deliveries.c.attempts_made == claimed.attempts_made,
        )
        .values(
            status=verdict.status,
            attempts_made=number,
            next_attempt_at=_in_seconds(verdict.retry_in) if pending else null(),
            finished_at=null() if pending else func.now(),
            lease_owner=null(),
            leased_until=null(),
        )
    )
    if not (await connection.execute(statement)).rowcount:
        return False
    values = {"delivery_id": claimed.id, "number": number, **vars(attempt)}
    await connection.execute(insert(attempts).values(values))
    return True


async def _disable_endpoint(connection: AsyncConnection, endpoint_id: UUID, reason: str) -> None:
    statement = update(endpoints).where(endpoints.c.id == endpoint_id, endpoints.c.enabled)
    await connection.execute(statement.values(enabled=False, disabled_reason=reason))


def _in_seconds(seconds: float | None) -> Any:
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


async def lease_owners(connection: AsyncConnection) -> list[int]:
    """Whose leases there are."""
    query = select(deliveries.c.lease_owner).where(deliveries.c.lease_owner.is_not(None)).distinct()
    return [int(owner) for owner in await connection.scalars(query)]


async def release_leases(connection: AsyncConnection, owner: int) -> int:
    """Make all that `owner` had leased free again, due as it was: how many."""
    statement = update(deliveries).where(deliveries.c.lease_owner == owner)
    return (await connection.execute(statement.values(lease_owner=None, leased_until=None))).rowcount


async def list_deliveries(
    connection: AsyncConnection, endpoint_id: UUID, *, limit: int, before: UUID | None
) -> Sequence[Row[Any]]:
    """The newest first, those older than `before`; without their bodies."""
    shown = [column for column in deliveries.c if column is not deliveries.c.body]
    query = select(*shown).where(deliveries.c.endpoint_id == endpoint_id)
    return list(await connection.execute(_page(query, deliveries.c.id, limit, before)))


async def attempts_of(
    connection: AsyncConnection, delivery_ids: Sequence[UUID]
) -> Mapping[UUID, list[Row[Any]]]:
    """The attempts of each delivery, the first one first."""
    query = select(attempts).where(attempts.c.delivery_id.in_(delivery_ids))
    found: dict[UUID, list[Row[Any]]] = {delivery_id: [] for delivery_id in delivery_ids}
    for row in await connection.execute(query.order_by(attempts.c.delivery_id, attempts.c.number)):
        found[row.delivery_id].append(row)
    return found


def _page(query: Select[Any], key: Any, limit: int, before: UUID | None) -> Select[Any]:
    """One row more than `limit`, which tells whether there is a next page. UUIDv7 keys are in order of time."""
    if before is not None:
        query = query.where(key < before)
    return query.order_by(key.desc()).limit(limit + 1)
