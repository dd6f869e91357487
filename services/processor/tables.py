"""What the processor owns in schema `processor`; the records are in schema `data`, one table a dataset."""

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from shared.contracts.events import COUNTS
from shared.platform.bus import inbox_table
from shared.platform.doomed_files import doomed_table

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
    Column("header", JSONB),
    Column("rows_detected", BigInteger),
    Column("lines_detected", BigInteger),
    Column("options", JSONB),
    Column("explanation", JSONB),
    Column("uploaded_at", DateTime(timezone=True)),
    Column("status", Text),
    Column("run", Integer),
    Column("phase", Text),
    Column("cancel_requested", Boolean),
    Column("commanded", Integer),
    Column("slice", Integer),
    Column("byte_offset", BigInteger),
    Column("record_number", BigInteger),
    Column("line_number", BigInteger),
    *(Column(name, BigInteger) for name in COUNTS),
    Column("rows_staged", BigInteger),
    Column("row_errors_kept", BigInteger),
    Column("error_parts", Integer),
    Column("date_orders", JSONB),
    Column("notes", JSONB),
    Column("profile", JSONB),
    Column("fence", BigInteger),
    Column("tries", Integer),
    Column("lease_owner", BigInteger),
    Column("leased_until", DateTime(timezone=True)),
    Column("moved_at", DateTime(timezone=True)),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("corrects", Uuid),
    Column("errors_removed_at", DateTime(timezone=True)),
    Column("details_kept", Boolean),
)

doomed_files = doomed_table(metadata)

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
    Column("explanation", JSONB),
    Column("options", JSONB),
    Column("date_orders", JSONB),
    Column("notes", JSONB),
    Column("run", Integer),
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
    "rule",
)

early_cancels = Table(
    "early_cancels",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("heard_at", DateTime(timezone=True)),
)

error_counts = Table(
    "error_counts",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("column_name", Text, primary_key=True),
    Column("count", BigInteger),
)

error_files = Table(
    "error_files",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("object_key", Text),
    Column("size", BigInteger),
)

slice_starts = Table(
    "slice_starts",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("record_number", BigInteger, primary_key=True),
    Column("byte_offset", BigInteger),
    Column("line_number", BigInteger),
)

duplicates = Table(
    "duplicates",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("row_number", BigInteger, primary_key=True),
    Column("line_number", BigInteger),
    Column("byte_offset", BigInteger),
    Column("raw", Text),
    Column("key", Text),
    Column("holder_import", Uuid),
    Column("holder_row", BigInteger),
)

refused_lines = Table(
    "refused_lines",
    metadata,
    Column("import_id", Uuid),
    Column("first_line", BigInteger),
    Column("last_line", BigInteger),
    Column("line_numbers", ARRAY(BigInteger)),
    Column("of_lines", ARRAY(BigInteger)),
)

resent = Table(
    "resent",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("of_import", Uuid, primary_key=True),
    Column("first_row", BigInteger, primary_key=True),
    Column("row_numbers", ARRAY(BigInteger)),
    Column("of_lines", ARRAY(BigInteger)),
)

changes = Table(
    "changes",
    metadata,
    Column("import_id", Uuid),
    Column("dataset", Text),
    Column("slice", Integer),
    Column("kind", Text),
    Column("first_row", BigInteger),
    Column("row_numbers", ARRAY(BigInteger)),
    Column("keys", ARRAY(Text)),
    Column("before", JSON),
    Column("searched", Boolean),
)

unsearched = Table(
    "unsearched",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text),
    Column("dataset", Text),
    Column("keys", ARRAY(Text)),
    Column("swept_to", Text),
)

inbox = inbox_table(metadata)
