"""The verb of receipts: answer with the final balance of an import."""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.imports.queries import import_row
from services.results.imports.resources import ENDED
from services.results.receipts import repository
from shared.contracts.problems import NotFound


async def get_receipt(connection: AsyncConnection, tenant: str, import_id: UUID) -> dict[str, Any]:
    """The final balance of an import.

    Raises:
        NotFound: `import_not_found`; `receipt_not_ready` while it runs; `receipt_not_found` if it ended early.
    """
    row = await import_row(connection, tenant, import_id)
    document = await repository.find_receipt(connection, tenant, import_id)
    if document is not None:
        return document
    if row.status in ENDED:
        raise NotFound(
            "receipt_not_found",
            f"import {import_id} is {row.status} and has no receipt",
            hint="only an import that reached its file's end has one; the import's own counts say what was done",
        )
    raise NotFound(
        "receipt_not_ready",
        f"import {import_id} is {row.status}; its receipt is written when it completes",
        hint="ask again when the import's status is `completed`; its `events` link tells when that is",
    )
