"""What loading a dataset takes: its stage, its statements, its locks; and the fragments that statements share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.contracts.datasets import Dataset, DatasetField

CHANGES_A_ROW = 5_000  # records in one row of processor.changes: read in one go, some 100 kB

TYPES: Mapping[str, str] = {
    "string": "text",
    "integer": "bigint",
    "year": "bigint",
    "number": "numeric",
    "boolean": "boolean",
    "date": "date",
    "datetime": "timestamptz",
}

# Where a record stood and how it came, for datasets whose duplicates are row errors.
ORIGIN: Mapping[str, str] = {"origin_line": "bigint", "origin_offset": "bigint", "origin_raw": "text"}


@dataclass(frozen=True)
class Merge:
    """The statements of one dataset, for files that bring certain columns, and one stage.

    All take the parameters `tenant`, `import_id` and `slice`.

    Attributes:
        stage: Columns of the stage and their SQL types, in the order records are copied into it.
        judge: Counts what loading would do, and writes no record: one row of inserted, updated, unchanged, duplicate.
            For a dataset that rejects duplicates it lists them in `processor.duplicates`.
        load: Loads the stage, keeps what changed in `processor.changes`, and answers the same row.
        load_distinct: The same, faster, where no two staged records have the same key. It does not keep which records
            are unchanged, but answers in `written` the numbers of all others; None if these are all or none.
        steps: What is to be done behind it, in order. Of records of other datasets that they change they answer rows of
            dataset, kind and number.
        tables: All tables in `data` that are written. Loads lock them in this order, so they cannot deadlock.
    """

    stage: Mapping[str, str]
    judge: str
    load: str
    load_distinct: str
    steps: tuple[str, ...]
    tables: tuple[str, ...]


def names(fields: Sequence[DatasetField]) -> list[str]:
    return [field.name for field in fields]


def of(alias: str, columns: Sequence[str]) -> str:
    """`a, b` as `alias.a, alias.b`."""
    return ", ".join(f"{alias}.{name}" for name in columns)


def brought(dataset: Dataset, columns: Mapping[str, int]) -> list[DatasetField]:
    """The declared columns that the file brings."""
    return [field for field in dataset.file_fields if field.name in columns]


def stage_of(dataset: Dataset, fields: Sequence[DatasetField]) -> dict[str, str]:
    """The columns of the stage."""
    columns = {"key": 'text COLLATE "C"', "row_number": "bigint"}
    columns |= {field.name: TYPES[field.type] for field in fields}
    columns |= {
        reference_key(name): 'text COLLATE "C"' for name in dataset.references if name in names(fields)
    }
    return columns | (dict(ORIGIN) if dataset.on_duplicate == "reject" else {})


def reference_key(field: str) -> str:
    """The column that holds the key of the record that `field` names in another dataset."""
    return f"{field}_key"


def stored(dataset: Dataset, fields: Sequence[DatasetField]) -> list[str]:
    """The columns of the table that an import writes, beside the key and where it came from."""
    return [
        name for name in stage_of(dataset, fields) if name not in {"row_number", "key"} and name not in ORIGIN
    ]


def changes_from(relation: str, dataset: str, kind: str, before: str = "NULL") -> str:
    """An INSERT that keeps the changes that `relation` (row_number, key, …) lists, in rows of at most CHANGES_A_ROW."""
    return f"""
        INSERT INTO processor.changes (import_id, dataset, slice, kind, first_row, row_numbers, keys, before)
        SELECT :import_id, '{dataset}', :slice, {kind}, min(row_number), array_agg(row_number), array_agg(key), {before}
        FROM {relation} GROUP BY (row_number - 1) / {CHANGES_A_ROW}, 4
    """


def columns_before(columns: Sequence[str]) -> str:
    """The JSON object of what columns held before, one array each in the order of `keys`."""
    pairs = ", ".join(f"'{name}', json_agg(old_{name})" for name in columns)
    return f"json_build_object({pairs})"
