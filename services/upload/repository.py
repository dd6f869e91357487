"""The upload service's SQL."""

from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.upload.tables import imports, intakes, open_imports
from shared.contracts.events import ImportUploaded


async def add_import(
    connection: AsyncConnection,
    uploaded: ImportUploaded,
    *,
    tenant: str,
    uploaded_by: str,
    forced: bool,
    owner: int,
) -> bool:
    """Record an import as it was received: as open, and no more as `owner`'s upload in progress.

    False: the upload in progress is not `owner`'s any more, and the transaction must not be committed.
    """
    values: dict[str, Any] = uploaded.model_dump() | {
        "tenant": tenant,
        "uploaded_by": uploaded_by,
        "forced": forced,
    }
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
