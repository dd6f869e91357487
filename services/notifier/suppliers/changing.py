"""Suppliers are added, changed and removed. What is in quarantine of one that is added is released with it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.suppliers import repository
from services.notifier.suppliers.imports import Release
from services.notifier.suppliers.known import make_known
from services.notifier.suppliers.listing import Listing, read_listing
from services.notifier.suppliers.repository import AnyRow
from services.notifier.suppliers.resources import (
    AddedSupplier,
    ImportedSuppliers,
    NewSupplier,
)
from shared.contracts.problems import Conflict, NotFound, Problem, Unprocessable, UnsupportedMedia
from shared.platform.tenancy import tenant_writing
from shared.reading.errors import FileNotText, UnreadableFile

ERRORS_SHOWN = 1000


async def add(connection: AsyncConnection, tenant: str, new: NewSupplier, release: Release) -> AddedSupplier:
    """Add a supplier.

    Raises:
        Conflict: `supplier_exists`.
    """
    if not await make_known(connection, tenant, {new.id: new.name}, "api"):
        raise Conflict(
            "supplier_exists",
            f"there is a supplier {new.id!r} already",
            hint="change it with PATCH or PUT; suppliers are also added by the first file that is imported from them",
        )
    row = await change(connection, tenant, new.id, {"partner": new.partner, "enabled": new.enabled})
    released = await release(connection, tenant, [new.id])
    return AddedSupplier.model_validate({**row._mapping, "released": released})


async def change(
    connection: AsyncConnection, tenant: str, supplier_id: str, changes: Mapping[str, Any]
) -> AnyRow:
    """Change these columns.

    Raises:
        NotFound: `supplier_not_found`.
    """
    if changes:
        row = await repository.change_supplier(connection, tenant, supplier_id, changes)
    else:
        row = await repository.supplier(connection, tenant, supplier_id)
    if row is None:
        raise not_found(supplier_id)
    return row


async def import_listing(
    engine: AsyncEngine, tenant: str, file: bytes, release: Release, *, dry_run: bool
) -> ImportedSuppliers:
    """Add and change the suppliers that a CSV file lists; all that are right in one transaction.

    Raises:
        Unprocessable, UnsupportedMedia: the file cannot be read, with the codes of uploads.
    """
    try:
        listing = await asyncio.to_thread(read_listing, file)
    except UnreadableFile as error:
        raise _problem_of(error) from error
    rows = [new.model_dump(exclude_unset=True) for new in listing.suppliers.values()]
    async with tenant_writing(engine, tenant) as connection:
        created, updated = await repository.upsert_suppliers(connection, tenant, rows, added_by="file")
        released = await release(connection, tenant, created) if created else 0
        if dry_run:
            await connection.rollback()
    return _imported(listing, created, updated, released, dry_run=dry_run)


def _imported(
    listing: Listing, created: Sequence[str], updated: int, released: int, *, dry_run: bool
) -> ImportedSuppliers:
    return ImportedSuppliers(
        created=len(created),
        updated=updated,
        unchanged=len(listing.suppliers) - len(created) - updated,
        rejected=listing.rejected,
        released=released,
        errors=listing.errors[:ERRORS_SHOWN],
        dry_run=dry_run,
    )


def _problem_of(error: UnreadableFile) -> Problem:
    kind = UnsupportedMedia if isinstance(error, FileNotText) else Unprocessable
    return kind(error.code, error.message, hint=error.hint)


def not_found(supplier_id: str) -> NotFound:
    """The problem that the tenant has no such supplier."""
    return NotFound(
        "supplier_not_found",
        f"there is no supplier {supplier_id!r}",
        hint="write its id as `GET /api/v1/suppliers` does, with capitals and small letters; `POST` adds one",
    )
