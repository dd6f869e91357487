"""The first record stays, and one that comes again is no error: a distinct list."""

from collections.abc import Mapping

from services.processor.merging.merge import Merge, brought, changes_from, of, stage_of, stored
from services.processor.merging.steps import STEPS
from shared.contracts.datasets import Dataset


def ignore(dataset: Dataset, columns: Mapping[str, int], stage: str) -> Merge:
    """The statements for a dataset with `on_duplicate: ignore`."""
    fields = brought(dataset, columns)
    step = STEPS[dataset.step]
    load = _load(dataset, stored(dataset, fields), stage)
    return Merge(
        stage=stage_of(dataset, fields),
        judge=f"WITH {_first(dataset, stage)} SELECT {_counts('first', stage)}",
        load=load,
        load_distinct=load,
        steps=tuple(statement.format(stage=stage) for statement in step.statements),
        tables=(dataset.table, *step.tables),
    )


def _key(dataset: Dataset, alias: str) -> str:
    """The key in the table: where it is unique within one import only, the import's id goes before it."""
    return (
        f"{alias}.key"
        if dataset.key_scope == "tenant"
        else f"CAST(:import_id AS uuid) || E'\\x1f' || {alias}.key"
    )


def _first(dataset: Dataset, stage: str) -> str:
    return f"""
        first AS (
            SELECT DISTINCT ON (s.key) s.* FROM {stage} s
            WHERE NOT EXISTS (
                SELECT FROM data.{dataset.table} t WHERE t.tenant = :tenant AND t.key = {_key(dataset, "s")}
            )
            ORDER BY s.key, s.row_number
        )"""


def _counts(loaded: str, stage: str) -> str:
    return f"""
        (SELECT count(*) FROM {loaded}) AS inserted, 0 AS updated, 0 AS unchanged,
        (SELECT count(*) FROM {stage}) - (SELECT count(*) FROM {loaded}) AS duplicate"""


def _load(dataset: Dataset, columns: list[str], stage: str) -> str:
    step = STEPS[dataset.step]
    computed = list(step.computed)
    values = ", ".join([of("first", columns), *step.computed.values()])
    return f"""
        WITH {_first(dataset, stage)}, inserted AS (
            INSERT INTO data.{dataset.table} (tenant, key, {", ".join(columns + computed)}, import_id, row_number)
            SELECT :tenant, {_key(dataset, "first")}, {values}, :import_id, first.row_number
            FROM first {step.source}
            RETURNING row_number, key
        ), created AS ({changes_from("inserted", dataset.name, "'created'")})
        SELECT {_counts("inserted", stage)}
    """
