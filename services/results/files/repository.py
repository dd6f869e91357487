"""The SQL of files: where they are in the store, how far they are read, and where their slices began."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.tables import AnyRow, reading, slice_starts, stored_files, uploaded_imports


async def find_file(connection: AsyncConnection, tenant: str, import_id: UUID) -> AnyRow | None:
    """What upload found in the file, and where that is in the store."""
    found = (
        select(uploaded_imports, stored_files.c.object_key)
        .join(stored_files, stored_files.c.import_id == uploaded_imports.c.import_id)
        .where(
            uploaded_imports.c.tenant == tenant,
            uploaded_imports.c.import_id == import_id,
            stored_files.c.tenant == tenant,
        )
    )
    return (await connection.execute(found)).one_or_none()


async def find_reading(connection: AsyncConnection, tenant: str, import_id: UUID) -> AnyRow | None:
    """How far the file is read; None before it has begun."""
    found = select(reading).where(reading.c.tenant == tenant, reading.c.import_id == import_id)
    return (await connection.execute(found)).one_or_none()


async def find_slice_start(
    connection: AsyncConnection, tenant: str, import_id: UUID, row_number: int
) -> AnyRow | None:
    """The last known beginning of a slice that is not behind record `row_number`; None: the file's own."""
    found = (
        select(slice_starts)
        .where(
            slice_starts.c.tenant == tenant,
            slice_starts.c.import_id == import_id,
            slice_starts.c.record_number < row_number,
        )
        .order_by(slice_starts.c.record_number.desc())
        .limit(1)
    )
    return (await connection.execute(found)).one_or_none()
