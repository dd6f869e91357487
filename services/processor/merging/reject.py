"""The first record stays: one whose key is taken is a row error that names who has it."""

from collections.abc import Mapping

from services.processor.merging.merge import (
    ORIGIN,
    Merge,
    brought,
    changes_from,
    of,
    stage_of,
    stored,
)
from services.processor.merging.steps import STEPS
from shared.contracts.datasets import Dataset


def reject(dataset: Dataset, columns: Mapping[str, int], stage: str) -> Merge:
    """The statements for a dataset with `on_duplicate: reject`."""
    fields = brought(dataset, columns)
    step = STEPS[dataset.step]
    load = _load(dataset, stored(dataset, fields), stage)
    return Merge(
        stage=stage_of(dataset, fields),
        judge=_judge(dataset, stage),
        load=load,
        load_distinct=load,
        steps=tuple(statement.format(stage=stage) for statement in step.statements),
        tables=(dataset.table, *step.tables),
    )


def _judged(dataset: Dataset, stage: str) -> str:
    """CTE `taken` puts those into `processor.duplicates` that are not the first with their key; the others are `new`."""
    # A window, not a join of the stage with itself: a slice's join is a nested loop, and all keys may be the same.
    return f"""
        numbered AS (SELECT s.*, min(row_number) OVER (PARTITION BY key) AS first_row FROM {stage} s),
        judged AS MATERIALIZED (
            SELECT s.*, t.key IS NOT NULL AS is_there, t.import_id AS there_import, t.row_number AS there_row
            FROM numbered s LEFT JOIN data.{dataset.table} t ON t.tenant = :tenant AND t.key = s.key
        ),
        new AS (SELECT * FROM judged WHERE NOT is_there AND first_row = row_number),
        taken AS (
            INSERT INTO processor.duplicates
                (import_id, row_number, line_number, byte_offset, raw, key, holder_import, holder_row)
            SELECT :import_id, s.row_number, {of("s", list(ORIGIN))}, s.key,
                CASE WHEN is_there THEN there_import ELSE :import_id END,
                CASE WHEN is_there THEN there_row ELSE first_row END
            FROM judged s WHERE is_there OR first_row < row_number
            RETURNING row_number
        )"""


def _judge(dataset: Dataset, stage: str) -> str:
    return f"""
        WITH {_judged(dataset, stage)}
        SELECT (SELECT count(*) FROM new) AS inserted, 0 AS updated, 0 AS unchanged,
            (SELECT count(*) FROM taken) AS duplicate
    """


def _load(dataset: Dataset, columns: list[str], stage: str) -> str:
    return f"""
        WITH {_judged(dataset, stage)}, inserted AS (
            INSERT INTO data.{dataset.table} (tenant, key, {", ".join(columns)}, import_id, row_number)
            SELECT :tenant, s.key, {of("s", columns)}, :import_id, s.row_number FROM new s ORDER BY s.key
            RETURNING row_number, key
        ), created AS ({changes_from("inserted", dataset.name, "'created'")})
        SELECT (SELECT count(*) FROM inserted) AS inserted, 0 AS updated, 0 AS unchanged,
            (SELECT count(*) FROM taken) AS duplicate
    """
