"""Imports that the processor has not taken on: their event is on its way, or lost with a broker. For commands."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.upload.tables import imports
from shared.contracts.events import AnyEvent, ImportUploaded, event_of

_UNTAKEN = text("""
    SELECT u.import_id, u.tenant, u.dataset, u.file_name, EXTRACT(epoch FROM now() - u.uploaded_at)::float8 AS still_seconds
    FROM upload.imports u LEFT JOIN processor.imports_v1 p USING (import_id)
    WHERE p.import_id IS NULL AND u.uploaded_at <= now() - make_interval(secs => :seconds)
    ORDER BY u.uploaded_at, u.import_id
""")


async def untaken(connection: AsyncConnection, seconds: float) -> Sequence[Row[Any]]:
    """Those that came in so long ago, the longest ago first: what they are, and `still_seconds`."""
    return (await connection.execute(_UNTAKEN, {"seconds": seconds})).all()


async def uploaded_again(connection: AsyncConnection, import_id: UUID) -> AnyEvent | None:
    """The event that the import came in, made anew; None: there is no such import."""
    found = await connection.execute(select(imports).where(imports.c.import_id == import_id))
    row = found.mappings().one_or_none()
    if row is None:
        return None
    facts = {name: row[name] for name in ImportUploaded.model_fields if name in row}
    uploaded = ImportUploaded.model_validate(facts)
    return event_of(uploaded, tenant=row["tenant"], subject=import_id, service="upload")
