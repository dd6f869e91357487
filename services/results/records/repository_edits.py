"""The SQL of edits: the locks of who asks, and the replies that the processor's view shows."""

import json
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.contracts.datasets import Dataset
from shared.contracts.record_edits import EditLocks
from shared.contracts.record_json import record_json_sql
from shared.platform.database import advisory_key


class Reply(NamedTuple):
    """What became of an edit.

    Attributes:
        key: Of the record that it left.
        shown: That record as the API shows it, as JSON.
        etag: Its entity tag.
        deleted: How many records it deleted, if it was to delete all.
        problem: Why nothing was done: a problem document.
    """

    key: str | None
    shown: str | None
    etag: str | None
    deleted: int | None
    problem: dict[str, Any] | None


async def ask(session: AsyncConnection, locks: EditLocks) -> None:
    """From now on, and as long as the session lasts, somebody waits for the edit."""
    await session.execute(select(func.pg_advisory_lock(advisory_key(locks.asked))))
    await session.commit()


async def leave(session: AsyncConnection, locks: EditLocks) -> bool:
    """Nobody waits any more. False: nobody did."""
    return bool(await session.scalar(select(func.pg_advisory_unlock(advisory_key(locks.asked)))))


async def has_left(session: AsyncConnection, locks: EditLocks) -> bool:
    """Whether nobody waits for the edit, as the session of whoever did has ended for the server, too."""
    return bool(
        await session.scalar(select(func.pg_try_advisory_xact_lock_shared(advisory_key(locks.asked))))
    )


async def decide(session: AsyncConnection, locks: EditLocks, *, seconds: float) -> None:
    """To the end of this transaction nobody else decides what becomes of the edit.

    Raises:
        DBAPIError: 55P03: a processor has been deciding for so many `seconds`.
    """
    await session.execute(select(func.set_config("lock_timeout", f"{int(seconds * 1000)}ms", True)))
    await session.execute(select(func.pg_advisory_xact_lock(advisory_key(locks.decided))))


async def find_reply(
    connection: AsyncConnection, tenant: str, dataset: Dataset, edit_id: UUID
) -> Reply | None:
    """The reply to an edit of one of the dataset's records, once it is there."""
    # The row as it was then, in the columns of the view: a record is shown as everywhere.
    query = text(f"""
        SELECT r.key, {record_json_sql(dataset, "r")} AS shown, x.etag, x.deleted, x.problem::text
        FROM processor.replies_v1 x
        LEFT JOIN LATERAL json_populate_record(NULL::data.{dataset.table}_v1, x.record) r ON x.record IS NOT NULL
        WHERE x.tenant = :tenant AND x.edit_id = :edit_id
    """)
    row = (await connection.execute(query, {"tenant": tenant, "edit_id": edit_id})).one_or_none()
    if row is None:
        return None
    problem = row.problem and json.loads(row.problem)
    return Reply(row.key, row.key and row.shown, row.etag, row.deleted, problem)
