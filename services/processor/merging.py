"""The SQL that merges one slice into a dataset's table, made from the dataset's declaration.

A staged record is judged as if records came one by one, in file order, so that neither the counts nor the rows
depend on where the slices were cut:

- inserted, updated: the first record of this import that changed its key's row
- unchanged: it came before that, and equals the row
- duplicate: its key was already written by this import (`overwrite`), or was already there (`reject`)
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from shared.contracts.datasets import Dataset, DatasetField

STAGE = "stage"

_TYPES = {"string": "text", "integer": "bigint", "boolean": "boolean"}


@dataclass(frozen=True)
class Merge:
    """The statements of one dataset. All take the parameters `tenant` and `import_id`.

    Attributes:
        create_stage: Makes the temporary table, gone at the end of the transaction.
        stage_columns: Its columns, in the order records are copied into it.
        load: Merges the stage; answers one row: inserted, updated, unchanged, duplicate.
        duplicates: Lists staged records that were not loaded: `row_number, key, holder_import, holder_row`
            (who has the key). None where a duplicate is no error.
    """

    create_stage: str
    stage_columns: tuple[str, ...]
    load: str
    duplicates: str | None


def merge_of(dataset: Dataset, columns: Container[str]) -> Merge:
    """The statements for a dataset, by what it does with duplicates, for a file that brings `columns`.

    A column that the file does not bring stays as it is.
    """
    brought = [field for field in dataset.file_fields if field.name in columns]
    fields = [field.name for field in brought]
    return Merge(
        create_stage=_create_stage(brought),
        stage_columns=("row_number", "key", *fields),
        load=_overwrite(dataset, fields) if dataset.on_duplicate == "overwrite" else _reject(dataset, fields),
        duplicates=_duplicates(dataset) if dataset.on_duplicate == "reject" else None,
    )


def _create_stage(fields: Sequence[DatasetField]) -> str:
    columns = ", ".join(f"{field.name} {_TYPES[field.type]}" for field in fields)
    return f'CREATE TEMP TABLE {STAGE} (row_number bigint, key text COLLATE "C", {columns}) ON COMMIT DROP'


def _overwrite(dataset: Dataset, fields: list[str]) -> str:
    columns = ", ".join(fields)
    return f"""
        WITH judged AS (
            SELECT s.*, t.key IS NULL AS absent, coalesce(t.import_id = :import_id, false) AS ours,
                t.key IS NULL OR ({_of("s", fields)}) IS DISTINCT FROM ({_of("t", fields)}) AS differs
            FROM {STAGE} s LEFT JOIN data.{dataset.table} t ON t.tenant = :tenant AND t.key = s.key
        ), ranked AS (
            SELECT *, min(row_number) FILTER (WHERE differs) OVER same_key AS first_change,
                row_number = max(row_number) OVER same_key AS is_last
            FROM judged WINDOW same_key AS (PARTITION BY key)
        ), merged AS (
            MERGE INTO data.{dataset.table} t
            USING (SELECT * FROM ranked WHERE is_last AND (ours OR first_change IS NOT NULL) ORDER BY key) s
            ON t.tenant = :tenant AND t.key = s.key
            WHEN MATCHED THEN UPDATE SET {", ".join(f"{name} = s.{name}" for name in fields)},
                import_id = :import_id, row_number = s.row_number, updated_at = now()
            WHEN NOT MATCHED THEN INSERT (tenant, key, {columns}, import_id, row_number)
                VALUES (:tenant, s.key, {_of("s", fields)}, :import_id, s.row_number)
            RETURNING 1
        )
        SELECT
            count(*) FILTER (WHERE NOT ours AND row_number = first_change AND absent) AS inserted,
            count(*) FILTER (WHERE NOT ours AND row_number = first_change AND NOT absent) AS updated,
            count(*) FILTER (WHERE NOT ours AND row_number < coalesce(first_change, row_number + 1)) AS unchanged,
            count(*) FILTER (WHERE ours OR row_number > first_change) AS duplicate
        FROM ranked
    """


def _reject(dataset: Dataset, fields: list[str]) -> str:
    columns = ", ".join(fields)
    return f"""
        WITH inserted AS (
            INSERT INTO data.{dataset.table} (tenant, key, {columns}, import_id, row_number)
            SELECT DISTINCT ON (key) :tenant, key, {columns}, :import_id, row_number
            FROM {STAGE} ORDER BY key, row_number
            ON CONFLICT (tenant, key) DO NOTHING
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM inserted) AS inserted, 0 AS updated, 0 AS unchanged,
            (SELECT count(*) FROM {STAGE}) - (SELECT count(*) FROM inserted) AS duplicate
    """


def _duplicates(dataset: Dataset) -> str:
    return f"""
        SELECT s.row_number, s.key, t.import_id AS holder_import, t.row_number AS holder_row
        FROM {STAGE} s LEFT JOIN data.{dataset.table} t ON t.tenant = :tenant AND t.key = s.key
        WHERE (t.import_id, t.row_number) IS DISTINCT FROM (:import_id, s.row_number)
        ORDER BY s.row_number
        LIMIT :limit
    """


def _of(alias: str, fields: list[str]) -> str:
    return ", ".join(f"{alias}.{name}" for name in fields)
