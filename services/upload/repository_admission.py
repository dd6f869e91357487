"""SQL of what guards intake: limits, rates, idempotency keys, uploads in progress, imports that have not ended."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.platform.database import advisory_key
from shared.platform.presence import is_alive

# How an import stands, by its row `o` of upload.open_imports and `p` of the processor's view, either of which may be
# missing. One that is told to go on is still failed there until the processor hears of it.
_STATUS = """
    CASE WHEN p.import_id IS NULL THEN 'pending' WHEN p.run < o.run THEN 'processing' ELSE p.status END
"""
_OPEN = f"{_STATUS} IN ('pending', 'processing')"
# The newest import of the same bytes for the same dataset, as JSON.
_SAME = f"""
    SELECT jsonb_build_object('import_id', u.import_id, 'uploaded_at', u.uploaded_at, 'status', {_STATUS})
    FROM upload.imports u
    LEFT JOIN upload.open_imports o ON o.import_id = u.import_id
    LEFT JOIN processor.imports_v1 p ON p.import_id = u.import_id
    WHERE u.tenant = :tenant AND u.dataset = :dataset AND u.sha256 = :sha256 AND u.import_id <> :import_id
        AND NOT coalesce((u.options ->> 'dry_run')::boolean, false)
        AND {_STATUS} NOT IN ('failed', 'cancelled')
    ORDER BY u.uploaded_at DESC LIMIT 1
"""


async def find_limits(connection: AsyncConnection, tenant: str) -> Row[Any] | None:
    """The tenant's own limits (NULL: the default); None: it has none."""
    found = text(
        "SELECT uploads_per_minute, imports_at_once, max_bytes FROM upload.tenant_limits WHERE tenant = :tenant"
    )
    return (await connection.execute(found, {"tenant": tenant})).one_or_none()


async def count_open(connection: AsyncConnection, tenant: str) -> int:
    """How many of the tenant's imports are coming in, or have not ended."""
    counted = text(f"""
        SELECT (
            SELECT count(*) FROM upload.open_imports o LEFT JOIN processor.imports_v1 p USING (import_id)
            WHERE o.tenant = :tenant AND {_OPEN}
        ) + (SELECT count(*) FROM upload.intakes WHERE tenant = :tenant)
    """)
    return int(await connection.scalar(counted, {"tenant": tenant}) or 0)


async def find_state(connection: AsyncConnection, tenant: str, import_id: UUID) -> Row[Any] | None:
    """How the tenant's import stands: `status`, `run`, `error_code`; and of its upload `dataset`, `sha256`, `forced`, `dry_run`,
    `options`, `file_removed_at`, `errors_removed_at`.
    """
    found = text(f"""
        SELECT {_STATUS} AS status, greatest(o.run, p.run, 1) AS run, p.error_code,
            u.dataset, u.sha256, u.forced, u.options, u.file_removed_at, p.errors_removed_at, coalesce((u.options ->> 'dry_run')::boolean, false) AS dry_run
        FROM upload.imports u
        LEFT JOIN upload.open_imports o ON o.import_id = u.import_id
        LEFT JOIN processor.imports_v1 p ON p.import_id = u.import_id
        WHERE u.tenant = :tenant AND u.import_id = :import_id
    """)
    return (await connection.execute(found, {"tenant": tenant, "import_id": import_id})).one_or_none()


@dataclass(frozen=True)
class Taken:
    """What became of asking for a slot.

    Attributes:
        slot: The one that was taken; None: there was none left.
        oldest: The first one within the window.
        count: Those within the window.
    """

    slot: datetime | None
    oldest: datetime | None
    count: int
    now: datetime


async def take_slot(connection: AsyncConnection, tenant: str, limit: int, window: timedelta) -> Taken:
    """Let one more upload begin, unless `limit` did within the last `window`. The row's lock puts callers in order."""
    row = (
        await connection.execute(
            text("""
                WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
                INSERT INTO upload.rates AS r (tenant, taken) SELECT :tenant, ARRAY[now] FROM clock
                ON CONFLICT (tenant) DO UPDATE SET taken = (
                    SELECT CASE WHEN count(t) < :limit THEN array_append(coalesce(array_agg(t ORDER BY t), '{}'), (SELECT now FROM clock))
                        ELSE array_agg(t ORDER BY t) END
                    FROM unnest(r.taken) t WHERE t > (SELECT now FROM clock) - CAST(:window AS interval)
                )
                RETURNING new.taken, (SELECT now FROM clock) AS now
            """),
            {"tenant": tenant, "limit": limit, "window": window},
        )
    ).one()
    slot = row.now if row.now in row.taken else None
    return Taken(slot, row.taken[0] if row.taken else None, len(row.taken), row.now)


async def release_slot(connection: AsyncConnection, tenant: str, slot: datetime) -> None:
    """Give back what an upload took that came to nothing."""
    await connection.execute(
        text("UPDATE upload.rates SET taken = array_remove(taken, :slot) WHERE tenant = :tenant"),
        {"tenant": tenant, "slot": slot},
    )


async def lock_tenant(connection: AsyncConnection, tenant: str) -> None:
    """Let no other upload of the tenant be registered until the transaction's end."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(:key)"), {"key": advisory_key(f"penstock:uploads:{tenant}")}
    )


async def open_again(connection: AsyncConnection, tenant: str, import_id: UUID, *, run: int) -> None:
    """Count an import that is told to go on among those that have not ended: it will be in its `run`."""
    await connection.execute(
        text("""
            INSERT INTO upload.open_imports (import_id, tenant, rows_detected, run)
            SELECT import_id, tenant, rows_detected, :run FROM upload.imports
            WHERE tenant = :tenant AND import_id = :import_id
            ON CONFLICT (import_id) DO UPDATE SET run = excluded.run, added_at = now()
        """),
        {"tenant": tenant, "import_id": import_id, "run": run},
    )


async def remove_ended(connection: AsyncConnection, *, lost_after: timedelta) -> None:
    """Forget imports that have ended, of all tenants, and those that the processor did not take up again until `lost_after`."""
    await connection.execute(
        text("""
            DELETE FROM upload.open_imports o USING processor.imports_v1 p
            WHERE p.import_id = o.import_id AND p.status <> 'processing'
                AND (p.run >= o.run OR o.added_at <= now() - CAST(:lost_after AS interval))
        """),
        {"lost_after": lost_after},
    )


async def find_speed(connection: AsyncConnection) -> float | None:
    """Records a second that went through lately; None: none did."""
    speed: float | None = await connection.scalar(
        text("SELECT CAST(rows_per_second AS float) FROM processor.speed_v1")
    )
    return speed


async def find_circumstances(
    connection: AsyncConnection, tenant: str, dataset: str, sha256: str, *, import_id: UUID
) -> Row[Any]:
    """What the answer to an upload, the import `import_id`, depends on.

    Returns:
        `rows_ahead`: records that all tenants' open imports still have before them; `open`: the tenant's open imports;
        `same`: as `find_same` tells.
    """
    found = await connection.execute(
        text(f"""
            SELECT load.rows_ahead, load.open, ({_SAME}) AS same
            FROM (
                SELECT count(*) FILTER (WHERE o.tenant = :tenant) AS open,
                    CAST(coalesce(sum(greatest(o.rows_detected - coalesce(p.rows_processed, 0), 0)), 0) AS bigint) AS rows_ahead
                FROM upload.open_imports o LEFT JOIN processor.imports_v1 p USING (import_id)
                WHERE {_OPEN}
            ) AS load
        """),
        {"tenant": tenant, "dataset": dataset, "sha256": sha256, "import_id": import_id},
    )
    return found.one()


async def find_same(
    connection: AsyncConnection, tenant: str, dataset: str, sha256: str, *, import_id: UUID
) -> dict[str, Any] | None:
    """The newest import, other than `import_id`, of the same bytes for the same dataset that has loaded them or is about to.

    Returns:
        `import_id`, `status`, `uploaded_at`.
    """
    values = {"tenant": tenant, "dataset": dataset, "sha256": sha256, "import_id": import_id}
    same: dict[str, Any] | None = await connection.scalar(text(_SAME), values)
    return same


async def begin_intake(
    connection: AsyncConnection, import_id: UUID, tenant: str, object_key: str, owner: int
) -> None:
    """Note that a file is about to be stored. One that somebody had begun before goes over to `owner`."""
    await connection.execute(
        text("""
            INSERT INTO upload.intakes (import_id, tenant, object_key, owner)
            VALUES (:import_id, :tenant, :object_key, :owner)
            ON CONFLICT (import_id) DO UPDATE SET owner = excluded.owner, began_at = now()
        """),
        {"import_id": import_id, "tenant": tenant, "object_key": object_key, "owner": owner},
    )


async def is_free(connection: AsyncConnection, import_id: UUID, owner: int) -> bool:
    """Whether no living process but `owner` has the upload in progress; so it stays until the transaction's end."""
    holder = await connection.scalar(
        text("SELECT owner FROM upload.intakes WHERE import_id = :import_id FOR UPDATE"),
        {"import_id": import_id},
    )
    return holder is None or holder == owner or not await is_alive(connection, holder)


async def may_be_removed(connection: AsyncConnection, import_id: UUID, owner: int) -> bool:
    """Whether what `owner` has stored of an upload belongs to nobody else: it is no import, which the connection may have
    broken behind, and no other process has begun it anew. Waits for a transaction that is making it an import.
    """
    holder = await connection.scalar(
        text("SELECT owner FROM upload.intakes WHERE import_id = :import_id FOR UPDATE"),
        {"import_id": import_id},
    )
    if holder is not None:
        return bool(holder == owner)
    is_import = text("SELECT EXISTS (SELECT FROM upload.imports WHERE import_id = :import_id)")
    return not await connection.scalar(is_import, {"import_id": import_id})


async def end_intake(connection: AsyncConnection, import_id: UUID, owner: int) -> bool:
    """Forget an upload in progress; False: it is not `owner`'s any more."""
    ended = await connection.execute(
        text("DELETE FROM upload.intakes WHERE import_id = :import_id AND owner = :owner"),
        {"import_id": import_id, "owner": owner},
    )
    return bool(ended.rowcount)


async def take_over_intakes(
    connection: AsyncConnection, owner: int, in_hand: Collection[UUID]
) -> Sequence[Row[Any]]:
    """Uploads in progress that nobody has in hand, now `owner`'s: those of dead processes, and its own forgotten ones."""
    owners = (await connection.scalars(text("SELECT DISTINCT owner FROM upload.intakes"))).all()
    gone = [each for each in owners if each == owner or not await is_alive(connection, each)]
    if not gone:
        return []
    taken = await connection.execute(
        text("""
            UPDATE upload.intakes SET owner = :owner
            WHERE owner = ANY(:gone) AND NOT import_id = ANY(:in_hand)
            RETURNING import_id, object_key
        """),
        {"owner": owner, "gone": gone, "in_hand": list(in_hand)},
    )
    return taken.all()


@dataclass(frozen=True)
class KeyClaim:
    """What is known of an idempotency key.

    Attributes:
        is_ours: It is claimed for this request.
        fingerprint: Of the request that was answered with `answer`; None: that one is still in progress.
    """

    is_ours: bool
    fingerprint: str | None = None
    answer: dict[str, Any] | None = None


async def claim_key(
    connection: AsyncConnection, tenant: str, key: str, *, import_id: UUID, owner: int, kept: timedelta
) -> KeyClaim:
    """Claim an idempotency key for the request that would become `import_id`.

    A key that has expired, or whose request died with its process, is claimed anew.
    """
    values = {"tenant": tenant, "key": key, "import_id": import_id, "owner": owner, "kept": kept}
    inserted = await connection.execute(
        text("""
            INSERT INTO upload.idempotency_keys (tenant, key, import_id, owner, expires_at)
            VALUES (:tenant, :key, :import_id, :owner, now() + CAST(:kept AS interval))
            ON CONFLICT DO NOTHING
        """),
        values,
    )
    if inserted.rowcount:
        return KeyClaim(is_ours=True)
    row = (
        await connection.execute(
            text("""
                SELECT *, expires_at <= now() AS expired FROM upload.idempotency_keys
                WHERE tenant = :tenant AND key = :key FOR UPDATE
            """),
            {"tenant": tenant, "key": key},
        )
    ).one_or_none()
    if row is None:  # released meanwhile
        return await claim_key(connection, tenant, key, import_id=import_id, owner=owner, kept=kept)
    if not row.expired and row.fingerprint is not None:
        return KeyClaim(is_ours=False, fingerprint=row.fingerprint, answer=row.answer)
    if not row.expired and await is_alive(connection, row.owner):
        return KeyClaim(is_ours=False)
    await connection.execute(
        text("""
            UPDATE upload.idempotency_keys SET import_id = :import_id, owner = :owner, fingerprint = NULL,
                answer = NULL, expires_at = now() + CAST(:kept AS interval)
            WHERE tenant = :tenant AND key = :key
        """),
        values,
    )
    return KeyClaim(is_ours=True)


async def complete_key(
    connection: AsyncConnection, tenant: str, key: str, *, import_id: UUID, fingerprint: str, answer: str
) -> bool:
    """Keep the answer (JSON) to the request that claimed the key; False: the key is another request's by now."""
    completed = await connection.execute(
        text("""
            UPDATE upload.idempotency_keys SET fingerprint = :fingerprint, answer = CAST(:answer AS jsonb)
            WHERE tenant = :tenant AND key = :key AND import_id = :import_id AND answer IS NULL
        """),
        {
            "tenant": tenant,
            "key": key,
            "import_id": import_id,
            "fingerprint": fingerprint,
            "answer": answer,
        },
    )
    return bool(completed.rowcount)


async def release_key(connection: AsyncConnection, import_id: UUID) -> None:
    """Free the key of a request that came to nothing: it may be sent again, mended."""
    await connection.execute(
        text("DELETE FROM upload.idempotency_keys WHERE import_id = :import_id AND answer IS NULL"),
        {"import_id": import_id},
    )


async def remove_expired(connection: AsyncConnection, window: timedelta) -> None:
    """Forget idempotency keys that are over, and the rates of tenants that sent nothing within `window`."""
    await connection.execute(text("DELETE FROM upload.idempotency_keys WHERE expires_at <= now()"))
    await connection.execute(
        text(
            "DELETE FROM upload.rates WHERE coalesce(taken[cardinality(taken)], '-infinity') <= now() - CAST(:window AS interval)"
        ),
        {"window": window},
    )


async def list_limits(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """The tenants that have limits of their own, with these."""
    found = await connection.execute(
        text(
            "SELECT tenant, uploads_per_minute, imports_at_once, max_bytes FROM upload.tenant_limits ORDER BY tenant"
        )
    )
    return found.all()


async def set_limits(
    connection: AsyncConnection,
    tenant: str,
    *,
    uploads_per_minute: int | None,
    imports_at_once: int | None,
    max_bytes: int | None,
) -> None:
    """Replace a tenant's own limits; None: the default."""
    own = {
        "uploads_per_minute": uploads_per_minute,
        "imports_at_once": imports_at_once,
        "max_bytes": max_bytes,
    }
    if not any(own.values()):
        await connection.execute(
            text("DELETE FROM upload.tenant_limits WHERE tenant = :tenant"), {"tenant": tenant}
        )
        return
    await connection.execute(
        text("""
            INSERT INTO upload.tenant_limits (tenant, uploads_per_minute, imports_at_once, max_bytes)
            VALUES (:tenant, :uploads_per_minute, :imports_at_once, :max_bytes)
            ON CONFLICT (tenant) DO UPDATE SET uploads_per_minute = excluded.uploads_per_minute,
                imports_at_once = excluded.imports_at_once, max_bytes = excluded.max_bytes
        """),
        {"tenant": tenant, **own},
    )


async def forget_rate(connection: AsyncConnection, tenant: str) -> None:
    """Let the uploads that a tenant has begun so far not count towards its uploads a minute."""
    await connection.execute(text("DELETE FROM upload.rates WHERE tenant = :tenant"), {"tenant": tenant})
