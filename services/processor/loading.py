"""What one transaction does with checked records: copies them straight in, merges them, or keeps them for the end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Integer, Row, Text, TextClause, Uuid, bindparam, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.processor.copying import copy
from services.processor.corrections import forget_sent
from services.processor.merging import Merge
from services.processor.merging.merge import CHANGES_A_ROW, ORIGIN
from services.processor.reasons import UNIQUE_VIOLATION, sqlstate_of
from services.processor.repository import Work, lock_tables
from services.processor.staging import Staged
from services.processor.tables import changes
from shared.contracts.datasets import Dataset

KEYS_SAMPLED = 100  # of a slice, to guess whether all its keys are new

# A slice is small beside the table: look each key up, in the order of the index. A plan from statistics that are
# minutes old or not there yet, as those of a growing table are, may read the whole table for every slice instead, or
# keep what it takes for a tenant's few records in memory and go through all of them for every key.
_PLAN_FOR_SLICE = """
    SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
        set_config('enable_material', 'off', true)
"""
_WORK_MEM = "SET LOCAL work_mem = '64MB'"  # a slice's sort and its returned rows stay in memory


@dataclass(frozen=True)
class Loaded:
    """What became of the staged records; the counts add up to their number.

    Attributes:
        beside: How many records of other datasets were changed by what follows from it: by dataset, and kind of change.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicate: int = 0
    beside: Mapping[str, Counter[str]] = field(default_factory=dict)


class Loader:
    """Loads the slices of one import, one at a time.

    It remembers whether the last slice's keys were all new. Copying straight into the table, which takes half the
    time, is tried only then; a key that is there after all costs that attempt.
    """

    def __init__(self, dataset: Dataset, merge: Merge) -> None:
        self._dataset = dataset
        self._merge = merge
        self._all_new: bool | None = None  # not known yet

    async def load(self, connection: AsyncConnection, work: Work, staged: Staged) -> Loaded:
        """Load a slice."""
        await lock_tables(connection, work, self._merge.tables)
        if not len(staged):
            return Loaded()
        if await self._may_be_copied(connection, work, staged) and await self._copied(
            connection, work, staged
        ):
            return Loaded(inserted=len(staged))
        loaded = await self._merged(connection, work, staged)
        self._all_new = loaded.inserted == len(staged)
        return loaded

    async def _may_be_copied(self, connection: AsyncConnection, work: Work, staged: Staged) -> bool:
        if self._dataset.step or self._dataset.on_duplicate == "ignore" or not staged.has_distinct_keys:
            return False
        if self._all_new is None:
            self._all_new = not await self._any_known(connection, work, staged.keys)
        return self._all_new

    async def _any_known(self, connection: AsyncConnection, work: Work, keys: Sequence[str]) -> bool:
        sample = keys[:: len(keys) // KEYS_SAMPLED + 1]
        known = text(
            f"SELECT EXISTS (SELECT FROM data.{self._dataset.table} WHERE tenant = :tenant AND key = ANY(:keys))"
        ).bindparams(bindparam("keys", type_=ARRAY(Text)))
        return bool(await connection.scalar(known, {"tenant": work.tenant, "keys": sample}))

    async def _copied(self, connection: AsyncConnection, work: Work, staged: Staged) -> bool:
        columns = ["tenant", *(name for name in self._merge.stage if name not in ORIGIN), "import_id"]
        rows = staged.for_table(work.tenant, str(work.import_id))
        try:
            async with connection.begin_nested():
                await copy(connection, f"data.{self._dataset.table}", columns, rows)
        except Exception as error:
            if sqlstate_of(error) != UNIQUE_VIOLATION:
                raise
            self._all_new = False
            return False
        await self._keep(connection, work, "created", staged.numbers, staged.keys)
        return True

    async def _merged(self, connection: AsyncConnection, work: Work, staged: Staged) -> Loaded:
        await connection.execute(text(_PLAN_FOR_SLICE))
        await connection.execute(text(_WORK_MEM))
        columns = ", ".join(f"{name} {kind}" for name, kind in self._merge.stage.items())
        await connection.execute(text(f"CREATE TEMP TABLE stage ({columns}) ON COMMIT DROP"))
        await copy(connection, "stage", list(self._merge.stage), staged.for_stage())
        distinct = staged.has_distinct_keys
        done = await _counted(connection, work, self._merge.load_distinct if distinct else self._merge.load)
        beside = await _do_steps(connection, work, self._merge)
        if distinct and done.unchanged:
            await self._keep_unchanged(connection, work, staged, done.written)
        return replace(_loaded(done), beside=beside)

    async def _keep_unchanged(
        self, connection: AsyncConnection, work: Work, staged: Staged, written: Sequence[int] | None
    ) -> None:
        if written is None:
            await self._keep(connection, work, "unchanged", staged.numbers, staged.keys)
            return
        touched = frozenset(written)
        left = [
            (number, key)
            for number, key in zip(staged.numbers, staged.keys, strict=True)
            if number not in touched
        ]
        await self._keep(
            connection, work, "unchanged", [number for number, _ in left], [key for _, key in left]
        )

    async def _keep(
        self, connection: AsyncConnection, work: Work, kind: str, numbers: Sequence[int], keys: Sequence[str]
    ) -> None:
        same = {"import_id": work.import_id, "dataset": self._dataset.name, "slice": work.slice, "kind": kind}
        parts = [
            same | {"first_row": numbers[start], "row_numbers": numbers[start:stop], "keys": keys[start:stop]}
            for start, stop in pairwise(range(0, len(numbers) + CHANGES_A_ROW, CHANGES_A_ROW))
        ]
        if parts:
            await connection.execute(insert(changes), parts)


def stage_of_import(import_id: UUID) -> str:
    """The table that holds an import's records until all are loaded at once."""
    return f"processor.stage_{import_id.hex}"


async def keep_for_the_end(connection: AsyncConnection, work: Work, merge: Merge, staged: Staged) -> None:
    """Put a slice's records into the import's own stage."""
    table = stage_of_import(work.import_id)
    columns = ", ".join(f"{name} {kind}" for name, kind in merge.stage.items())
    await connection.execute(
        text(f"CREATE TABLE IF NOT EXISTS {table} ({columns}) WITH (autovacuum_enabled = off)")
    )
    await copy(connection, table, list(merge.stage), staged.for_stage())


async def load_all_at_once(connection: AsyncConnection, work: Work, merge: Merge, *, dry_run: bool) -> Loaded:
    """Load everything the import's stage holds, or in a dry run, count what that would do."""
    await connection.execute(text(_WORK_MEM))
    await connection.execute(text(f"ANALYZE {stage_of_import(work.import_id)}"))
    if dry_run:
        return _loaded(await _counted(connection, work, merge.judge))
    await lock_tables(connection, work, merge.tables)
    done = await _counted(connection, work, merge.load)
    return replace(_loaded(done), beside=await _do_steps(connection, work, merge))


async def drop_stage(connection: AsyncConnection, import_id: UUID) -> None:
    """Remove the import's own stage, if it has one, and what is kept of the lines that its records correct."""
    await forget_sent(connection, import_id)
    await connection.execute(text(f"DROP TABLE IF EXISTS {stage_of_import(import_id)}"))


async def _do_steps(connection: AsyncConnection, work: Work, merge: Merge) -> dict[str, Counter[str]]:
    """Do what follows from the load; `Loaded.beside`."""
    beside: dict[str, Counter[str]] = {}
    for step in merge.steps:
        done = await connection.execute(statement(step), parameters(work))
        for changed in done if done.returns_rows else ():
            beside.setdefault(changed.dataset, Counter())[changed.kind] += changed.records
    return beside


async def _counted(connection: AsyncConnection, work: Work, sql: str) -> Row[Any]:
    return (await connection.execute(statement(sql), parameters(work))).one()


def _loaded(row: Row[Any]) -> Loaded:
    return Loaded(row.inserted, row.updated, row.unchanged, row.duplicate)


def statement(sql: str) -> TextClause:
    """A statement with those of the parameters of `Merge` that it has, typed."""
    types = {"import_id": Uuid, "slice": Integer, "tenant": Text}
    return text(sql).bindparams(
        *(bindparam(name, type_=kind) for name, kind in types.items() if f":{name}" in sql)
    )


def parameters(work: Work) -> dict[str, Any]:
    """The parameters of `Merge`."""
    return {"tenant": work.tenant, "import_id": work.import_id, "slice": work.slice}
