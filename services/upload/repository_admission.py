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


async def find_standing(connection: AsyncConnection, tenant: str) -> Row[Any]:
    """The tenant's own limits (NULL: the default), and how many of its imports are `open`: coming in, or not ended."""
    found = await connection.execute(
        text("""
            SELECT l.uploads_per_minute, l.imports_at_once, l.max_bytes,
                (SELECT count(*) FROM upload.open_imports o LEFT JOIN processor.imports_v1 p USING (import_id)
                 WHERE o.tenant = :tenant AND coalesce(p.status, 'processing') = 'processing')
                + (SELECT count(*) FROM upload.intakes WHERE tenant = :tenant) AS open
            FROM (SELECT) AS one LEFT JOIN upload.tenant_limits l ON l.tenant = :tenant
        """),
        {"tenant": tenant},
    )
    return found.one()


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


async def add_open(connection: AsyncConnection, tenant: str, import_id: UUID) -> None:
    """Count an import among those that have not ended: a new one, or one that is tried again."""
    await connection.execute(
        text("""
            INSERT INTO upload.open_imports (import_id, tenant, rows_detected)
            SELECT import_id, tenant, rows_detected FROM upload.imports
            WHERE tenant = :tenant AND import_id = :import_id
            ON CONFLICT (import_id) DO UPDATE SET added_at = now()
        """),
        {"tenant": tenant, "import_id": import_id},
    )


async def remove_ended(connection: AsyncConnection, after: timedelta) -> None:
    """Forget imports that have ended, of all tenants. One that was just told to go on may still look so: `after` that."""
    await connection.execute(
        text("""
            DELETE FROM upload.open_imports o USING processor.imports_v1 p
            WHERE p.import_id = o.import_id AND p.status <> 'processing'
                AND o.added_at <= now() - CAST(:after AS interval)
        """),
        {"after": after},
    )


async def find_speed(connection: AsyncConnection) -> float | None:
    """Records a second that went through lately; None: none did."""
    speed: float | None = await connection.scalar(
        text("SELECT CAST(rows_per_second AS float) FROM processor.speed_v1")
    )
    return speed


async def find_circumstances(connection: AsyncConnection, tenant: str, dataset: str, sha256: str) -> Row[Any]:
    """What the answer to an upload depends on.

    Returns:
        `rows_ahead`: records that all tenants' open imports still have before them; `open`: the tenant's open imports; `same`: the newest import of the same bytes
        into the same dataset that has loaded them or is about to, as JSON (`import_id`, `status`, `uploaded_at`).
    """
    found = await connection.execute(
        text("""
            SELECT load.rows_ahead, load.open, (
                SELECT jsonb_build_object('import_id', u.import_id, 'uploaded_at', u.uploaded_at,
                    'status', coalesce(p.status, 'pending'))
                FROM upload.imports u LEFT JOIN processor.imports_v1 p USING (import_id)
                WHERE u.tenant = :tenant AND u.dataset = :dataset AND u.sha256 = :sha256
                    AND NOT coalesce((u.options ->> 'dry_run')::boolean, false)
                    AND coalesce(p.status, 'pending') NOT IN ('failed', 'cancelled')
                ORDER BY u.uploaded_at DESC LIMIT 1
            ) AS same
            FROM (
                SELECT count(*) FILTER (WHERE o.tenant = :tenant) AS open,
                    CAST(coalesce(sum(greatest(o.rows_detected - coalesce(p.rows_processed, 0), 0)), 0) AS bigint) AS rows_ahead
                FROM upload.open_imports o LEFT JOIN processor.imports_v1 p USING (import_id)
                WHERE coalesce(p.status, 'processing') = 'processing'
            ) AS load
        """),
        {"tenant": tenant, "dataset": dataset, "sha256": sha256},
    )
    return found.one()


async def find_resent(connection: AsyncConnection, tenant: str, import_id: UUID) -> Row[Any] | None:
    """The newest import that came after this one with the same bytes for the same dataset, and loads them.

    Returns:
        `dataset`, and `same` as JSON (`import_id`, `status`, `uploaded_at`).
    """
    found = await connection.execute(
        text("""
            SELECT u.dataset, jsonb_build_object('import_id', u.import_id, 'uploaded_at', u.uploaded_at,
                'status', coalesce(p.status, 'pending')) AS same
            FROM upload.imports mine
            JOIN upload.imports u USING (tenant, dataset, sha256)
            LEFT JOIN processor.imports_v1 p ON p.import_id = u.import_id
            WHERE mine.tenant = :tenant AND mine.import_id = :import_id AND u.uploaded_at > mine.uploaded_at
                AND NOT coalesce((mine.options ->> 'dry_run')::boolean, false)
                AND NOT coalesce((u.options ->> 'dry_run')::boolean, false)
                AND coalesce(p.status, 'pending') NOT IN ('failed', 'cancelled')
            ORDER BY u.uploaded_at DESC LIMIT 1
        """),
        {"tenant": tenant, "import_id": import_id},
    )
    return found.first()


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
