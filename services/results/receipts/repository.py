"""The SQL of receipts."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.tables import receipts


async def find_receipt(connection: AsyncConnection, tenant: str, import_id: UUID) -> dict[str, Any] | None:
    document: dict[str, Any] | None = await connection.scalar(
        select(receipts.c.document).where(receipts.c.tenant == tenant, receipts.c.import_id == import_id)
    )
    return document
