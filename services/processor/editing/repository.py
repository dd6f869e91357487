"""The SQL of edits. The records' columns come from the dataset's declaration, what they hold are parameters."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    JSON,
    ColumnElement,
    CursorResult,
    Text,
    cast,
    delete,
    func,
    literal,
    null,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.processor.editing.tables import edits, replies
from services.processor.editing.values import Written
from services.processor.merging.merge import TYPES
from services.processor.repository import load_key
from shared.contracts.datasets import Dataset
from shared.contracts.record_edits import EditLocks
from shared.contracts.record_etag import etag_sql
from shared.platform.database import advisory_key

REPLIES_KEPT = "1 hour"  # whoever asked waits for a minute at most
REPLIES_FORGOTTEN_AT_ONCE = 5_000
ROWS_SECONDS = 3.0  # to delete all, once begun, waits for rows: only single edits have any, for a moment


class Stored(NamedTuple):
    """A record as it is in its table: its entity tag, and the row as PostgreSQL's JSON."""

    etag: str
    row: str


async def begin(connection: AsyncConnection, edit_id: UUID, locks: EditLocks, *, seconds: float) -> bool:
    """Whether the edit is to be made: somebody waits for it, and no reply is there yet. `decide` makes sure of both.

    From now on the transaction ends with PostgreSQL's error 55P03 if it waits longer than `seconds` for a lock.
    """
    replied = select(replies.c.edit_id).where(replies.c.edit_id == edit_id).exists()
    free = func.pg_try_advisory_xact_lock_shared(advisory_key(locks.asked))
    return bool(await connection.scalar(select(~replied & ~free, _waiting_at_most(seconds))))


async def is_asked(connection: AsyncConnection, locks: EditLocks) -> bool:
    """Whether somebody waits for the reply; if not, nobody will."""
    free = func.pg_try_advisory_xact_lock_shared(advisory_key(locks.asked))
    return not await connection.scalar(select(free))


async def decide(connection: AsyncConnection, locks: EditLocks) -> None:
    """From now to its end this transaction alone decides what became of the edit."""
    await connection.execute(select(func.pg_advisory_xact_lock(advisory_key(locks.decided))))


async def find(connection: AsyncConnection, dataset: Dataset, tenant: str, key: str) -> Stored | None:
    """The record of that key, locked."""
    query = f"SELECT {_stored(dataset)} FROM data.{dataset.table} t WHERE tenant = :tenant AND key = :key FOR UPDATE"
    return _one(await connection.execute(text(query), {"tenant": tenant, "key": key}))


async def add(connection: AsyncConnection, dataset: Dataset, tenant: str, written: Written) -> Stored | None:
    """Make the record; None if its key is taken."""
    columns = ", ".join(written.columns)
    values = ", ".join(_value(dataset, name) for name in written.columns)
    statement = f"""
        INSERT INTO data.{dataset.table} AS t (tenant, key, {columns}) VALUES (:tenant, :key, {values})
        ON CONFLICT (tenant, key) DO NOTHING RETURNING {_stored(dataset)}
    """
    return _one(await connection.execute(text(statement), _parameters(tenant, written)))


async def change(
    connection: AsyncConnection, dataset: Dataset, tenant: str, written: Written
) -> Stored | None:
    """Give the record of that key, which is locked, its columns; None if it has them all already."""
    old = ", ".join(f"t.{name}" for name in written.columns)
    new = ", ".join(_value(dataset, name) for name in written.columns)
    changed = ", ".join(f"{name} = {_value(dataset, name)}" for name in written.columns)
    # No import is where its present values come from. The clock goes on within a transaction, and between two.
    statement = f"""
        UPDATE data.{dataset.table} AS t
        SET {changed}, import_id = NULL, row_number = NULL, updated_at = clock_timestamp()
        WHERE tenant = :tenant AND key = :key AND ROW({old}) IS DISTINCT FROM ROW({new})
        RETURNING {_stored(dataset)}
    """
    return _one(await connection.execute(text(statement), _parameters(tenant, written)))


async def remove(connection: AsyncConnection, dataset: Dataset, tenant: str, key: str) -> None:
    """Delete the record."""
    statement = text(f"DELETE FROM data.{dataset.table} WHERE tenant = :tenant AND key = :key")
    await connection.execute(statement, {"tenant": tenant, "key": key})


async def remove_all(connection: AsyncConnection, dataset: Dataset, tenant: str) -> int:
    """Delete all of the tenant's records, when no slice of an import is being loaded among them: how many there were."""
    await connection.execute(select(func.pg_advisory_xact_lock(load_key(tenant, dataset.table))))
    await connection.execute(select(_waiting_at_most(ROWS_SECONDS)))
    statement = text(f"DELETE FROM data.{dataset.table} WHERE tenant = :tenant")
    return (await connection.execute(statement, {"tenant": tenant})).rowcount


async def keep(connection: AsyncConnection, edit_id: UUID, *, before: str | None, **values: Any) -> None:
    """Keep what the edit has done; `before` is a row as PostgreSQL's JSON, `values` are the other columns."""
    await connection.execute(insert(edits).values(edit_id=edit_id, before=_json(before), **values))


async def reply(
    connection: AsyncConnection, edit_id: UUID, *, record: str | None = None, **values: Any
) -> bool:
    """Tell what became of the edit; `record` is a row as PostgreSQL's JSON. False: it has been told before."""
    told = insert(replies).values(edit_id=edit_id, record=_json(record), **values)
    return (await connection.execute(told.on_conflict_do_nothing())).rowcount > 0


async def forget_replies(connection: AsyncConnection) -> None:
    """Remove replies that nobody will read any more, at most REPLIES_FORGOTTEN_AT_ONCE."""
    over = (
        select(replies.c.edit_id)
        .where(replies.c.replied_at < func.now() - text(f"interval '{REPLIES_KEPT}'"))
        .limit(REPLIES_FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await connection.execute(delete(replies).where(replies.c.edit_id.in_(over)))


def _waiting_at_most(seconds: float) -> ColumnElement[str]:
    """What ends the transaction with 55P03 if it waits longer than that for a lock, from now on."""
    return func.set_config("lock_timeout", f"{int(seconds * 1000)}ms", True)


def _stored(dataset: Dataset) -> str:
    """What a statement on the row `t` answers, as `Stored` has it."""
    return f"{etag_sql(dataset, 't')} AS etag, to_json(t)::text AS stored"


def _one(result: CursorResult[Any]) -> Stored | None:
    row = result.one_or_none()
    return None if row is None else Stored(row.etag, row.stored)


def _value(dataset: Dataset, name: str) -> str:
    """The parameter of a column, which comes as text."""
    return f"CAST(CAST(:{name} AS text) AS {TYPES[dataset.field(name).type]})"


def _parameters(tenant: str, written: Written) -> dict[str, str | None]:
    return {"tenant": tenant, "key": written.key, **written.columns}


def _json(document: str | None) -> ColumnElement[Any]:
    return null() if document is None else cast(literal(document, Text), JSON)
