"""Removing the files of imports that ended long ago. What they were, and what became of them, stays."""

from collections import defaultdict
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Interval, Text, TextClause, bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.upload import repository_admission as noted
from services.upload.tables import doomed_files
from shared.platform.doomed_files import doom, remove_doomed
from shared.platform.objects import Objects
from shared.platform.retention import Rule

STEP = 500  # imports looked for at a time
SETTING = "PENSTOCK_FILE_RETENTION_DAYS"

# One that was told to go on, and of which the processor has not heard yet, has not ended. By the time of the upload first,
# for which there is an index: none has ended before it came.
_ENDED = """
    u.file_removed_at IS NULL AND u.uploaded_at < now() - :age
        AND p.status <> 'processing' AND p.finished_at < now() - :age
        AND NOT EXISTS (SELECT FROM upload.open_imports o WHERE o.import_id = u.import_id AND o.run > p.run)
"""
_JOINED = "upload.imports u JOIN processor.imports_v1 p USING (import_id)"


def _aged(sql: str) -> TextClause:
    return text(sql).bindparams(bindparam("age", type_=Interval()))


_COUNT = _aged(f"SELECT count(*) FROM {_JOINED} WHERE {_ENDED}")
_FIND = _aged(
    f"SELECT u.tenant, u.import_id FROM {_JOINED} WHERE {_ENDED} ORDER BY u.uploaded_at LIMIT :step"
)
_MARK = _aged(f"""
    UPDATE upload.imports u SET file_removed_at = now()
    FROM processor.imports_v1 p
    WHERE p.import_id = u.import_id AND u.tenant = :tenant AND u.import_id = ANY(:import_ids) AND {_ENDED}
    RETURNING u.object_key
""").bindparams(bindparam("tenant", type_=Text()))


def files_rule(engine: AsyncEngine, objects: Objects, days: int | None) -> Rule:
    """That files go `days` after their import has ended; None: they are kept."""

    async def count(age: timedelta) -> int:
        async with engine.connect() as connection:
            return int((await connection.execute(_COUNT, {"age": age})).scalar_one())

    async def forget(age: timedelta) -> int:
        return await _remove_files(engine, objects, age)

    async def finish() -> None:
        await remove_doomed(engine, objects, doomed_files)

    return Rule("files of imports", SETTING, days, count, forget, finish)


async def _remove_files(engine: AsyncEngine, objects: Objects, age: timedelta) -> int:
    """Say that they are gone, and then have them gone: nobody is to find half a file.

    Raises:
        StoreUnavailable: what is said to be gone is removed the next time.
    """
    removed = 0
    while found := await _find(engine, age):
        marked = 0
        for tenant, import_ids in found.items():
            marked += await _mark(engine, tenant, import_ids, age)
        await remove_doomed(engine, objects, doomed_files)
        removed += marked
        if not marked:  # all of them are being taken up again, or another process was faster
            break
    return removed


async def _find(engine: AsyncEngine, age: timedelta) -> dict[str, list[UUID]]:
    found: dict[str, list[UUID]] = defaultdict(list)
    async with engine.connect() as connection:
        for tenant, import_id in await connection.execute(_FIND, {"age": age, "step": STEP}):
            found[tenant].append(import_id)
    return found


async def _mark(engine: AsyncEngine, tenant: str, import_ids: list[UUID], age: timedelta) -> int:
    async with engine.begin() as connection:
        await noted.lock_tenant(connection, tenant)  # a retry that finds the file there keeps it
        values = {"tenant": tenant, "import_ids": import_ids, "age": age}
        keys = list(await connection.scalars(_MARK, values))
        await doom(connection, doomed_files, keys)
    return len(keys)
