"""What results owns (the read model of imports), and the views of other services that it reads."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    Row,
    Select,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from shared.contracts.datasets import Dataset
from shared.platform.bus import inbox_table

AnyRow = Row[*tuple[Any, ...]]

metadata = MetaData(schema="results")

COUNTS = (
    "rows_processed",
    "rows_inserted",
    "rows_updated",
    "rows_unchanged",
    "rows_duplicate",
    "rows_rejected",
)

# What `import.uploaded` alone tells of an import, beside its dataset.
FACTS = ("source", "file_name", "file_size", "sha256", "rows_detected", "dry_run", "uploaded_at")

imports = Table(
    "imports",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("import_id", Uuid, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("source", Text),
    Column("file_name", Text),
    Column("file_size", BigInteger),
    Column("sha256", Text),
    Column("rows_detected", BigInteger),
    Column("dry_run", Boolean),
    Column("uploaded_at", DateTime(timezone=True)),
    Column("run", Integer, nullable=False, default=1),
    Column("status", Text, nullable=False),
    *(Column(name, BigInteger, nullable=False, default=0) for name in COUNTS),
    Column("counts_rank", Integer, nullable=False, default=0),
    Column("processing_started_at", DateTime(timezone=True)),
    Column("progressed_at", DateTime(timezone=True)),
    Column("processing_completed_at", DateTime(timezone=True)),
    Column("error_code", Text),
    Column("error_message", Text),
)

inbox = inbox_table(metadata)

_views = MetaData()

uploaded_imports = Table(
    "imports_v1",
    _views,
    Column("import_id", Uuid),
    Column("tenant", Text),
    Column("dataset", Text),
    Column("source", Text),
    Column("file_name", Text),
    Column("file_size", BigInteger),
    Column("sha256", Text),
    Column("rows_detected", BigInteger),
    Column("uploaded_at", DateTime(timezone=True)),
    Column("dry_run", Boolean),
    Column("dialect", JSONB),
    Column("explanation", JSONB),
    Column("header", JSONB),
    Column("columns", JSONB),
    Column("column_count", Integer),
    Column("options", JSONB),
    schema="upload",
)

row_errors = Table(
    "row_errors_v1",
    _views,
    Column("tenant", Text),
    Column("import_id", Uuid),
    Column("row_number", BigInteger),
    Column("ordinal", Integer),
    Column("line_number", BigInteger),
    Column("byte_offset", BigInteger),
    Column("column_name", Text),
    Column("code", Text),
    Column("message", Text),
    Column("value", Text),
    Column("raw_data", Text),
    Column("hint", Text),
    Column("rule", Text),
    schema="processor",
)

# How the processor has an import in hand. `notes` count what was read in one of several possible ways, `date_orders` say
# in which.
processor_imports = Table(
    "imports_v1",
    _views,
    Column("tenant", Text),
    Column("import_id", Uuid),
    Column("notes", JSONB),
    Column("date_orders", JSONB),
    schema="processor",
)

error_counts = Table(
    "error_counts_v1",
    _views,
    Column("tenant", Text),
    Column("import_id", Uuid),
    Column("code", Text),
    Column("column_name", Text),  # empty: of the record, not of one column
    Column("count", BigInteger),
    schema="processor",
)

# The parts of an import's error file, which follow one another in the order of `part`; the first has the header.
error_files = Table(
    "error_files_v1",
    _views,
    Column("tenant", Text),
    Column("import_id", Uuid),
    Column("part", BigInteger),
    Column("object_key", Text),
    Column("size", BigInteger),
    schema="processor",
)

receipts = Table(
    "receipts_v1",
    _views,
    Column("tenant", Text),
    Column("import_id", Uuid),
    Column("document", JSONB),
    schema="processor",
)

_TYPES: dict[str, TypeEngine[Any]] = {
    "string": Text(),
    "integer": BigInteger(),
    "number": Numeric(),
    "boolean": Boolean(),
    "date": Date(),
    "datetime": DateTime(timezone=True),
    "year": Integer(),
}


@cache
def records_view(dataset: Dataset) -> Table:
    """The view `data.<table>_v1`, with the columns that the declaration gives it."""
    return Table(
        f"{dataset.table}_v1",
        MetaData(),
        Column("tenant", Text),
        Column("key", Text),
        *(Column(field.name, _TYPES[field.type]) for field in dataset.fields),
        Column("import_id", Uuid),
        Column("row_number", BigInteger),
        Column("created_at", DateTime(timezone=True)),
        Column("updated_at", DateTime(timezone=True)),
        schema="data",
    )


def equal_to(table: Table, values: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """That the columns of `table` equal `values`."""
    return [table.c[name] == value for name, value in values.items()]


async def rows_of(
    connection: AsyncConnection, query: Select[*tuple[Any, ...]], limit: int
) -> Sequence[AnyRow]:
    """The first `limit` rows of `query`."""
    return (await connection.execute(query.limit(limit))).all()
