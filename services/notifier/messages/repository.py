"""SQL of what messages are made from: what an import changed, records as they are, and how far an import is told."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Interval, Text, TextClause, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.messages.event_types import patterns_for
from services.notifier.tables import changes, expansions
from shared.contracts.datasets import Dataset
from shared.contracts.record_json import record_json_sql
from shared.platform.database import advisory_key

TOLD_KINDS = ("created", "updated", "repeated")


class Asked(NamedTuple):
    """What one endpoint asks for: patterns of event types, and the datasets; None: of all."""

    patterns: frozenset[str]
    datasets: frozenset[str] | None

    def wants(self, event_type: str, dataset: str) -> bool:
        """Whether that is part of it."""
        return not self.patterns.isdisjoint(patterns_for(event_type)) and (
            self.datasets is None or dataset in self.datasets
        )


class Told(NamedTuple):
    """How much of an import's changes messages have been made of: rows of `processor.changes_v1`, and batches."""

    changes: int
    batches: int


class Change(NamedTuple):
    """What a slice of an import did to some records of one dataset; `keys` in the order of `row_numbers`, which is any."""

    dataset: str
    kind: str
    row_numbers: Sequence[int]
    keys: Sequence[str]


_ASKED = text("""
    SELECT event_types, datasets FROM notifier.endpoints
    WHERE tenant = :tenant AND event_types && :patterns AND (enabled OR disabled_at > now() - :retention)
""").bindparams(bindparam("patterns", type_=ARRAY(Text())), bindparam("retention", type_=Interval()))

_TENANTS = text("""
    SELECT DISTINCT tenant FROM notifier.endpoints
    WHERE tenant = ANY (:tenants) AND event_types && :patterns
        AND (enabled OR disabled_at > now() - :retention)
""").bindparams(
    bindparam("tenants", type_=ARRAY(Text())),
    bindparam("patterns", type_=ARRAY(Text())),
    bindparam("retention", type_=Interval()),
)


async def asked(
    connection: AsyncConnection, tenant: str, patterns: Sequence[str], retention: timedelta
) -> list[Asked]:
    """What the tenant's endpoints ask for that ask for any of these patterns, and are not disabled for longer than that."""
    parameters = {"tenant": tenant, "patterns": list(patterns), "retention": retention}
    return [
        Asked(frozenset(row.event_types), None if row.datasets is None else frozenset(row.datasets))
        for row in await connection.execute(_ASKED, parameters)
    ]


async def tenants_that_ask(
    connection: AsyncConnection, tenants: Iterable[str], patterns: Sequence[str], retention: timedelta
) -> set[str]:
    """Those of `tenants` of which `asked` finds any."""
    parameters = {"tenants": sorted(set(tenants)), "patterns": list(patterns), "retention": retention}
    return set(await connection.scalars(_TENANTS, parameters))


async def take(connection: AsyncConnection, tenant: str, import_id: UUID) -> Told | None:
    """How far an import is told, to whom alone goes on with it until the transaction ends. None: somebody else does."""
    key = advisory_key(f"penstock:expansion:{import_id}")
    if not await connection.scalar(select(func.pg_try_advisory_xact_lock(key))):
        return None
    statement = insert(expansions).values(import_id=import_id, tenant=tenant)
    statement = statement.on_conflict_do_update(index_elements=["import_id"], set_={"updated_at": func.now()})
    row = (await connection.execute(statement.returning(expansions.c.changes, expansions.c.batches))).one()
    return Told(row.changes, row.batches)


async def keep(connection: AsyncConnection, import_id: UUID, told: Told) -> None:
    """Keep how far the import is told now."""
    statement = update(expansions).where(expansions.c.import_id == import_id)
    await connection.execute(statement.values(**told._asdict()))


async def next_changes(
    connection: AsyncConnection, tenant: str, import_id: UUID, *, behind: int, limit: int
) -> list[Change]:
    """The changes behind the first `behind`, in the order of slices, which is the order in which they are committed, and rows."""
    query = (
        select(changes.c.dataset, changes.c.kind, changes.c.row_numbers, changes.c["keys"])
        .where(changes.c.tenant == tenant, changes.c.import_id == import_id, changes.c.kind.in_(TOLD_KINDS))
        .order_by(changes.c.slice, changes.c.first_row, changes.c.dataset, changes.c.kind)
        .offset(behind)
        .limit(limit)
    )
    return [Change(*row) for row in await connection.execute(query)]


async def shown(
    connection: AsyncConnection, dataset: Dataset, tenant: str, keys: Sequence[str]
) -> Sequence[bytes | None]:
    """The records of these keys as JSON, in their order; None for one that is not there."""
    found: Sequence[bytes | None] | None = await connection.scalar(
        _shown(dataset), {"tenant": tenant, "keys": list(keys)}
    )
    return found or ()


@cache
def _shown(dataset: Dataset) -> TextClause:
    # Looked up one by one: a plan for all of them at once, from statistics that are minutes old or not there yet, as those
    # of a growing table are, may read the whole table.
    return text(f"""
        SELECT array_agg((
            SELECT convert_to({record_json_sql(dataset, "r")}, 'UTF8') FROM data.{dataset.table}_v1 r
            WHERE r.tenant = :tenant AND r.key = k.key
        ) ORDER BY k.place)
        FROM unnest(:keys) WITH ORDINALITY AS k (key, place)
    """).bindparams(bindparam("tenant", type_=Text()), bindparam("keys", type_=ARRAY(Text())))  # noqa: S608 - declared names
