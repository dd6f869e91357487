"""Limits of tenants that are not the default, kept in the database of an installation. For commands."""

from penstock.tokens import in_transaction
from services.upload import repository_admission as repository


def own_limits(database_url: str) -> list[tuple[str, ...]]:
    """The tenants with limits of their own: name, uploads a minute, imports at once, largest file in bytes; `-`: default."""
    rows = in_transaction(database_url, repository.list_limits)
    return [tuple("-" if value is None else str(value) for value in row) for row in rows]


def set_own_limits(
    database_url: str,
    tenant: str,
    *,
    uploads_per_minute: int | None,
    imports_at_once: int | None,
    max_bytes: int | None,
) -> None:
    """Replace a tenant's limits; None: the default."""
    in_transaction(
        database_url,
        lambda connection: repository.set_limits(
            connection,
            tenant,
            uploads_per_minute=uploads_per_minute,
            imports_at_once=imports_at_once,
            max_bytes=max_bytes,
        ),
    )


def forget_uploads(database_url: str, tenant: str) -> None:
    """Let the uploads that a tenant has begun so far not count towards its uploads a minute."""
    in_transaction(database_url, lambda connection: repository.forget_rate(connection, tenant))
