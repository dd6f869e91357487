"""SQL of webhook endpoints and their secrets. The caller's transaction, always.

Whoever changes one locks it first (`endpoint_to_change`), then its health, then its deliveries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.delivery.signing import PRIVATE_PREFIX
from services.notifier.tables import endpoint_health, endpoints, retired_secrets
from shared.platform.database import advisory_key

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]

_HEALTH = ("failures", "failing_since", "last_failure_at", "probe_at")
# All but the secret, which is read where it is asked for.
_SHOWN = [
    *(column for column in endpoints.c if column is not endpoints.c.secret),
    *(endpoint_health.c[name] for name in _HEALTH),
]
_WITH_HEALTH = endpoints.outerjoin(endpoint_health)


@dataclass(frozen=True)
class Filters:
    """Which endpoints to list.

    Attributes:
        patterns: With any of these event types or wildcards.
        dataset: Those that are sent what is of this dataset.
        q: With this in URL or description, in whatever case.
    """

    enabled: bool | None = None
    patterns: tuple[str, ...] | None = None
    dataset: str | None = None
    q: str | None = None


async def lock_endpoints(connection: AsyncConnection, tenant: str) -> None:
    """Let no other transaction add an endpoint to the tenant until this one ends, so that counting counts."""
    key = advisory_key(f"penstock:notifier:endpoints:{tenant}")
    await connection.execute(select(func.pg_advisory_xact_lock(key)))


async def count_endpoints(connection: AsyncConnection, tenant: str) -> int:
    query = select(func.count()).select_from(endpoints).where(endpoints.c.tenant == tenant)
    return int(await connection.scalar(query) or 0)


async def add_endpoint(connection: AsyncConnection, tenant: str, values: Mapping[str, Any]) -> UUID:
    statement = insert(endpoints).values(tenant=tenant, **values).returning(endpoints.c.id)
    endpoint_id: UUID = (await connection.execute(statement)).scalar_one()
    return endpoint_id


async def endpoint(connection: AsyncConnection, tenant: str, endpoint_id: UUID) -> AnyRow | None:
    """An endpoint with its health, whose columns are None where it is well."""
    query = select(*_SHOWN).select_from(_WITH_HEALTH)
    return (await connection.execute(_one(query, tenant, endpoint_id))).one_or_none()


async def endpoint_to_change(connection: AsyncConnection, tenant: str, endpoint_id: UUID) -> AnyRow | None:
    """An endpoint with its secret, locked until the transaction ends."""
    query = _one(select(endpoints), tenant, endpoint_id).with_for_update(key_share=True)
    return (await connection.execute(query)).one_or_none()


def listed(tenant: str, filters: Filters) -> AnySelect:
    """Endpoints, each with its health."""
    query = select(*_SHOWN).select_from(_WITH_HEALTH).where(endpoints.c.tenant == tenant)
    if filters.enabled is not None:
        query = query.where(endpoints.c.enabled == filters.enabled)
    if filters.patterns is not None:
        query = query.where(endpoints.c.event_types.overlap(list(filters.patterns)))
    if filters.dataset is not None:
        of_all = endpoints.c.datasets.is_(None)
        query = query.where(or_(of_all, endpoints.c.datasets.contains([filters.dataset])))
    if filters.q is not None:
        said = func.concat_ws("\n", endpoints.c.url, endpoints.c.description)
        query = query.where(said.icontains(filters.q, autoescape=True))
    return query


async def page(
    connection: AsyncConnection, query: AnySelect, *, limit: int, before: UUID | None
) -> Sequence[AnyRow]:
    """The newest of `listed` first, those older than `before`: one more than `limit`, if there is a next page."""
    if before is not None:
        query = query.where(endpoints.c.id < before)
    # UUIDv7 keys are in order of time.
    return (await connection.execute(query.order_by(endpoints.c.id.desc()).limit(limit + 1))).all()


async def change_endpoint(
    connection: AsyncConnection, tenant: str, endpoint_id: UUID, values: Mapping[str, Any]
) -> None:
    statement = update(endpoints).where(endpoints.c.tenant == tenant, endpoints.c.id == endpoint_id)
    await connection.execute(statement.values(updated_at=func.now(), **values))


async def forget_health(connection: AsyncConnection, endpoint_id: UUID) -> None:
    """Take the endpoint for healthy again."""
    await connection.execute(delete(endpoint_health).where(endpoint_health.c.endpoint_id == endpoint_id))


async def delete_endpoint(connection: AsyncConnection, tenant: str, endpoint_id: UUID) -> bool:
    """Remove the endpoint with its deliveries, sent or not. False: the tenant has no such endpoint."""
    statement = delete(endpoints).where(endpoints.c.tenant == tenant, endpoints.c.id == endpoint_id)
    return (await connection.execute(statement)).rowcount > 0


async def keys(connection: AsyncConnection, tenant: str, endpoint_id: UUID) -> AnyRow | None:
    """What attempts are signed with: `secret` and `private_key`."""
    query = select(endpoints.c.secret, endpoints.c.private_key)
    return (await connection.execute(_one(query, tenant, endpoint_id))).one_or_none()


async def retired_keys(connection: AsyncConnection, endpoint_id: UUID) -> Sequence[AnyRow]:
    """What they are signed with, too, as `secret` and `expires_at`; that which expires last first."""
    columns = retired_secrets.c
    query = select(columns.secret, columns.expires_at).where(
        columns.endpoint_id == endpoint_id, columns.expires_at > func.now()
    )
    return (await connection.execute(query.order_by(columns.expires_at.desc(), columns.secret))).all()


async def retire(
    connection: AsyncConnection, tenant: str, endpoint_id: UUID, key: str, overlap: timedelta
) -> datetime:
    """Sign with `key`, which is replaced, for `overlap` from now on: until when."""
    values = {
        "endpoint_id": endpoint_id,
        "tenant": tenant,
        "secret": key,
        "expires_at": func.now() + overlap,
    }
    statement = insert(retired_secrets).values(values).returning(retired_secrets.c.expires_at)
    expires_at: datetime = (await connection.execute(statement)).scalar_one()
    return expires_at


async def forget_retired(connection: AsyncConnection, endpoint_id: UUID, key: str) -> None:
    """Remove `key`, which is in use again, and those that have expired."""
    columns = retired_secrets.c
    done = or_(columns.secret == key, columns.expires_at <= func.now())
    await connection.execute(delete(retired_secrets).where(columns.endpoint_id == endpoint_id, done))


async def forget_retired_pairs(connection: AsyncConnection, endpoint_id: UUID) -> None:
    """Remove the key pairs among them."""
    columns = retired_secrets.c
    pairs = columns.secret.startswith(PRIVATE_PREFIX, autoescape=True)
    await connection.execute(delete(retired_secrets).where(columns.endpoint_id == endpoint_id, pairs))


def _one(query: AnySelect, tenant: str, endpoint_id: UUID) -> AnySelect:
    return query.where(endpoints.c.tenant == tenant, endpoints.c.id == endpoint_id)
