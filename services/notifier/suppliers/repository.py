"""SQL of suppliers, and of what is known of them. The caller's transaction, always."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import (
    ARRAY,
    Date,
    Row,
    Select,
    Text,
    bindparam,
    delete,
    func,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.tables import analyses, quarantined_events, supplier_files, suppliers

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]

ANALYSE = "analyse"  # the stage of what analyses find, which is no error that anybody reported
_COUNTED = supplier_files.c.status != "uncounted"


@dataclass(frozen=True)
class Filters:
    """Which suppliers to list; None: with any.

    Attributes:
        q: In id, name or partner, ignoring case.
    """

    enabled: bool | None = None
    partner: str | None = None
    q: str | None = None


def listed(tenant: str, filters: Filters) -> AnySelect:
    query = select(suppliers).where(suppliers.c.tenant == tenant)
    if filters.enabled is not None:
        query = query.where(suppliers.c.enabled == filters.enabled)
    if filters.partner is not None:
        query = query.where(suppliers.c.partner == filters.partner)
    if filters.q is not None:
        said = (suppliers.c.id, suppliers.c.name, suppliers.c.partner)
        query = query.where(or_(*(column.icontains(filters.q, autoescape=True) for column in said)))
    return query


async def page(
    connection: AsyncConnection, query: AnySelect, *, limit: int, after: str | None
) -> Sequence[AnyRow]:
    """Of `listed`, in order of the ids, those behind `after`: one more than `limit`, if there is a next page."""
    if after is not None:
        query = query.where(suppliers.c.id > after)
    return (await connection.execute(query.order_by(suppliers.c.id).limit(limit + 1))).all()


async def supplier(connection: AsyncConnection, tenant: str, supplier_id: str) -> AnyRow | None:
    query = select(suppliers).where(suppliers.c.tenant == tenant, suppliers.c.id == supplier_id)
    return (await connection.execute(query)).one_or_none()


async def change_supplier(
    connection: AsyncConnection, tenant: str, supplier_id: str, changes: Mapping[str, Any]
) -> AnyRow | None:
    """The supplier as it is now; None: there is none."""
    statement = update(suppliers).where(suppliers.c.tenant == tenant, suppliers.c.id == supplier_id)
    changed = statement.values(updated_at=func.now(), **changes).returning(suppliers)
    row: AnyRow | None = (await connection.execute(changed)).one_or_none()
    return row


async def delete_supplier(connection: AsyncConnection, tenant: str, supplier_id: str) -> bool:
    statement = delete(suppliers).where(suppliers.c.tenant == tenant, suppliers.c.id == supplier_id)
    return (await connection.execute(statement)).rowcount > 0


# Members that a row does not have stay as they are, or are what they are by default.
_UPSERT = text("""
    INSERT INTO notifier.suppliers AS s (tenant, id, name, partner, enabled, added_by)
    SELECT :tenant, r ->> 'id', r ->> 'name', r ->> 'partner', coalesce((r ->> 'enabled')::boolean, true), :added_by
    FROM jsonb_array_elements(:rows) AS r ORDER BY (r ->> 'id') COLLATE "C"
    ON CONFLICT (tenant, id) DO UPDATE SET name = excluded.name, updated_at = now(),
        partner = CASE WHEN :with_partner THEN excluded.partner ELSE s.partner END,
        enabled = CASE WHEN s.id = ANY (:with_enabled) THEN excluded.enabled ELSE s.enabled END
    WHERE (s.name, s.partner, s.enabled) IS DISTINCT FROM (
        excluded.name,
        CASE WHEN :with_partner THEN excluded.partner ELSE s.partner END,
        CASE WHEN s.id = ANY (:with_enabled) THEN excluded.enabled ELSE s.enabled END
    )
    RETURNING s.id, (old.id IS NULL) AS created
""").bindparams(bindparam("rows", type_=JSONB), bindparam("with_enabled", type_=ARRAY(Text)))


async def upsert_suppliers(
    connection: AsyncConnection, tenant: str, rows: Sequence[Mapping[str, Any]], *, added_by: str
) -> tuple[Sequence[str], int]:
    """Add those that are new, and change those that differ.

    Args:
        rows: `id` and `name`; `partner` in each of them or in none; `enabled` in any.

    Returns:
        The ids of those that are new, and how many were changed.
    """
    values = {
        "tenant": tenant,
        "added_by": added_by,
        "rows": list(rows),
        "with_partner": any("partner" in row for row in rows),
        "with_enabled": [row["id"] for row in rows if "enabled" in row],
    }
    written = (await connection.execute(_UPSERT, values)).all()
    created = [row.id for row in written if row.created]
    return created, len(written) - len(created)


@dataclass(frozen=True)
class FileFilters:
    """Which files of a supplier to list; None: with any. `since` and `until` are days, both included."""

    status: str | None = None
    since: date | None = None
    until: date | None = None


_FILE_ORDER = (supplier_files.c.day, supplier_files.c.occurred_at, supplier_files.c.id)


def listed_files(tenant: str, supplier_id: str, filters: FileFilters) -> AnySelect:
    files = supplier_files
    query = select(files).where(files.c.tenant == tenant, files.c.supplier == supplier_id, _COUNTED)
    if filters.status is not None:
        query = query.where(files.c.status == filters.status)
    if filters.since is not None:
        query = query.where(files.c.day >= filters.since)
    if filters.until is not None:
        query = query.where(files.c.day <= filters.until)
    return query


async def page_of_files(
    connection: AsyncConnection, query: AnySelect, *, limit: int, before: tuple[Any, ...] | None
) -> Sequence[AnyRow]:
    """Of `listed_files`, the newest first, those before (day, occurred_at, id): one more than `limit`, if there are more."""
    if before is not None:
        query = query.where(tuple_(*_FILE_ORDER) < before)
    newest_first = [column.desc() for column in _FILE_ORDER]
    return (await connection.execute(query.order_by(*newest_first).limit(limit + 1))).all()


_DAYS_TYPES = (
    bindparam("suppliers", type_=ARRAY(Text)),
    bindparam("since", type_=Date),
    bindparam("until", type_=Date),
)

# Of those files that have one.
_LAST_STAGE = """
        max(coalesce(status_at, occurred_at)) FILTER (WHERE stage IS NOT NULL) AS last_at,
        (array_agg(stage ORDER BY coalesce(status_at, occurred_at) DESC, stage) FILTER (WHERE stage IS NOT NULL))[1]
            AS last_stage
"""

_FILE_DAYS = text(f"""
    SELECT supplier, day, count(*) AS files, count(*) FILTER (WHERE status = 'good') AS good_files,
        count(*) FILTER (WHERE status = 'failed') AS failed_files, coalesce(sum(rows), 0)::bigint AS rows,
        coalesce(sum(rejected), 0)::bigint AS rejected, {_LAST_STAGE}
    FROM notifier.supplier_files
    WHERE tenant = :tenant AND supplier = ANY (:suppliers) AND day BETWEEN :since AND :until AND status <> 'uncounted'
    GROUP BY 1, 2
""").bindparams(*_DAYS_TYPES)  # noqa: S608 - text of this module

_ERROR_DAYS = text("""
    SELECT f.supplier, d.day, f.reason, sum(d.events)::bigint AS errors, max(d.last_occurred_at) AS last_at,
        (array_agg(f.stage ORDER BY d.last_occurred_at DESC, f.stage))[1] AS last_stage
    FROM notifier.fingerprints f JOIN notifier.event_days d ON d.fingerprint_id = f.id
    WHERE f.tenant = :tenant AND f.supplier = ANY (:suppliers) AND d.day BETWEEN :since AND :until AND f.stage <> :analyse
    GROUP BY 1, 2, 3 ORDER BY errors DESC, f.reason
""").bindparams(*_DAYS_TYPES, bindparam("analyse", ANALYSE))


async def days(
    connection: AsyncConnection, tenant: str, supplier_ids: Sequence[str], since: date, until: date
) -> tuple[Sequence[AnyRow], Sequence[AnyRow]]:
    """What came of these suppliers on these days, both included.

    Returns:
        Per supplier and day with files: how many, and where the latest one was. Per supplier, day and reason: errors, and
        where the latest one was, the most frequent reason first.
    """
    values = {"tenant": tenant, "suppliers": list(supplier_ids), "since": since, "until": until}
    files = (await connection.execute(_FILE_DAYS, values)).all()
    return files, (await connection.execute(_ERROR_DAYS, values)).all()


_TOTALS = text(f"""
    SELECT count(*) AS files, count(*) FILTER (WHERE status = 'good') AS good_files,
        count(*) FILTER (WHERE status = 'failed') AS failed_files, coalesce(sum(rows), 0)::bigint AS rows,
        coalesce(sum(rejected), 0)::bigint AS rejected, max(day) FILTER (WHERE status = 'good') AS last_good_day,
        {_LAST_STAGE}
    FROM notifier.supplier_files WHERE tenant = :tenant AND supplier = :supplier AND status <> 'uncounted'
""")  # noqa: S608 - text of this module

_ERROR_TOTALS = text("""
    SELECT coalesce(sum(f.event_count) FILTER (WHERE f.stage <> :analyse), 0)::bigint AS errors,
        max(f.last_triggered) FILTER (WHERE f.stage <> :analyse) AS last_at,
        (array_agg(f.stage ORDER BY f.last_triggered DESC, f.stage)
            FILTER (WHERE f.event_count > 0 AND f.stage <> :analyse))[1] AS last_stage,
        count(DISTINCT i.id) FILTER (WHERE i.state IN ('open', 'reopened', 'acknowledged')) AS open_investigations
    FROM notifier.fingerprints f JOIN notifier.investigations i ON i.id = f.investigation_id
    WHERE f.tenant = :tenant AND f.supplier = :supplier
""").bindparams(bindparam("analyse", ANALYSE))


async def totals(connection: AsyncConnection, tenant: str, supplier_id: str) -> tuple[AnyRow, AnyRow]:
    """What came of a supplier since it is known: its files, and its errors with their investigations."""
    values = {"tenant": tenant, "supplier": supplier_id}
    files = (await connection.execute(_TOTALS, values)).one()
    return files, (await connection.execute(_ERROR_TOTALS, values)).one()


async def quarantined(connection: AsyncConnection, tenant: str, supplier_id: str) -> int:
    query = select(func.count()).where(
        quarantined_events.c.tenant == tenant, quarantined_events.c.supplier == supplier_id
    )
    return (await connection.execute(query)).scalar_one()


async def last_analysis(connection: AsyncConnection, tenant: str, supplier_id: str) -> AnyRow | None:
    query = select(analyses).where(analyses.c.tenant == tenant, analyses.c.supplier == supplier_id)
    return (await connection.execute(query.order_by(analyses.c.day.desc()).limit(1))).one_or_none()
