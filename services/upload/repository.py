"""The upload service's SQL."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.upload.tables import imports, processor_imports
from shared.contracts.events import ImportUploaded


async def add_import(
    connection: AsyncConnection, uploaded: ImportUploaded, *, tenant: str, uploaded_by: str
) -> None:
    """Record an import as it was received."""
    values: dict[str, Any] = uploaded.model_dump() | {"tenant": tenant, "uploaded_by": uploaded_by}
    await connection.execute(insert(imports).values(values))


@dataclass(frozen=True)
class State:
    """How an import stands with the processor."""

    status: str
    run: int
    error_code: str | None


async def find_state(connection: AsyncConnection, tenant: str, import_id: UUID) -> State | None:
    """The tenant's import; one that the processor has not taken on yet is pending."""
    theirs = processor_imports.c
    found = (
        select(
            func.coalesce(theirs.status, "pending").label("status"),
            func.coalesce(theirs.run, 1).label("run"),
            theirs.error_code,
        )
        .select_from(imports.outerjoin(processor_imports, theirs.import_id == imports.c.import_id))
        .where(imports.c.tenant == tenant, imports.c.import_id == import_id)
    )
    row = (await connection.execute(found)).one_or_none()
    return row and State(row.status, row.run, row.error_code)


async def has_import(connection: AsyncConnection, import_id: UUID) -> bool:
    """Whether the import was recorded."""
    return bool(await connection.scalar(select(exists().where(imports.c.import_id == import_id))))
