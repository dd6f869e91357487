"""The upload service's SQL."""

from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.upload.tables import imports
from shared.contracts.events import ImportUploaded


async def add_import(
    connection: AsyncConnection, uploaded: ImportUploaded, *, tenant: str, uploaded_by: str
) -> None:
    """Record an import as it was received."""
    values: dict[str, Any] = uploaded.model_dump() | {"tenant": tenant, "uploaded_by": uploaded_by}
    await connection.execute(insert(imports).values(values))
