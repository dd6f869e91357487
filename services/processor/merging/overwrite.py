"""A later record wins: it changes the row that has its key."""

from collections.abc import Mapping

from services.processor.merging.merge import (
    Merge,
    brought,
    changes_from,
    columns_before,
    of,
    stage_of,
    stored,
)
from services.processor.merging.steps import STEPS
from shared.contracts.datasets import Dataset

OURS = "coalesce(t.import_id = :import_id, false)"


def overwrite(dataset: Dataset, columns: Mapping[str, int], stage: str) -> Merge:
    """The statements for a dataset with `on_duplicate: overwrite`. A column that the file lacks stays as it is."""
    fields = brought(dataset, columns)
    step = STEPS[dataset.step]
    written = stored(dataset, fields)
    return Merge(
        stage=stage_of(dataset, fields),
        judge=f"{_ranked(dataset, written, stage)} SELECT {_COUNTS} FROM ranked",
        load=_load(dataset, written, stage),
        load_distinct=_load_distinct(dataset, written, stage),
        steps=tuple(statement.format(stage=stage) for statement in step.statements),
        tables=(dataset.table, *step.tables),
    )


def _ranked(dataset: Dataset, columns: list[str], stage: str) -> str:
    return f"""
        WITH judged AS (
            SELECT s.*, t.key IS NULL AS absent, {OURS} AS ours,
                t.key IS NULL OR ({of("s", columns)}) IS DISTINCT FROM ({of("t", columns)}) AS differs
            FROM {stage} s LEFT JOIN data.{dataset.table} t ON t.tenant = :tenant AND t.key = s.key
        ), ranked AS (
            SELECT *, min(row_number) FILTER (WHERE differs) OVER same_key AS first_change,
                row_number = max(row_number) OVER same_key AS is_last
            FROM judged WINDOW same_key AS (PARTITION BY key)
        )"""


# Of `judged`: what loading would do. What it then does may be something else, as a single edit may change a row that is
# judged but not locked; so a load counts what it did, and all but that and what is unchanged is a duplicate.
_COUNTS = """
    count(*) FILTER (WHERE NOT ours AND row_number = first_change AND absent) AS inserted,
    count(*) FILTER (WHERE NOT ours AND row_number = first_change AND NOT absent) AS updated,
    count(*) FILTER (WHERE NOT ours AND row_number < coalesce(first_change, row_number + 1)) AS unchanged,
    count(*) FILTER (WHERE ours OR row_number > first_change) AS duplicate"""


def _load(dataset: Dataset, columns: list[str], stage: str) -> str:
    source = "(SELECT * FROM ranked WHERE is_last AND (ours OR first_change IS NOT NULL) ORDER BY key)"
    same = "ranked WHERE NOT ours AND row_number < coalesce(first_change, row_number + 1)"
    return f"""
        {_ranked(dataset, columns, stage)},
        {_merged(dataset, columns, source, "WHEN MATCHED THEN")},
        unchanged AS ({changes_from(same, dataset.name, "'unchanged'")}),
        counted AS (
            SELECT count(*) FILTER (WHERE action = 'INSERT') AS inserted,
                count(*) FILTER (WHERE action = 'UPDATE' AND NOT ours) AS updated
            FROM merged
        ), same AS (SELECT count(*) AS unchanged FROM {same}),
        staged AS (SELECT count(*) AS records FROM {stage})
        SELECT inserted, updated, unchanged, records - inserted - updated - unchanged AS duplicate
        FROM counted, same, staged
    """


def _load_distinct(dataset: Dataset, columns: list[str], stage: str) -> str:
    matched = (
        f"""WHEN MATCHED AND ({OURS} OR ({of("s", columns)}) IS DISTINCT FROM ({of("t", columns)})) THEN"""
    )
    return f"""
        WITH {_merged(dataset, columns, stage, matched)}, counted AS (
            SELECT count(*) FILTER (WHERE action = 'INSERT') AS inserted,
                count(*) FILTER (WHERE action = 'UPDATE' AND NOT ours) AS updated,
                count(*) FILTER (WHERE action = 'UPDATE' AND ours) AS duplicate,
                count(*) AS merged, array_agg(row_number) AS written
            FROM merged
        ), staged AS (SELECT count(*) AS records FROM {stage})
        SELECT inserted, updated, records - merged AS unchanged, duplicate,
            CASE WHEN merged < records THEN written END AS written
        FROM counted, staged
    """


def _merged(dataset: Dataset, columns: list[str], source: str, matched: str) -> str:
    """The MERGE, and what it changed kept.

    A row that this import had written before has its first change kept already: what is kept is that it now holds
    something else, for those who were told of it meanwhile.
    """
    old = ", ".join(f"old.{name} AS old_{name}" for name in columns)
    differs = f"({of('old', columns)}) IS DISTINCT FROM ({of('new', columns)})"
    created = changes_from("merged WHERE action = 'INSERT'", dataset.name, "'created'")
    updated = changes_from(
        "merged WHERE action = 'UPDATE' AND NOT ours", dataset.name, "'updated'", columns_before(columns)
    )
    repeated = changes_from("merged WHERE repeated", dataset.name, "'repeated'")
    return f"""
        merged AS (
            MERGE INTO data.{dataset.table} t USING {source} s ON t.tenant = :tenant AND t.key = s.key
            {matched} UPDATE SET {", ".join(f"{name} = s.{name}" for name in columns)},
                import_id = :import_id, row_number = s.row_number, updated_at = now()
            WHEN NOT MATCHED THEN INSERT (tenant, key, {", ".join(columns)}, import_id, row_number)
                VALUES (:tenant, s.key, {of("s", columns)}, :import_id, s.row_number)
            RETURNING merge_action() AS action, s.row_number, s.key,
                coalesce(old.import_id = :import_id, false) AS ours,
                coalesce(old.import_id = :import_id, false) AND {differs} AS repeated, {old}
        ), created AS ({created}), updated AS ({updated}), repeated AS ({repeated})"""
