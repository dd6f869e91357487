"""One step of indexing: some of the marked records of one tenant and dataset, as they are now, in one transaction.

Nothing else writes the tables of words, and steps for the same records exclude each other: a step reads the records
behind the lock, so none writes words that an earlier look has seen over those of a later one. What is written while a step
runs leaves a mark that the step does not see, and so does not take away.
"""

from collections.abc import Collection, Sequence
from itertools import chain
from typing import NamedTuple

from sqlalchemy import ARRAY, Text, TextClause, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.processor.merging.merge import CHANGES_A_ROW
from shared.contracts.datasets import Dataset, datasets
from shared.contracts.record_search import document_sql
from shared.platform.database import advisory_key

# Changes of imports taken in one step, each of up to CHANGES_A_ROW keys: about half a second.
CHANGES_AT_ONCE = 4
KEYS_AT_ONCE = CHANGES_AT_ONCE * CHANGES_A_ROW
MARKS_AT_ONCE = 1_000  # marks of edits, most of them of one key

# Each key is looked up by itself in an index, whatever the statistics of tables that have just grown are. OFFSET 0 in the
# statements keeps the planner from making joins of look-ups.
_PLAN = text("""
    SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
        set_config('enable_material', 'off', true), set_config('enable_seqscan', 'off', true)
""")

_WAITING = text("""
    SELECT tenant, dataset FROM processor.unsearched
    UNION
    SELECT i.tenant, c.dataset FROM processor.changes c JOIN processor.imports i USING (import_id)
    WHERE NOT c.searched AND c.kind IN ('created', 'updated', 'repeated', 'deleted')
""")

# Only a step changes these rows, under its lock: their place (ctid) stays.
_TAKE_CHANGES = text(f"""
    UPDATE processor.changes SET searched = true
    WHERE ctid = ANY (ARRAY(
        SELECT c.ctid FROM processor.changes c JOIN processor.imports i USING (import_id)
        WHERE NOT c.searched AND c.kind IN ('created', 'updated', 'repeated', 'deleted')
            AND i.tenant = :tenant AND c.dataset = :dataset
        LIMIT {CHANGES_AT_ONCE}
    ))
    RETURNING keys
""")

_TAKE_MARKS = text(f"""
    DELETE FROM processor.unsearched WHERE id IN (
        SELECT id FROM (
            SELECT id, sum(cardinality(keys)) OVER (ORDER BY id) - cardinality(keys) AS keys_before
            FROM processor.unsearched WHERE tenant = :tenant AND dataset = :dataset AND keys IS NOT NULL
            ORDER BY id LIMIT {MARKS_AT_ONCE}
        ) WHERE keys_before < {KEYS_AT_ONCE}
    )
    RETURNING keys
""")


class Part(NamedTuple):
    """What one step at a time works on."""

    tenant: str
    dataset: str


async def waiting(connection: AsyncConnection) -> Collection[Part]:
    """Where anything is marked."""
    return [Part(row.tenant, row.dataset) for row in await connection.execute(_WAITING)]


async def index_some(connection: AsyncConnection, part: Part) -> int:
    """Index some of the marked records; how many were looked at. 0: nothing is marked, or another step has the part."""
    lock = func.pg_try_advisory_xact_lock(advisory_key(f"penstock:search:{part.tenant}:{part.dataset}"))
    if not await connection.scalar(select(lock)):
        return 0
    keys = await _take(connection, part)
    dataset = datasets().get(part.dataset)
    if dataset is None or not dataset.search:
        return len(keys)
    await connection.execute(_PLAN)
    if not keys:
        return await _sweep_some(connection, part, dataset)
    given = {"tenant": part.tenant, "keys": keys}
    found = await connection.scalar(_with_keys(_write(dataset)), given)
    if found < len(keys):
        await connection.execute(_with_keys(_remove(dataset)), given)
    await connection.execute(text(f"SELECT gin_clean_pending_list('{_table(dataset)}_words')"))
    return len(keys)


def table_of(part: Part) -> str | None:
    """Where the words of the part's records are; None for a dataset that this version does not search."""
    dataset = datasets().get(part.dataset)
    return _table(dataset) if dataset is not None and dataset.search else None


async def _take(connection: AsyncConnection, part: Part) -> Sequence[str]:
    taken = [
        keys
        for statement in (_TAKE_MARKS, _TAKE_CHANGES)
        for keys in await connection.scalars(statement, part._asdict())
    ]
    return sorted(frozenset(chain.from_iterable(taken)))


def _table(dataset: Dataset) -> str:
    return f"data.{dataset.table}_search"


def _write(dataset: Dataset) -> str:
    """Bring the words of records up to date; answers how many of the records there are."""
    return f"""
        WITH found AS MATERIALIZED (
            SELECT t.key, {document_sql(dataset, "t")} AS words
            FROM unnest(:keys) AS wanted (key) CROSS JOIN LATERAL (
                SELECT * FROM data.{dataset.table} WHERE tenant = :tenant AND key = wanted.key OFFSET 0
            ) t
        ), written AS (
            INSERT INTO {_table(dataset)} AS s (tenant, key, words)
            SELECT :tenant, key, words FROM found
            ON CONFLICT (tenant, key) DO UPDATE SET words = excluded.words WHERE s.words <> excluded.words
        )
        SELECT count(*) FROM found
    """


def _remove(dataset: Dataset) -> str:
    """Take out the words of those records that are gone."""
    return f"""
        DELETE FROM {_table(dataset)} s
        WHERE s.tenant = :tenant AND s.key = ANY (:keys) AND {_is_gone(dataset)}
    """


def _is_gone(dataset: Dataset) -> str:
    return f"NOT EXISTS (SELECT FROM data.{dataset.table} WHERE tenant = s.tenant AND key = s.key OFFSET 0)"


_SWEEP_DUE = text("""
    SELECT id, swept_to FROM processor.unsearched
    WHERE tenant = :tenant AND dataset = :dataset AND swept_to IS NOT NULL ORDER BY id LIMIT 1
""")
_SWEPT_TO = text("UPDATE processor.unsearched SET swept_to = :last WHERE id = :id")
_SWEPT = text("DELETE FROM processor.unsearched WHERE id = :id")


async def _sweep_some(connection: AsyncConnection, part: Part, dataset: Dataset) -> int:
    due = (await connection.execute(_SWEEP_DUE, part._asdict())).one_or_none()
    if due is None:
        return 0
    looked_at = text(f"""
        SELECT max(key), count(*) FROM (
            SELECT key FROM {_table(dataset)} WHERE tenant = :tenant AND key > :swept_to ORDER BY key LIMIT {KEYS_AT_ONCE}
        )
    """)
    given = {"tenant": part.tenant, "swept_to": due.swept_to}
    last, count = (await connection.execute(looked_at, given)).one()
    if count:
        gone = text(f"""
            DELETE FROM {_table(dataset)} s
            WHERE s.tenant = :tenant AND s.key > :swept_to AND s.key <= :last AND {_is_gone(dataset)}
        """)
        await connection.execute(gone, given | {"last": last})
    if count < KEYS_AT_ONCE:
        await connection.execute(_SWEPT, {"id": due.id})
    else:
        await connection.execute(_SWEPT_TO, {"id": due.id, "last": last})
    return int(count) or 1


def _with_keys(sql: str) -> TextClause:
    return text(sql).bindparams(bindparam("keys", type_=ARRAY(Text)), bindparam("tenant", type_=Text))
