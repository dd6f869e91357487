"""Removing what says more of old imports than their counts do: row errors, error files, changes, edits. Never a receipt."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Interval, TextClause, Uuid, bindparam, delete, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.processor.editing.tables import edits
from services.processor.loading import drop_stage
from services.processor.tables import doomed_files, error_files, imports
from shared.platform.doomed_files import doom, remove_doomed
from shared.platform.objects import Objects
from shared.platform.retention import Rule, old_rows

STEP = 2000  # rows in a transaction
IMPORTS_A_STEP = 500
SETTING = "PENSTOCK_ERROR_RETENTION_DAYS"
# What goes, all of it with a column `import_id`. Counts by code and column stay: a receipt has them. So do the beginnings of
# slices: a few, which tell nothing, and by which a record is found as long as the file is kept.
DETAILS = ("row_errors", "duplicates", "refused_lines", "resent", "fixes")
# A change whose records are not found by their words yet is wanted for that.
CHANGES_WANTED = "NOT searched AND kind IN ('created', 'updated', 'repeated', 'deleted')"

_OLD = "details_kept AND status <> 'processing' AND finished_at < now() - :age"


def _aged(sql: str) -> TextClause:
    return text(sql).bindparams(bindparam("age", type_=Interval()))


_COUNT = _aged(f"SELECT count(*) FROM processor.imports WHERE {_OLD}")
_FIND = _aged(f"""
    SELECT import_id FROM processor.imports WHERE {_OLD} AND import_id > :after
    ORDER BY import_id LIMIT :step
""").bindparams(bindparam("after", type_=Uuid()))
# A failed one cannot be taken up again from here on, as its next rows would be all that its error file had. One that had no
# row errors has lost none.
_MARK = _aged(f"""
    UPDATE processor.imports SET errors_removed_at = coalesce(errors_removed_at, now())
    WHERE import_id = (SELECT import_id FROM processor.imports WHERE import_id = :import_id AND {_OLD} FOR UPDATE SKIP LOCKED)
    RETURNING import_id
""").bindparams(bindparam("import_id", type_=Uuid()))


def rules(engine: AsyncEngine, objects: Objects, days: int | None) -> tuple[Rule, ...]:
    """That details of imports and of edits go after `days`; None: they are kept."""

    async def count(age: timedelta) -> int:
        async with engine.connect() as connection:
            return int((await connection.execute(_COUNT, {"age": age})).scalar_one())

    async def forget(age: timedelta) -> int:
        return await _remove_details(engine, objects, age)

    async def finish() -> None:
        await remove_doomed(engine, objects, doomed_files)

    return (
        Rule("row errors and changes of imports", SETTING, days, count, forget, finish),
        old_rows(engine, edits, "edited_at", what="what edits changed", setting=SETTING, days=days),
    )


async def _remove_details(engine: AsyncEngine, objects: Objects, age: timedelta) -> int:
    """First say that they are gone; then have them gone, some thousand rows at a time. How many imports.

    Raises:
        StoreUnavailable: error files that are said to be gone are removed the next time.
    """
    removed, after = 0, UUID(int=0)
    while found := await _find(engine, age, after):
        for import_id in found:
            removed += await _remove(engine, import_id, age)
        await remove_doomed(engine, objects, doomed_files)
        after = found[-1]
    return removed


async def _find(engine: AsyncEngine, age: timedelta, after: UUID) -> list[UUID]:
    async with engine.connect() as connection:
        values = {"age": age, "after": after, "step": IMPORTS_A_STEP}
        return list(await connection.scalars(_FIND, values))


async def _remove(engine: AsyncEngine, import_id: UUID, age: timedelta) -> bool:
    """Whether it was done, to the end; if not, another process is at it, or some changes are wanted yet."""
    async with engine.begin() as connection:
        if await connection.scalar(_MARK, {"import_id": import_id, "age": age}) is None:
            return False
        files = (
            delete(error_files)
            .where(error_files.c.import_id == import_id)
            .returning(error_files.c.object_key)
        )
        await doom(connection, doomed_files, list(await connection.scalars(files)))
        await drop_stage(connection, import_id)
    for name in DETAILS:
        await _remove_rows(engine, name, import_id)
    await _remove_rows(engine, "changes", import_id, f"NOT ({CHANGES_WANTED})")
    async with engine.begin() as connection:
        if await _has_changes(connection, import_id):
            return False
        done = update(imports).where(imports.c.import_id == import_id).values(details_kept=False)
        await connection.execute(done)
    return True


async def _remove_rows(engine: AsyncEngine, name: str, import_id: UUID, condition: str = "true") -> None:
    step = text(f"""
        DELETE FROM processor.{name} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM processor.{name} WHERE import_id = :import_id AND {condition} LIMIT :step
        ))
    """).bindparams(bindparam("import_id", type_=Uuid()))
    number = STEP
    while number == STEP:
        async with engine.begin() as connection:
            number = (await connection.execute(step, {"import_id": import_id, "step": STEP})).rowcount


async def _has_changes(connection: AsyncConnection, import_id: UUID) -> bool:
    found = text("SELECT EXISTS (SELECT FROM processor.changes WHERE import_id = :import_id)")
    return bool(
        await connection.scalar(
            found.bindparams(bindparam("import_id", type_=Uuid())), {"import_id": import_id}
        )
    )
