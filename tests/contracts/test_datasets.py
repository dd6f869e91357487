"""Declarations are sound, and the tables of the records are what they declare."""

import asyncpg
import pytest
from pydantic import ValidationError

from shared.contracts.datasets import Dataset, datasets, row_errors_in

PG_TYPES = {"string": "text", "integer": "integer", "boolean": "boolean"}


def test_the_datasets_of_today():
    assert {"products", "books"} <= set(datasets())


@pytest.mark.parametrize("name", sorted(datasets()))
async def test_the_table_is_what_the_declaration_says(name, database_url):
    dataset = datasets()[name]
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_schema = 'data' AND table_name = $1",
            dataset.table,
        )
    finally:
        await connection.close()
    columns = {row["column_name"]: row for row in rows}
    assert {"tenant", "key", "import_id", "row_number", "created_at", "updated_at"} <= set(columns)
    for field in dataset.fields:
        column = columns[field.name]
        assert column["data_type"] in {PG_TYPES[field.type], "bigint"}
        nullable = not field.constraints.required and field.default is None
        assert (column["is_nullable"] == "YES") == nullable, field.name


def test_a_declaration_with_an_optional_key_is_refused():
    with pytest.raises(ValidationError, match="must be required"):
        Dataset.model_validate(
            {
                "name": "things",
                "title": "Things",
                "noun": "thing",
                "fields": [{"name": "id", "type": "string", "title": "Id"}],
                "primaryKey": ["id"],
                "onDuplicate": "reject",
            }
        )


@pytest.mark.parametrize("name", ["drop table", "Ä", "1st", ""])
def test_a_name_that_is_no_identifier_is_refused(name):
    declared = {"name": name, "type": "string", "title": "x", "constraints": {"required": True}}
    with pytest.raises(ValidationError):
        Dataset.model_validate(
            {
                "name": "x",
                "title": "x",
                "noun": "x",
                "fields": [declared],
                "primaryKey": [name],
                "onDuplicate": "reject",
            }
        )


@pytest.mark.parametrize(
    ("dataset", "count"),
    [("books", 5), ("products", 2), ("unknown here", 5)],
    ids=["rejects duplicates", "overwrites", "not declared"],
)
def test_how_many_records_were_not_loaded(dataset, count):
    assert row_errors_in(dataset, rejected=2, duplicate=3) == count
