"""SQL of the delivery engine: what waits, claims, what came of attempts, leases. The caller's transaction, always.

Locks are taken in one order: endpoints by id, their health, their deliveries. Time is the database's, `ahead` of it as
the caller says.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    DateTime,
    Double,
    Integer,
    Interval,
    Row,
    Text,
    Uuid,
    bindparam,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.delivery.attempts import Attempt, Claimed, Destination
from services.notifier.delivery.health import Health
from services.notifier.delivery.lanes import PROBE_SECONDS, Room, Waiting
from services.notifier.delivery.schedule import HOLD_TRIES, Verdict
from services.notifier.tables import deliveries, endpoint_health, endpoints

# Longer than an attempt (15 s), the wait for a connection before it and the writing down of it; what a process that
# hangs holds is free after this.
LEASE_SECONDS = 60.0

AnyRow = Row[*tuple[Any, ...]]

_AHEAD = bindparam("ahead", type_=Interval())


@dataclass(frozen=True)
class Recorded:
    """An attempt that is to be written down, and what follows from it for its delivery."""

    claimed: Claimed
    attempt: Attempt
    verdict: Verdict


# A loose index scan: one probe for each endpoint that has anything pending, however much it has.
_WAITING = text("""
    WITH RECURSIVE pending (endpoint_id) AS (
        (
            SELECT endpoint_id FROM notifier.deliveries WHERE status = 'pending' AND NOT held
            ORDER BY endpoint_id LIMIT 1
        )
        UNION ALL
        SELECT (
            SELECT endpoint_id FROM notifier.deliveries
            WHERE status = 'pending' AND NOT held AND endpoint_id > pending.endpoint_id
            ORDER BY endpoint_id LIMIT 1
        ) FROM pending WHERE pending.endpoint_id IS NOT NULL
    )
    SELECT now() + :ahead AS now, first.next_attempt_at AS due_at, coalesce(h.failures, 0) AS failures, h.probe_at, e.rate_limit, h.paced_to,
        e.id AS endpoint_id, e.tenant, e.url, e.headers, e.secret, e.private_key,
        ARRAY(
            SELECT r.secret FROM notifier.retired_secrets r
            WHERE r.endpoint_id = e.id AND r.expires_at > now() + :ahead ORDER BY r.expires_at DESC
        ) AS retired
    FROM pending JOIN notifier.endpoints e ON e.id = pending.endpoint_id AND e.enabled
    CROSS JOIN LATERAL (
        SELECT next_attempt_at FROM notifier.deliveries
        WHERE endpoint_id = e.id AND status = 'pending' AND NOT held ORDER BY next_attempt_at LIMIT 1
    ) first
    LEFT JOIN notifier.endpoint_health h ON h.endpoint_id = e.id
""").bindparams(_AHEAD)


async def waiting(
    connection: AsyncConnection, ahead: timedelta
) -> tuple[datetime | None, list[tuple[Waiting, Destination]]]:
    """The time, and every enabled endpoint that has deliveries pending. No time is given where there is none."""
    rows = (await connection.execute(_WAITING, {"ahead": ahead})).all()
    lanes = [
        (
            Waiting(row.endpoint_id, row.due_at, row.failures, row.probe_at, row.rate_limit, row.paced_to),
            destination_of(row),
        )
        for row in rows
    ]
    return (rows[0].now if rows else None), lanes


def destination_of(row: Any) -> Destination:
    """Of a row of `notifier.endpoints` with `endpoint_id` for its id, and `retired` secrets."""
    present = [key for key in (row.secret, row.private_key) if key is not None]
    return Destination(row.endpoint_id, row.tenant, row.url, row.headers, (*present, *row.retired))


# Whose turn it is is decided on what another process may have read, too: the one that moves the mark first has it.
_PROBES = text("""
    UPDATE notifier.endpoint_health h SET probe_at = now() + :ahead + make_interval(secs => :seconds)
    FROM unnest(:ids, :seen) AS mine (endpoint_id, probe_at)
    WHERE h.endpoint_id = mine.endpoint_id AND h.probe_at = mine.probe_at
    RETURNING h.endpoint_id
""").bindparams(
    _AHEAD, bindparam("ids", type_=ARRAY(Uuid)), bindparam("seen", type_=ARRAY(DateTime(timezone=True)))
)

_PACE = text("""
    INSERT INTO notifier.endpoint_health AS h (endpoint_id, tenant, paced_to)
    VALUES (:endpoint_id, :tenant, :paced_to)
    ON CONFLICT (endpoint_id) DO UPDATE SET paced_to = excluded.paced_to
    WHERE h.paced_to IS NOT DISTINCT FROM :seen
    RETURNING h.endpoint_id
""").bindparams(bindparam("seen", type_=DateTime(timezone=True)))

_CLAIM = text("""
    WITH rooms AS (
        SELECT * FROM unnest(:ids, :counts) AS r (endpoint_id, room)
    ), due AS (
        SELECT first.id FROM rooms CROSS JOIN LATERAL (
            SELECT id FROM notifier.deliveries
            WHERE endpoint_id = rooms.endpoint_id AND status = 'pending' AND NOT held
                AND next_attempt_at <= now() + :ahead AND (leased_until IS NULL OR leased_until <= now() + :ahead)
            ORDER BY next_attempt_at, sequence LIMIT rooms.room FOR UPDATE SKIP LOCKED
        ) first
    ), leased AS (
        UPDATE notifier.deliveries d
        SET lease_owner = :owner, leased_until = now() + :ahead + make_interval(secs => :lease),
            next_attempt_at = now() + :ahead + make_interval(secs => :lease)
        FROM due WHERE d.id = due.id
        RETURNING d.*
    )
    SELECT d.id, d.endpoint_id, d.event_type, coalesce(m.body, d.body) AS body, d.sequence, d.attempts_made, d.tries,
        d.ordered_by IS NOT NULL AS ordered, d.test, m.happened_at, m.traceparent
    FROM leased d LEFT JOIN notifier.messages m ON m.id = d.message_id
    ORDER BY d.sequence
""").bindparams(_AHEAD, bindparam("ids", type_=ARRAY(Uuid)), bindparam("counts", type_=ARRAY(Integer)))


async def claim(
    connection: AsyncConnection,
    rooms: Sequence[Room],
    lanes: Mapping[UUID, tuple[Waiting, Destination]],
    *,
    owner: int,
    ahead: timedelta,
) -> list[Claimed]:
    """Lease what is due of these endpoints to `owner`, as much as there is room for."""
    lost = await _turns_lost(connection, rooms, lanes, ahead)
    mine = {room.endpoint_id: room for room in rooms if room.endpoint_id not in lost}
    if not mine:
        return []
    parameters = {
        "owner": owner,
        "ahead": ahead,
        "lease": LEASE_SECONDS,
        "ids": list(mine),
        "counts": [room.count for room in mine.values()],
    }
    return [
        Claimed(
            id=row.id,
            destination=lanes[row.endpoint_id][1],
            event_type=row.event_type,
            body=row.body,
            sequence=row.sequence,
            attempts_made=row.attempts_made,
            tries=row.tries,
            ordered=row.ordered,
            test=row.test,
            troubled=lanes[row.endpoint_id][0].troubled,
            probe=mine[row.endpoint_id].probe,
            happened_at=row.happened_at,
            traceparent=row.traceparent,
        )
        for row in await connection.execute(_CLAIM, parameters)
    ]


async def _turns_lost(
    connection: AsyncConnection,
    rooms: Sequence[Room],
    lanes: Mapping[UUID, tuple[Waiting, Destination]],
    ahead: timedelta,
) -> set[UUID]:
    """Endpoints whose one probe, or whose share of its rate limit, another process has taken meanwhile."""
    lost: set[UUID] = set()
    marked = [room.endpoint_id for room in rooms if room.probe or room.paced_to is not None]
    if marked:
        await healths(connection, marked)  # locks them in their order
    for room in rooms:
        if room.paced_to is None:
            continue
        lane, destination = lanes[room.endpoint_id]
        values = {
            "endpoint_id": room.endpoint_id,
            "tenant": destination.tenant,
            "paced_to": room.paced_to,
            "seen": lane.paced_to,
        }
        if await connection.scalar(_PACE, values) is None:
            lost.add(room.endpoint_id)
    if probes := [room.endpoint_id for room in rooms if room.probe and room.endpoint_id not in lost]:
        seen = [lanes[endpoint_id][0].probe_at for endpoint_id in probes]
        parameters = {"ids": probes, "seen": seen, "ahead": ahead, "seconds": PROBE_SECONDS}
        lost |= set(probes) - set(await connection.scalars(_PROBES, parameters))
    return lost


async def now(connection: AsyncConnection, ahead: timedelta) -> datetime:
    """The time of this transaction."""
    moment: datetime = (await connection.execute(select(func.now() + ahead))).scalar_one()
    return moment


async def lock_endpoints(connection: AsyncConnection, endpoint_ids: Iterable[UUID]) -> set[UUID]:
    """Let nobody else add to these endpoints' deliveries, or release any, until the transaction ends: those that are there."""
    query = select(endpoints.c.id).where(endpoints.c.id.in_(endpoint_ids)).order_by(endpoints.c.id)
    return set(await connection.scalars(query.with_for_update(key_share=True)))


async def keep_endpoints(connection: AsyncConnection, endpoint_ids: Iterable[UUID]) -> None:
    """Let nobody delete these endpoints until the transaction ends: that would lock their deliveries in any order."""
    query = select(endpoints.c.id).where(endpoints.c.id.in_(endpoint_ids)).order_by(endpoints.c.id)
    await connection.execute(query.with_for_update(read=True, key_share=True))


async def healths(connection: AsyncConnection, endpoint_ids: Iterable[UUID]) -> dict[UUID, Health]:
    """How endpoints do, locked; those of which nothing is known are not there."""
    columns = [endpoint_health.c[name] for name in Health.__dataclass_fields__]
    query = select(endpoint_health.c.endpoint_id, *columns)
    query = query.where(endpoint_health.c.endpoint_id.in_(endpoint_ids)).order_by(
        endpoint_health.c.endpoint_id
    )
    rows = await connection.execute(query.with_for_update())
    return {row.endpoint_id: Health(*row[1:]) for row in rows}


async def set_health(connection: AsyncConnection, endpoint_id: UUID, tenant: str, health: Health) -> None:
    values = {"endpoint_id": endpoint_id, "tenant": tenant, **vars(health)}
    statement = insert(endpoint_health).values(values)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["endpoint_id"], set_=vars(health))
    )


async def disable_endpoint(connection: AsyncConnection, endpoint_id: UUID, reason: str) -> AnyRow | None:
    """Send it nothing more: what it is, or None, if it is disabled or deleted already."""
    statement = update(endpoints).where(endpoints.c.id == endpoint_id, endpoints.c.enabled)
    statement = statement.values(enabled=False, disabled_reason=reason, disabled_at=func.now())
    returned = statement.returning(endpoints.c.url, endpoints.c.description, endpoints.c.disabled_at)
    row: AnyRow | None = (await connection.execute(returned)).one_or_none()
    return row


async def described(connection: AsyncConnection, endpoint_id: UUID) -> AnyRow | None:
    """What an endpoint's owner says of it."""
    query = select(endpoints.c.url, endpoints.c.description).where(endpoints.c.id == endpoint_id)
    return (await connection.execute(query)).one_or_none()


# Only what is leased to who says so and is at the attempt that it says; the others have been told by somebody else.
_RECORD = text("""
    WITH told AS (
        SELECT * FROM unnest(
            :ids, :numbers, :tries, :statuses, :delays, :attempted, :latencies, :codes, :bodies, :errors
        ) AS t (id, number, tries, status, retry_in, attempted_at, latency_ms, response_status, response_body, error)
    ), written AS (
        UPDATE notifier.deliveries d
        SET status = t.status, attempts_made = t.number, tries = t.tries, lease_owner = NULL, leased_until = NULL,
            next_attempt_at = now() + :ahead + make_interval(secs => t.retry_in),
            finished_at = CASE WHEN t.status <> 'pending' THEN now() + :ahead END
        FROM told t WHERE d.id = t.id AND d.lease_owner = :owner AND d.attempts_made = t.number - 1
        RETURNING d.id
    )
    INSERT INTO notifier.attempts
        (delivery_id, number, attempted_at, latency_ms, response_status, response_body, error)
    SELECT t.id, t.number, t.attempted_at, t.latency_ms, t.response_status, t.response_body, t.error
    FROM told t JOIN written USING (id)
    RETURNING delivery_id
""").bindparams(
    _AHEAD,
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("numbers", type_=ARRAY(Integer)),
    bindparam("tries", type_=ARRAY(Integer)),
    bindparam("statuses", type_=ARRAY(Text)),
    bindparam("delays", type_=ARRAY(Double)),
    bindparam("attempted", type_=ARRAY(DateTime(timezone=True))),
    bindparam("latencies", type_=ARRAY(Integer)),
    bindparam("codes", type_=ARRAY(Integer)),
    bindparam("bodies", type_=ARRAY(Text)),
    bindparam("errors", type_=ARRAY(Text)),
)


async def record(
    connection: AsyncConnection, attempts: Sequence[Recorded], *, owner: int, ahead: timedelta
) -> set[UUID]:
    """Write attempts down, with the new state of their deliveries: those that were still leased to `owner`."""
    parameters = {
        "owner": owner,
        "ahead": ahead,
        "ids": [one.claimed.id for one in attempts],
        "numbers": [one.claimed.attempts_made + 1 for one in attempts],
        "tries": [one.claimed.tries + 1 for one in attempts],
        "statuses": [one.verdict.status for one in attempts],
        "delays": [one.verdict.retry_in for one in attempts],
        "attempted": [one.attempt.attempted_at for one in attempts],
        "latencies": [one.attempt.latency_ms for one in attempts],
        "codes": [one.attempt.response_status for one in attempts],
        "bodies": [one.attempt.response_body for one in attempts],
        "errors": [one.attempt.error for one in attempts],
    }
    return set(await connection.scalars(_RECORD, parameters))


# The first of those that are held, unless one before it still holds it.
_RELEASE = text(f"""
    UPDATE notifier.deliveries d SET held = false, next_attempt_at = least(d.next_attempt_at, now() + :ahead)
    FROM (
        SELECT DISTINCT endpoint_id, ordered_by FROM notifier.deliveries WHERE id = ANY (:ids)
    ) told CROSS JOIN LATERAL (
        SELECT id FROM notifier.deliveries
        WHERE endpoint_id = told.endpoint_id AND ordered_by = told.ordered_by AND status = 'pending' AND held
        ORDER BY sequence LIMIT 1
    ) next
    WHERE d.id = next.id AND NOT EXISTS (
        SELECT FROM notifier.deliveries p
        WHERE p.endpoint_id = told.endpoint_id AND p.ordered_by = told.ordered_by AND p.status = 'pending'
            AND NOT p.held AND p.tries < {HOLD_TRIES}
    )
""").bindparams(_AHEAD, bindparam("ids", type_=ARRAY(Uuid)))  # noqa: S608 - a number


async def release_next(connection: AsyncConnection, delivery_ids: Sequence[UUID], ahead: timedelta) -> None:
    """Let those go that waited for these, if nothing else holds them. The endpoints must have been locked before."""
    await connection.execute(_RELEASE, {"ids": list(delivery_ids), "ahead": ahead})


async def give_back(
    connection: AsyncConnection, delivery_ids: Sequence[UUID], *, owner: int, ahead: timedelta
) -> None:
    """Make deliveries due again that were claimed and not attempted."""
    statement = update(deliveries).where(deliveries.c.id.in_(delivery_ids), deliveries.c.lease_owner == owner)
    await connection.execute(statement.values(_free(ahead)))


async def lease_owners(connection: AsyncConnection) -> list[int]:
    """Whose leases there are."""
    query = select(deliveries.c.lease_owner).where(deliveries.c.lease_owner.is_not(None)).distinct()
    return [int(owner) for owner in await connection.scalars(query)]


async def release_leases(connection: AsyncConnection, owner: int, ahead: timedelta) -> int:
    """Make all that `owner` had leased due again: how many."""
    statement = update(deliveries).where(deliveries.c.lease_owner == owner)
    return (await connection.execute(statement.values(_free(ahead)))).rowcount


def _free(ahead: timedelta) -> dict[str, Any]:
    return {"lease_owner": None, "leased_until": None, "next_attempt_at": func.now() + ahead}
