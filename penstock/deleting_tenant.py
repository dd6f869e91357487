"""`penstock tenant delete`: all that there is of a tenant, in steps, of all services; what is left of a broken-off run the next one does."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from penstock.tenant_data import Holding, count, holdings, values_for
from services.processor.tables import doomed_files as doomed_error_files
from services.upload.tables import doomed_files
from shared.platform.database import async_url
from shared.platform.doomed_files import remove_doomed
from shared.platform.objects import Objects

STEP = 5000  # rows in a transaction
PASSES = 5  # an event that was on its way may bring a row back
PAUSE_SECONDS = 1.0
FIRST = ("auth.sessions", "auth.api_keys")  # so that nobody comes in any more
FILES_AT_ONCE = 8
# Their rows refer to each other.
_SELF = {
    "notifier.investigations": "NOT EXISTS (SELECT FROM notifier.investigations o WHERE o.merged_into = t.id)"
}
_KEYED = ("upload.tus_parts", "processor.error_files", "upload.intakes", "upload.imports")  # have files

_OPEN = {
    "imports that have not ended": """
        SELECT count(*) FROM upload.imports u LEFT JOIN processor.imports p USING (import_id)
            LEFT JOIN upload.open_imports o USING (import_id)
        WHERE u.tenant = :tenant AND (coalesce(p.status, 'processing') = 'processing' OR o.run > p.run)
    """,
    "uploads that are coming in": "SELECT count(*) FROM upload.intakes WHERE tenant = :tenant",
    "resumable uploads that are being checked": """
        SELECT count(*) FROM upload.tus_uploads WHERE tenant = :tenant AND state = 'checking'
    """,
}
_STAGES = text("""
    SELECT import_id FROM processor.imports
    WHERE tenant = :tenant AND to_regclass('processor.stage_' || replace(import_id::text, '-', '')) IS NOT NULL
""")


class StillOpen(ValueError):
    """Something of the tenant is under way; nothing was deleted."""


@dataclass(frozen=True)
class Deleted:
    """How much went: rows by table, and files."""

    rows: dict[str, int]
    files: int


def delete_tenant(database_url: str, store_url: str, tenant: str, tell: Callable[[str], None]) -> Deleted:
    """Delete all that there is of the tenant; `tell` hears of each table that is done.

    Raises:
        StillOpen: an import has not ended, or something else is under way.
        TableUnknown: there is a table that this version knows nothing of.
        StoreUnavailable: the store does not answer; what is left the next run deletes.
    """

    async def run() -> Deleted:
        engine = create_async_engine(async_url(database_url), poolclass=NullPool, hide_parameters=True)
        try:
            return await _delete(engine, Objects(store_url), tenant, tell)
        finally:
            await engine.dispose()

    return asyncio.run(run())


async def _delete(engine: AsyncEngine, objects: Objects, tenant: str, tell: Callable[[str], None]) -> Deleted:
    async with engine.connect() as connection:
        await _check_ended(connection, tenant)
        known = await holdings(connection)
    ordered = sorted(known, key=lambda each: each.table not in FIRST)
    rows: dict[str, int] = {}
    files = 0
    for doomed in (doomed_files, doomed_error_files):  # some may be theirs, and nobody else knows of them
        await remove_doomed(engine, objects, doomed)
    for _ in range(PASSES):
        removed = 0
        await _drop_stages(engine, tenant)
        for holding in ordered:
            if holding.table in _KEYED:
                files += await _remove_files(engine, objects, holding, tenant)
            number = await _remove_rows(engine, holding, tenant)
            if number:
                tell(f"{holding.table}: {number:,}")
            rows[holding.table] = rows.get(holding.table, 0) + number
            removed += number
        if not removed:
            break
        await asyncio.sleep(PAUSE_SECONDS)
    else:
        tell("rows still come in; run it again")
    return Deleted({table: number for table, number in sorted(rows.items()) if number}, files)


async def left(connection: AsyncConnection, tenant: str) -> dict[str, int]:
    """How many rows of the tenant there are, by table; those that have none are not there."""
    counted = {each.table: await count(connection, each, tenant) for each in await holdings(connection)}
    return {table: number for table, number in counted.items() if number}


async def _check_ended(connection: AsyncConnection, tenant: str) -> None:
    found = []
    for what, sql in _OPEN.items():
        number = (await connection.execute(text(sql), {"tenant": tenant})).scalar_one()
        if number:
            found.append(f"{number} {what}")
    if found:
        raise StillOpen(
            f"tenant {tenant} has {', '.join(found)}, so nothing was deleted;"
            " cancel them (`penstock cancel ID`) or wait for their end"
        )


async def _drop_stages(engine: AsyncEngine, tenant: str) -> None:
    async with engine.begin() as connection:
        staged: Sequence[UUID] = (await connection.scalars(_STAGES, {"tenant": tenant})).all()
        for import_id in staged:
            await connection.execute(text(f"DROP TABLE IF EXISTS processor.stage_{import_id.hex}"))


async def _remove_files(engine: AsyncEngine, objects: Objects, holding: Holding, tenant: str) -> int:
    """Before their rows, so that none is left which nobody knows of."""
    async with engine.connect() as connection:
        wanted = text(f"SELECT object_key FROM {holding.table} WHERE {holding.condition}")
        keys = list(await connection.scalars(wanted, values_for(holding, tenant)))
    for start in range(0, len(keys), FILES_AT_ONCE):
        await asyncio.gather(*map(objects.discard, keys[start : start + FILES_AT_ONCE]))
    return len(keys)


async def _remove_rows(engine: AsyncEngine, holding: Holding, tenant: str) -> int:
    removed = number = await _remove_once(engine, holding, tenant)
    while number and holding.table in _SELF:
        number = await _remove_once(engine, holding, tenant)
        removed += number
    return removed


async def _remove_once(engine: AsyncEngine, holding: Holding, tenant: str) -> int:
    """The table is read once from its beginning to its end, for not every one has an index that finds a tenant's rows."""
    table, condition, values = holding.table, holding.condition, values_for(holding, tenant)
    more = f" AND {_SELF[table]}" if table in _SELF else ""
    found = text(f"SELECT t.ctid FROM {table} t WHERE {condition}{more}")
    # By now there may be another row in the place.
    step = text(f"DELETE FROM {table} WHERE ctid = ANY (CAST(:places AS tid[])) AND {condition}")
    removed = 0
    async with (
        engine.connect() as reading,
        reading.stream(found, values, execution_options={"yield_per": STEP}) as rows,
    ):
        async for places in rows.scalars().partitions():
            async with engine.begin() as connection:
                removed += (await connection.execute(step, values | {"places": list(places)})).rowcount
    return removed
