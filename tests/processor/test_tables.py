"""The tables are what the datasets declare, so that neither can change without the other."""

import pytest

from services.processor.merging.merge import TYPES, reference_key
from services.processor.tables import metadata
from shared.contracts.datasets import datasets

OF_EVERY_RECORD = {
    "tenant": "text",
    "key": "text",
    "import_id": "uuid",
    "row_number": "bigint",
    "created_at": "timestamp with time zone",
    "updated_at": "timestamp with time zone",
}
# Columns that the database computes from others.
COMPUTED = {"sales": {"amount": "numeric"}, "quotes": {"amount": "numeric"}}
NARROWER = {"books": {"publication_year": "integer"}}  # since the first version; a year fits
LONG_NAMES = {"timestamptz": "timestamp with time zone"}


async def columns_of(database, schema, table):
    rows = await database.fetch(
        "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns"
        " WHERE table_schema = $1 AND table_name = $2",
        schema,
        table,
    )
    return {row["column_name"]: row for row in rows}


def declared_types(dataset):
    types = {field.name: LONG_NAMES.get(TYPES[field.type], TYPES[field.type]) for field in dataset.fields}
    types |= {reference_key(name): "text" for name in dataset.references}
    return OF_EVERY_RECORD | types | COMPUTED.get(dataset.name, {}) | NARROWER.get(dataset.name, {})


@pytest.mark.parametrize("name", sorted(datasets()))
async def test_a_dataset_has_the_table_that_it_declares(database, name):
    dataset = datasets()[name]
    found = await columns_of(database, "data", dataset.table)
    assert {column: row["data_type"] for column, row in found.items()} == declared_types(dataset)
    for field in dataset.file_fields:
        assert (found[field.name]["is_nullable"] == "NO") == field.constraints.required, field.name
    with_default = {field.name for field in dataset.fields if field.default is not None}
    assert {column for column, row in found.items() if row["column_default"]} == with_default | {
        "created_at",
        "updated_at",
    }


@pytest.mark.parametrize("name", sorted(datasets()))
async def test_keys_are_unique_for_a_tenant_and_compared_byte_by_byte(database, name):
    [index] = await database.fetch(
        "SELECT pg_get_indexdef(indexrelid) AS definition FROM pg_index"
        " WHERE indrelid = to_regclass($1) AND indisprimary",
        f"data.{datasets()[name].table}",
    )
    assert index["definition"].endswith("(tenant, key)")
    collated = await database.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'data' AND table_name = $1"
        " AND collation_name = 'C'",
        datasets()[name].table,
    )
    keys = {"key", *map(reference_key, datasets()[name].references)}
    assert {row["column_name"] for row in collated} == keys


@pytest.mark.parametrize(
    "table", [*(declared.table for declared in datasets().values()), "customers", "quote_totals"]
)
async def test_results_sees_all_of_it(database, table):
    view, found = [await columns_of(database, "data", name) for name in (f"{table}_v1", table)]
    assert set(view) == set(found)
    granted = await database.fetchval(
        "SELECT has_table_privilege('penstock_results', $1, 'SELECT')", f"data.{table}_v1"
    )
    assert granted


@pytest.mark.parametrize("table", sorted(metadata.tables))
async def test_the_columns_that_the_processor_names_are_there(database, table):
    schema, name = table.split(".")
    assert {column.name for column in metadata.tables[table].columns} <= set(
        await columns_of(database, schema, name)
    )


@pytest.mark.parametrize("table", ["row_errors", "error_counts", "error_files", "receipts", "imports"])
async def test_results_may_read_the_views_of_the_work(database, table):
    assert await database.fetchval(
        "SELECT has_table_privilege('penstock_results', $1, 'SELECT')", f"processor.{table}_v1"
    )


async def test_upload_may_read_how_an_import_stands(database):
    assert await database.fetchval(
        "SELECT has_table_privilege('penstock_upload', 'processor.imports_v1', 'SELECT')"
    )
