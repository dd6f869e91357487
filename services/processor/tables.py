"""What the processor owns in schema `processor`; the records are in schema `data`, one table a dataset."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from shared.contracts.events import COUNTS
from shared.platform.bus import inbox_table

metadata = MetaData(schema="processor")

imports = Table(
    "imports",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("tenant", Text),
    Column("dataset", Text),
    Column("source", Text),
    Column("file_name", Text),
    Column("file_size", BigInteger),
    Column("sha256", Text),
    Column("object_key", Text),
    Column("dialect", JSONB),
    Column("columns", JSONB),
    Column("column_count", Integer),
    Column("rows_detected", BigInteger),
    Column("status", Text),
    Column("slice", Integer),
    Column("byte_offset", BigInteger),
    Column("record_number", BigInteger),
    Column("line_number", BigInteger),
    *(Column(name, BigInteger) for name in COUNTS),
    Column("row_errors_kept", BigInteger),
    Column("fence", BigInteger),
    Column("tries", Integer),
    Column("lease_owner", BigInteger),
    Column("leased_until", DateTime(timezone=True)),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("error_code", Text),
    Column("error_message", Text),
)

receipts = Table(
    "receipts",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("tenant", Text),
    Column("dataset", Text),
    Column("dataset_version", Integer),
    Column("source", Text),
    Column("file_name", Text),
    Column("file_size", BigInteger),
    Column("sha256", Text),
    Column("dialect", JSONB),
    *(Column(name.replace("processed", "read"), BigInteger) for name in COUNTS),
    Column("started_at", DateTime(timezone=True)),
    Column("completed_at", DateTime(timezone=True)),
)

ROW_ERROR_COLUMNS = (
    "tenant",
    "import_id",
    "row_number",
    "ordinal",
    "line_number",
    "byte_offset",
    "column_name",
    "code",
    "message",
    "value",
    "raw_data",
    "hint",
)

inbox = inbox_table(metadata)
