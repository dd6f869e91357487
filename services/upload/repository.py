"""The upload service's SQL."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.upload.tables import imports, intakes, open_imports, processor_imports
from shared.contracts.events import ImportUploaded


async def add_import(
    connection: AsyncConnection, uploaded: ImportUploaded, *, tenant: str, uploaded_by: str, owner: int
) -> bool:
    """Record an import as it was received: as open, and no more as `owner`'s upload in progress.

    False: the upload in progress is not `owner`'s any more, and the transaction must not be committed.
    """
    values: dict[str, Any] = uploaded.model_dump() | {"tenant": tenant, "uploaded_by": uploaded_by}
    added = insert(imports).values(values).returning(imports.c.import_id).cte("added")
    row = {"import_id": uploaded.import_id, "tenant": tenant, "rows_detected": uploaded.rows_detected}
    opened = insert(open_imports).values(row).returning(open_imports.c.import_id).cte("opened")
    ended = (
        delete(intakes)
        .where(intakes.c.import_id == uploaded.import_id, intakes.c.owner == owner)
        .returning(intakes.c.import_id)
        .cte("ended")
    )
    was_ours = select(func.count()).select_from(ended).add_cte(added, opened)
    return bool(await connection.scalar(was_ours))


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
