"""Declarations are sound, their examples are right, and the tables of the records are what they declare."""

import csv
import io

import asyncpg
import pytest
from pydantic import ValidationError

from services.processor.checking import Checker
from services.processor.merging.steps import STEPS
from services.results.datasets.queries import template_csv
from shared.contracts.datasets import Dataset, DatasetField, datasets, row_errors_in
from shared.reading.errors import HeaderError
from shared.reading.header import columns_of, match_header
from tests.processor.batches import batch_of

PG_TYPES = {
    "string": {"text"},
    "integer": {"integer", "bigint"},
    "year": {"integer", "bigint"},
    "number": {"numeric"},
    "boolean": {"boolean"},
    "date": {"date"},
    "datetime": {"timestamp with time zone"},
}
NAMES = sorted(datasets())


def test_the_datasets_of_today():
    assert set(datasets()) == {"products", "books", "sales", "parts", "quotes", "stock-codes"}


@pytest.mark.parametrize("name", NAMES)
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
        assert column["data_type"] in PG_TYPES[field.type], field.name
        if field.in_file:
            assert (column["is_nullable"] == "NO") == field.constraints.required, field.name


@pytest.mark.parametrize("name", NAMES)
def test_the_template_can_be_loaded_as_it_is(name):
    dataset = datasets()[name]
    header, *records = csv.reader(io.StringIO(template_csv(dataset)))
    found = match_header(header, columns_of(dataset))
    assert found.unknown == ()
    checker = Checker(dataset, found.columns, len(header))
    checked = checker.check(batch_of(*records))
    assert checked.faults == {}
    assert list(checker.fields) == list(dataset.file_fields)
    assert all(field.example for field in dataset.file_fields)
    assert all(list(column) != [None] for column in checked.columns)


@pytest.mark.parametrize("name", NAMES)
def test_each_alias_is_a_name_of_its_column_and_of_no_other(name):
    dataset = datasets()[name]
    names = [field.name for field in dataset.file_fields]
    for place, field in enumerate(dataset.file_fields):
        for alias in field.aliases:
            header = [*names[:place], alias, *names[place + 1 :]]
            found = match_header(header, columns_of(dataset))
            assert found.columns == dict(zip(names, range(len(names)), strict=True)), alias


@pytest.mark.parametrize("name", NAMES)
def test_each_dataset_tells_people_what_it_is(name):
    dataset = datasets()[name]
    assert dataset.title
    assert dataset.description.endswith(".")
    assert all(field.title for field in dataset.fields)


@pytest.mark.parametrize(
    ("name", "header", "columns"),
    [
        (
            "books",
            "book_id,best_book_id,isbn,isbn13,authors,original_publication_year,original_title,title",
            {"isbn": 2, "author": 4, "publication_year": 5, "title": 7},
        ),
        ("books", "ISBN,Book-Title,Book-Author,Year-Of-Publication", {"isbn": 0, "title": 1, "author": 2, "publication_year": 3}),
        ("products", "category,name,sku,price,qty,description", {"name": 1, "sku": 2, "price": 3, "stock_quantity": 4, "description": 5}),
        (
            "sales",
            "Transaction ID,Order ID,Order Date,Ship Date,Customer ID,Customer Name,Product ID,Product Name,Sales,Quantity,Profit",
            {"transaction_id": 0, "sold_at": 2, "customer_id": 4, "customer_name": 5, "sku": 6, "product_name": 7, "total_amount": 8, "quantity": 9},
        ),
        (
            "sales",
            "TransactionNo,InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID",
            {"transaction_id": 0, "sku": 2, "quantity": 4, "sold_at": 5, "unit_price": 6, "customer_id": 7},
        ),
        ("quotes", "Quote No,Line No,Part Number,Qty,Price,Total", {"quote_number": 0, "line_number": 1, "stock_code": 2, "quantity": 3, "unit_price": 4, "total_price": 5}),
        ("stock-codes", "Stock Code", {"stock_code": 0}),
        ("stock-codes", "stock_codes", {"stock_code": 0}),
        ("stock-codes", "code,avg,min,max", {"stock_code": 0}),
    ],
)  # fmt: skip
def test_headers_that_partners_write(name, header, columns):
    found = match_header(header.split(","), columns_of(datasets()[name]))
    assert found.columns == columns


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("sales", "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice"),  # one invoice is several records
        ("products", "index,product,category,sale_price"),
        ("products", "sku,linked_sku"),
        ("stock-codes", "open,close"),
    ],
)
def test_headers_that_lack_what_a_dataset_needs(name, header):
    with pytest.raises(HeaderError):
        match_header(header.split(","), columns_of(datasets()[name]))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_dataset_refers_to_is_there(name):
    dataset = datasets()[name]
    assert dataset.step in STEPS
    for field_name, target_name in dataset.references.items():
        target = datasets()[target_name]
        [key] = target.primary_key
        ours, theirs = dataset.field(field_name), target.field(key)
        assert (ours.type, ours.format) == (theirs.type, theirs.format)
        assert ours.max_stored_length <= theirs.max_stored_length


def things(*fields, **members):
    """A declaration as a JSON file has it: a key `id`, then `fields`."""
    key = {"name": "id", "type": "string", "title": "Id", "constraints": {"required": True, "maxLength": 50}}
    return {
        "name": "things",
        "title": "Things",
        "noun": "thing",
        "fields": [key, *fields],
        "primaryKey": ["id"],
        "onDuplicate": "reject",
    } | members


def value(kind="string", **members):
    return {"name": "value", "type": kind, "title": "Value"} | members


def test_a_sound_declaration():
    decimal = value("number", precision=9, scale=2, constraints={"minimum": "0.01"})
    dataset = Dataset.model_validate(things(decimal, primaryKey=["id"], requiredAny=[["value"]]))
    assert dataset.field("value").constraints.minimum == "0.01"
    assert {dataset: 1}[Dataset.model_validate(things(decimal, requiredAny=[["value"]]))] == 1
    with pytest.raises(LookupError, match="no field 'other'"):
        dataset.field("other")


@pytest.mark.parametrize(
    ("declaration", "reason"),
    [
        (things(value(), primaryKey=["value"]), "the key 'value' must be required"),
        (things(value(constraints={"required": True}), primaryKey=["value"]), "'value' needs a maxLength"),
        (things(value(constraints={"required": True, "maxLength": 251}), primaryKey=["id", "value"]), "300 characters in all"),
        (things(value("number", precision=9, scale=2, constraints={"required": True}), primaryKey=["value"]), "several spellings"),
        (things(value(inFile=False), primaryKey=["value"]), "no column that files of 'things' bring"),
        (things(primaryKey=["nothing"]), "'nothing' is no column"),
        (things(primaryKey=[]), "at least 1 item"),
        (things(value(), value()), "declared more than once: value"),
        (things(value(constraints={"unique": True})), "'value' cannot be unique: only the index of a primary key"),
        (things(requiredAny=[["id"]]), "'id' is required anyway"),
        (things(requiredAny=[["nothing"]]), "'nothing' is no column"),
        (things(onDuplicate="replace"), "overwrite"),
        (things(surprise=1), "Extra inputs"),
        (things(value("text")), "string"),
        (things(value(format="isbn13")), "a string has no format 'isbn13'; there are: default, email, isbn, uri, uuid"),
        (things(value("date", format="dd.mm.yyyy")), "a date has no format"),
        (things(value("integer", format="any")), "an? integer has no format"),
        (things(value("number")), "precision and scale are said of every number"),
        (things(value("integer", precision=9, scale=2)), "of nothing else"),
        (things(value("number", precision=2, scale=3)), "scale is part of precision"),
        (things(value("integer", groupChar=".")), "groupChar and decimalChar are the same"),
        (things(value("date", constraints={"nonzero": True})), "nonzero is for numbers"),
        (things(value("string", measure="price")), "a measure is said of numbers, not of a string"),
        (things(value("integer", constraints={"maxLength": 3})), "are for strings"),
        (things(value("date", case="upper")), "are for strings"),
        (things(value("date", identifier=True)), "are for strings"),
        (things(value(constraints={"minimum": 1})), "minimum 1 cannot be compared with a string"),
        (things(value("integer", constraints={"maximum": "today"})), "maximum 'today' cannot be compared"),
        (things(value("date", constraints={"minimum": "1.1.2000"})), "minimum '1.1.2000' cannot be compared"),
        (things(value("number", precision=9, scale=2, constraints={"minimum": "low"})), "minimum 'low' cannot be compared"),
        (things(value(constraints={"pattern": "a+"})), "a pattern needs a maxLength"),
        (things(value(constraints={"pattern": "(a+)+", "maxLength": 9})), "which may never end"),
        (things(value(constraints={"pattern": "(a", "maxLength": 9})), "no regular expression"),
        (things(value("datetime", timezone="Europe/Atlantis")), "no time zone 'Europe/Atlantis'"),
    ],
)  # fmt: skip
def test_a_declaration_that_contradicts_itself_is_refused_with_the_reason(declaration, reason):
    with pytest.raises(ValidationError, match=reason):
        Dataset.model_validate(declaration)


@pytest.mark.parametrize("name", ["drop table", "Ä", "1st", "", "Value", "a" * 64])
def test_a_name_that_is_no_identifier_is_refused(name):
    with pytest.raises(ValidationError, match="name"):
        DatasetField.model_validate({"name": name, "type": "string", "title": "x"})


@pytest.mark.parametrize(
    ("dataset", "count"),
    [("books", 5), ("products", 2), ("stock-codes", 2), ("unknown here", 5)],
    ids=["rejects duplicates", "overwrites", "ignores", "not declared"],
)
def test_how_many_records_have_a_row_error(dataset, count):
    assert row_errors_in(dataset, rejected=2, duplicate=3) == count
