"""SQL of the delivery log, of single attempts that somebody asks for, and of replays. The caller's transaction, always."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Row,
    Select,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.deliveries.filters import Filters, Order, StatusFilter
from services.notifier.delivery.attempts import Claimed, Destination
from services.notifier.delivery.repository import LEASE_SECONDS, destination_of
from services.notifier.delivery.schedule import HOLD_TRIES
from services.notifier.tables import (
    attempts,
    deliveries,
    endpoint_health,
    endpoints,
    messages,
    retired_secrets,
)

# Attempts of one delivery; their numbers are smallint, and more than a hundred rounds of the schedule help nobody.
MOST_ATTEMPTS = 1000

AnyRow = Row[Any]

_BODY = func.coalesce(messages.c.body, deliveries.c.body)
_WITH_MESSAGE = deliveries.outerjoin(messages, messages.c.id == deliveries.c.message_id)
# As it is written in the index, so that the planner knows it again.
_NOT_SUCCEEDED = literal_column("deliveries.status <> 'succeeded'", type_=true().type)
_COLUMNS = "id endpoint_id sequence event_id event_type test status held attempts_made created_at next_attempt_at finished_at"
_SHOWN = (
    *(deliveries.c[name] for name in _COLUMNS.split()),
    func.coalesce(deliveries.c.leased_until > func.now(), False).label("in_flight"),
)
_LEASE = timedelta(seconds=LEASE_SECONDS)


async def endpoint_exists(connection: AsyncConnection, tenant: str, endpoint_id: UUID) -> bool:
    query = select(endpoints.c.id).where(endpoints.c.tenant == tenant, endpoints.c.id == endpoint_id)
    return await connection.scalar(query) is not None


def matching(tenant: str, endpoint_id: UUID, filters: Filters) -> Select[*tuple[Any, ...]]:
    """The endpoint's deliveries that a list is to show, in no order."""
    column = deliveries.c
    conditions: list[ColumnElement[bool]] = [column.tenant == tenant, column.endpoint_id == endpoint_id]
    if filters.statuses:
        conditions.append(or_(*map(_of_status, sorted(filters.statuses))))
        if "succeeded" not in filters.statuses:
            conditions.append(_NOT_SUCCEEDED)
    if filters.event_types:
        conditions.append(or_(*map(_of_type, filters.event_types)))
    bounds = (
        (filters.since, column.created_at.__ge__),
        (filters.until, column.created_at.__lt__),
        (filters.sequence_from, column.sequence.__ge__),
        (filters.sequence_to, column.sequence.__le__),
    )
    conditions += [compared(bound) for bound, compared in bounds if bound is not None]
    return select(*_SHOWN).where(*conditions)


def _of_status(status: StatusFilter) -> ColumnElement[bool]:
    if status == "undelivered":  # what a replay may be of, and that is never a test
        return and_(_NOT_SUCCEEDED, not_(deliveries.c.test))
    return deliveries.c.status == status


def _of_type(name: str) -> ColumnElement[bool]:
    if name == "*":
        return true()
    if name.endswith(".*"):
        return deliveries.c.event_type.startswith(name.removesuffix("*"), autoescape=True)
    return deliveries.c.event_type == name


async def list_deliveries(
    connection: AsyncConnection,
    query: Select[*tuple[Any, ...]],
    *,
    order: Order,
    after: int | None,
    limit: int,
    attempts_each: int,
    payload: bool,
) -> Sequence[AnyRow]:
    """What `query` (of `matching`) finds behind the sequence `after`, with `bytes`: the size of its responses and payload."""
    sequence = deliveries.c.sequence
    if after is not None:
        query = query.where(sequence > after if order == "asc" else sequence < after)
    responses = (
        select(func.coalesce(func.sum(func.octet_length(attempts.c.response_body)), 0))
        .where(
            attempts.c.delivery_id == deliveries.c.id,
            attempts.c.number > deliveries.c.attempts_made - attempts_each,
        )
        .scalar_subquery()
    )
    size = responses + func.octet_length(_BODY) if payload else responses
    query = query.add_columns(size.label("bytes")).select_from(_WITH_MESSAGE if payload else deliveries)
    ordered = query.order_by(sequence if order == "asc" else sequence.desc())
    return list(await connection.execute(ordered.limit(limit)))


async def find_delivery(
    connection: AsyncConnection, tenant: str, endpoint_id: UUID, delivery_id: UUID
) -> AnyRow | None:
    query = matching(tenant, endpoint_id, Filters()).where(deliveries.c.id == delivery_id)
    return (await connection.execute(query)).one_or_none()


async def attempts_of(
    connection: AsyncConnection, delivery_ids: Sequence[UUID], *, latest: int
) -> Mapping[UUID, list[AnyRow]]:
    """The latest attempts of each delivery, the first of them first."""
    query = (
        select(attempts)
        .join(deliveries, deliveries.c.id == attempts.c.delivery_id)
        .where(deliveries.c.id.in_(delivery_ids), attempts.c.number > deliveries.c.attempts_made - latest)
        .order_by(attempts.c.delivery_id, attempts.c.number)
    )
    found: dict[UUID, list[AnyRow]] = {delivery_id: [] for delivery_id in delivery_ids}
    for row in await connection.execute(query):
        found[row.delivery_id].append(row)
    return found


async def bodies_of(connection: AsyncConnection, delivery_ids: Sequence[UUID]) -> Mapping[UUID, bytes]:
    query = select(deliveries.c.id, _BODY.label("body")).select_from(_WITH_MESSAGE)
    rows = await connection.execute(query.where(deliveries.c.id.in_(delivery_ids)))
    return {row.id: row.body for row in rows}


async def lock_endpoint(connection: AsyncConnection, tenant: str, endpoint_id: UUID) -> AnyRow | None:
    """The endpoint's row, to which nobody adds deliveries, and of which nobody releases any, until the transaction ends."""
    query = select(endpoints.c.enabled).where(endpoints.c.tenant == tenant, endpoints.c.id == endpoint_id)
    return (await connection.execute(query.with_for_update(key_share=True))).one_or_none()


async def destination(connection: AsyncConnection, endpoint_id: UUID) -> Destination:
    """Where and how an attempt goes. The endpoint must be there."""
    still_valid = (
        select(retired_secrets.c.secret)
        .where(retired_secrets.c.endpoint_id == endpoints.c.id, retired_secrets.c.expires_at > func.now())
        .order_by(retired_secrets.c.expires_at.desc())
    )
    query = select(
        endpoints,
        endpoints.c.id.label("endpoint_id"),
        func.array(still_valid.scalar_subquery()).label("retired"),
    ).where(endpoints.c.id == endpoint_id)
    return destination_of((await connection.execute(query)).one())


async def next_sequence(connection: AsyncConnection, tenant: str, endpoint_id: UUID) -> int | None:
    """The sequence of a delivery that is made in this transaction; locks the endpoint. None: there is none such."""
    statement = (
        update(endpoints)
        .where(endpoints.c.tenant == tenant, endpoints.c.id == endpoint_id)
        .values(last_sequence=endpoints.c.last_sequence + 1)
        .returning(endpoints.c.last_sequence)
    )
    sequence: int | None = await connection.scalar(statement)
    return sequence


async def add_test(
    connection: AsyncConnection,
    tenant: str,
    endpoint_id: UUID,
    *,
    sequence: int,
    owner: int,
    event_id: UUID,
    event_type: str,
    body: bytes,
) -> UUID:
    """A delivery of which there is to be one attempt, leased to `owner`: its id."""
    common = {"tenant": tenant, "event_id": event_id, "event_type": event_type}
    message = insert(messages).values(**common, part=0, body=body).returning(messages.c.id)
    delivery = insert(deliveries).values(
        **common,
        endpoint_id=endpoint_id,
        message_id=await connection.scalar(message),
        sequence=sequence,
        test=True,
        **_leased_to(owner),
    )
    delivery_id: UUID = (await connection.execute(delivery.returning(deliveries.c.id))).scalar_one()
    return delivery_id


async def lock_delivery(
    connection: AsyncConnection, tenant: str, endpoint_id: UUID, delivery_id: UUID
) -> AnyRow | None:
    query = matching(tenant, endpoint_id, Filters()).where(deliveries.c.id == delivery_id)
    query = query.add_columns(deliveries.c.ordered_by).with_for_update(of=deliveries)
    return (await connection.execute(query)).one_or_none()


async def lease(connection: AsyncConnection, delivery_id: UUID, owner: int) -> None:
    """Begin a new round with an attempt by `owner`, whatever came of the ones before."""
    statement = update(deliveries).where(deliveries.c.id == delivery_id)
    fresh = {"status": "pending", "tries": 0, "held": False, "finished_at": None}
    await connection.execute(statement.values(**fresh, **_leased_to(owner)))


def _leased_to(owner: int) -> dict[str, Any]:
    until = func.now() + _LEASE
    return {"lease_owner": owner, "leased_until": until, "next_attempt_at": until}


def claimed_of(row: Any, to: Destination, body: bytes) -> Claimed:
    """A delivery as `lock_delivery` gives it, once it is leased."""
    return Claimed(
        id=row.id,
        destination=to,
        event_type=row.event_type,
        body=body,
        sequence=row.sequence,
        attempts_made=row.attempts_made,
        tries=0,
        ordered=row.ordered_by is not None,
        test=row.test,
    )


async def replayable(
    connection: AsyncConnection,
    tenant: str,
    endpoint_id: UUID,
    filters: Filters,
    *,
    retention: timedelta,
    limit: int,
) -> Sequence[int]:
    """The sequences of those of `filters` that a replay sends again, in order: not what is due or under way by itself."""
    column = deliveries.c
    waits = and_(not_(column.held), column.lease_owner.is_(None), column.next_attempt_at > func.now())
    query = matching(tenant, endpoint_id, filters).where(
        not_(column.test),
        column.attempts_made < MOST_ATTEMPTS,
        column.created_at > func.now() - retention,
        or_(column.status != "pending", waits),
    )
    sequences = query.with_only_columns(column.sequence).order_by(column.sequence).limit(limit)
    return list(await connection.scalars(sequences))


# Of each thing that goes in order the first one goes, and holds the others. Whoever claims one meanwhile keeps it. What
# lets others go locks the endpoint, so none of those that hold is finished meanwhile. OFFSET 0 keeps the planner to the
# index of what is in order: by its statistics hardly anything is pending, until a replay makes it so.
_PUT_BACK = text(f"""
    WITH chosen AS (
        SELECT id, ordered_by, sequence, attempts_made FROM notifier.deliveries
        WHERE endpoint_id = :endpoint_id AND sequence = ANY (:sequences) AND lease_owner IS NULL
            AND (status <> 'pending' OR next_attempt_at > now())
    ), line AS (
        SELECT id, ordered_by, sequence, attempts_made, 0 AS tries, true AS chosen FROM chosen
        UNION ALL
        SELECT d.id, d.ordered_by, d.sequence, d.attempts_made, d.tries, false
        FROM (SELECT DISTINCT ordered_by FROM chosen WHERE ordered_by IS NOT NULL) affected
        CROSS JOIN LATERAL (
            SELECT * FROM notifier.deliveries
            WHERE endpoint_id = :endpoint_id AND ordered_by = affected.ordered_by AND status = 'pending' OFFSET 0
        ) d
        WHERE d.id NOT IN (SELECT id FROM chosen)
    ), placed AS (
        SELECT *, ordered_by IS NOT NULL AND coalesce(
            bool_or(tries < {HOLD_TRIES}) OVER (
                PARTITION BY ordered_by ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ), false) AS held
        FROM line
    ), put_back AS (
        UPDATE notifier.deliveries d
        SET status = 'pending', tries = placed.tries, held = placed.held, finished_at = NULL,
            next_attempt_at = CASE WHEN placed.chosen THEN now() ELSE d.next_attempt_at END
        FROM placed
        WHERE d.id = placed.id AND d.lease_owner IS NULL AND d.attempts_made = placed.attempts_made
            AND (placed.chosen OR d.held <> placed.held)
        RETURNING placed.chosen
    )
    SELECT count(*) FILTER (WHERE chosen) FROM put_back
""").bindparams(bindparam("sequences", type_=ARRAY(BigInteger)))  # noqa: S608 - a number


async def put_back(connection: AsyncConnection, endpoint_id: UUID, sequences: Sequence[int]) -> int:
    """Begin a new round of each of these, due now, in order: how many. The endpoint must have been locked before."""
    parameters = {"endpoint_id": endpoint_id, "sequences": sequences}
    return int((await connection.execute(_PUT_BACK, parameters)).scalar_one())


async def probe_now(connection: AsyncConnection, endpoint_id: UUID) -> None:
    """Let an open circuit try at once whether it may close. Comes before the endpoint's deliveries are touched."""
    statement = update(endpoint_health).where(
        endpoint_health.c.endpoint_id == endpoint_id, endpoint_health.c.probe_at > func.now()
    )
    await connection.execute(statement.values(probe_at=func.now()))
