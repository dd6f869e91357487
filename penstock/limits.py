"""Limits of tenants that are not the default, kept in the database of an installation."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.tokens import in_transaction


def own_limits(database_url: str) -> list[tuple[str, ...]]:
    """The tenants with limits of their own: name, uploads a minute, imports at once, largest file in bytes; `-`: default."""

    async def listed(connection: AsyncConnection) -> list[tuple[str, ...]]:
        rows = await connection.execute(
            text(
                "SELECT tenant, uploads_per_minute, imports_at_once, max_bytes"
                " FROM upload.tenant_limits ORDER BY tenant"
            )
        )
        return [tuple("-" if value is None else str(value) for value in row) for row in rows]

    return in_transaction(database_url, listed)


def set_own_limits(
    database_url: str,
    tenant: str,
    *,
    uploads_per_minute: int | None,
    imports_at_once: int | None,
    max_bytes: int | None,
) -> None:
    """Replace a tenant's limits; None: the default."""
    values = {
        "tenant": tenant,
        "uploads_per_minute": uploads_per_minute,
        "imports_at_once": imports_at_once,
        "max_bytes": max_bytes,
    }

    async def replace(connection: AsyncConnection) -> None:
        await connection.execute(
            text("DELETE FROM upload.tenant_limits WHERE tenant = :tenant"), {"tenant": tenant}
        )
        if any(value is not None for value in (uploads_per_minute, imports_at_once, max_bytes)):
            await connection.execute(
                text(
                    "INSERT INTO upload.tenant_limits"
                    " VALUES (:tenant, :uploads_per_minute, :imports_at_once, :max_bytes)"
                ),
                values,
            )

    in_transaction(database_url, replace)


def forget_uploads(database_url: str, tenant: str) -> None:
    """Let the uploads that a tenant has begun so far not count towards its uploads a minute."""

    async def forget(connection: AsyncConnection) -> None:
        await connection.execute(text("DELETE FROM upload.rates WHERE tenant = :tenant"), {"tenant": tenant})

    in_transaction(database_url, forget)
