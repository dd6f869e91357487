"""The upload service's SQL."""

from typing import Any
from uuid import UUID

from sqlalchemy import exists, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.upload.tables import imports
from shared.contracts.events import ImportUploaded


async def add_import(
    connection: AsyncConnection, uploaded: ImportUploaded, *, tenant: str, uploaded_by: str
) -> None:
    """Record an import as it was received."""
    values: dict[str, Any] = uploaded.model_dump() | {"tenant": tenant, "uploaded_by": uploaded_by}
    await connection.execute(insert(imports).values(values))


async def has_import(connection: AsyncConnection, import_id: UUID) -> bool:
    """Whether the import was recorded."""
    return bool(await connection.scalar(select(exists().where(imports.c.import_id == import_id))))
