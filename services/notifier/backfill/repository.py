"""SQL of the backfill. The caller's transaction, always."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Text, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.backfill.matching import Kind
from services.notifier.logbook.matching import SAME_WITHIN, Sighting
from services.notifier.tables import backfill_watermarks

_MOVE = text("""
    INSERT INTO notifier.backfill_watermarks AS w (tenant, source, watermark, events_added)
    VALUES (:tenant, :source, :watermark, :added)
    ON CONFLICT (tenant, source) DO UPDATE SET
        watermark = greatest(w.watermark, excluded.watermark),
        events_added = w.events_added + excluded.events_added,
        updated_at = now()
""")

# A resolution is no error.
_REPORTED = text("""
    SELECT e.event_id, f.supplier, f.reason, e.occurred_at
    FROM (SELECT unnest(:suppliers) AS supplier, unnest(:reasons) AS reason) k
    JOIN notifier.fingerprints f ON f.tenant = :tenant AND f.supplier = k.supplier AND f.reason = k.reason
    JOIN notifier.investigation_events e ON e.fingerprint_id = f.id
    WHERE e.occurred_at BETWEEN :since AND :until AND e.origin = 'api' AND NOT e.resolves
""").bindparams(bindparam("suppliers", type_=ARRAY(Text)), bindparam("reasons", type_=ARRAY(Text)))

# A name that somebody gave a supplier stays. Locked in the order of the ids, as by whoever imports a list of them.
_RENAME = text("""
    WITH other AS (
        SELECT s.id, n.name FROM notifier.suppliers s JOIN unnest(:ids, :names) AS n (id, name) ON n.id = s.id
        WHERE s.tenant = :tenant AND s.name <> n.name AND (s.added_by = 'clickhouse' OR s.name = s.id)
        ORDER BY s.id COLLATE "C" FOR UPDATE OF s
    )
    UPDATE notifier.suppliers s SET name = other.name, updated_at = now() FROM other
    WHERE s.tenant = :tenant AND s.id = other.id
""").bindparams(bindparam("ids", type_=ARRAY(Text)), bindparam("names", type_=ARRAY(Text)))

_KEEP_FILES = text("""
    INSERT INTO notifier.supplier_files AS f
        (tenant, id, supplier, day, occurred_at, origin, status, status_at, stage, rows, profile)
    SELECT :tenant, r.id, r.supplier, r.day, r.occurred_at, 'clickhouse', 'good', r.occurred_at, :stage, r.rows, r.profile
    FROM jsonb_to_recordset(:files) AS r
        (id text, supplier text, day date, occurred_at timestamptz, rows bigint, profile jsonb)
    ON CONFLICT (tenant, id) DO UPDATE SET
        occurred_at = excluded.occurred_at, status_at = excluded.status_at, rows = excluded.rows,
        profile = excluded.profile
    WHERE (f.occurred_at, f.rows, f.profile) IS DISTINCT FROM (excluded.occurred_at, excluded.rows, excluded.profile)
""").bindparams(bindparam("files", type_=JSONB))


async def commit_unhurried(connection: AsyncConnection) -> None:
    """The transaction's commit does not wait for the disk, which was a third of its time.

    A server that crashes in the next second may forget it, as a whole and with all that came after it: so the watermark is
    where it was before, and the next run takes the same over again.
    """
    await connection.execute(text("SET LOCAL synchronous_commit TO off"))


async def watermark(connection: AsyncConnection, tenant: str, source: str) -> datetime | None:
    """The time of the last row that was taken over."""
    table = backfill_watermarks
    query = select(table.c.watermark).where(table.c.tenant == tenant, table.c.source == source)
    found: datetime | None = (await connection.execute(query)).scalar_one_or_none()
    return found


async def move_watermark(
    connection: AsyncConnection, tenant: str, source: str, watermark: datetime | None, *, added: int
) -> None:
    """Forward only; None: not yet, but that rows are taken over is known."""
    values = {"tenant": tenant, "source": source, "watermark": watermark, "added": added}
    await connection.execute(_MOVE, values)


async def reported(
    connection: AsyncConnection, tenant: str, kinds: Collection[Kind], since: datetime, until: datetime
) -> Sequence[Sighting]:
    """Errors of these kinds that were logged by API, and that are close enough to a row of the time `since` to `until`."""
    suppliers, reasons = map(list, zip(*kinds, strict=True))
    values = {
        "tenant": tenant,
        "suppliers": suppliers,
        "reasons": reasons,
        "since": since - SAME_WITHIN,
        "until": until + SAME_WITHIN,
    }
    return [Sighting(*row) for row in await connection.execute(_REPORTED, values)]


async def rename_suppliers(connection: AsyncConnection, tenant: str, names: Mapping[str, str]) -> int:
    """How many have another name now."""
    values = {"tenant": tenant, "ids": list(names), "names": list(names.values())}
    return (await connection.execute(_RENAME, values)).rowcount


async def keep_files(
    connection: AsyncConnection, tenant: str, stage: str, files: Sequence[Mapping[str, Any]]
) -> int:
    """Keep the files of days as they are now.

    Args:
        files: `id, supplier, day, occurred_at, rows, profile`, as JSON has them.

    Returns:
        How many are new or were otherwise.
    """
    return (
        await connection.execute(_KEEP_FILES, {"tenant": tenant, "stage": stage, "files": files})
    ).rowcount
