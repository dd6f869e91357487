"""What results owns (the read model of imports), and the views of other services that it reads."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    Uuid,
    cast,
    collate,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.platform.bus import inbox_table

FOLDING = "pg_unicode_fast"  # the collation that has Unicode's rules of case

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
    # Set by the database at every change; null: at none since it does so.
    Column("changed_at", DateTime(timezone=True)),
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
    Column("corrects", Uuid),
    Column("file_removed_at", DateTime(timezone=True)),
    schema="upload",
)

stored_files = Table(
    "files_v1",
    _views,
    Column("tenant", Text),
    Column("import_id", Uuid),
    Column("object_key", Text),
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
    Column("status", Text),
    Column("run", Integer),
    Column("error_code", Text),
    Column("notes", JSONB),
    Column("date_orders", JSONB),
    *(Column(name, BigInteger) for name in COUNTS),
    Column("rows_staged", BigInteger),  # of those processed: loaded all at once, later
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("error_message", Text),
    Column("errors_removed_at", DateTime(timezone=True)),
    schema="processor",
)

# How far the processor has read a file: `record_number` records, and whether that is all of it.
reading = Table(
    "reading_v1",
    _views,
    Column("tenant", Text),
    Column("import_id", Uuid),
    Column("status", Text),
    Column("record_number", BigInteger),
    Column("is_read", Boolean),
    schema="processor",
)

# Where it began a slice: records, bytes and lines of the file before it.
slice_starts = Table(
    "slice_starts_v1",
    _views,
    Column("tenant", Text),
    Column("import_id", Uuid),
    Column("record_number", BigInteger),
    Column("byte_offset", BigInteger),
    Column("line_number", BigInteger),
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

# Which record of which later import was loaded in place of the one in a line. A line has at most one.
fixes = Table(
    "fixes_v1",
    _views,
    Column("tenant", Text),
    Column("import_id", Uuid),
    Column("line_number", BigInteger),
    Column("by_import", Uuid),
    Column("by_row", BigInteger),
    schema="processor",
)

# How many of these there are.
corrections = Table(
    "corrections_v1",
    _views,
    Column("tenant", Text),
    Column("import_id", Uuid),
    Column("by_import", Uuid),
    Column("rows_fixed", BigInteger),
    Column("began_at", DateTime(timezone=True)),
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


def folded(value: Any) -> ColumnElement[str]:
    """`value`, a text, as it is compared ignoring case: with all of Unicode's rules, whatever the server's locale."""
    return func.casefold(collate(cast(value, Text), FOLDING))


async def rows_of(
    connection: AsyncConnection, query: Select[*tuple[Any, ...]], limit: int
) -> Sequence[AnyRow]:
    """The first `limit` rows of `query`."""
    return (await connection.execute(query.limit(limit))).all()
