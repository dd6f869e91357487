"""What upload owns: imports as they were received, and uploads in progress."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, MetaData, Table, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB

from shared.platform.doomed_files import doomed_table

metadata = MetaData(schema="upload")

imports = Table(
    "imports",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("source", Text),
    Column("file_name", Text, nullable=False),
    Column("file_size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("object_key", Text, nullable=False),
    Column("dialect", JSONB, nullable=False),
    Column("explanation", JSONB(none_as_null=True)),
    Column("header", JSONB, nullable=False),
    Column("columns", JSONB, nullable=False),
    Column("column_count", Integer, nullable=False),
    Column("rows_detected", BigInteger, nullable=False),
    Column("lines_detected", BigInteger),
    Column("options", JSONB, nullable=False),
    Column("corrects", Uuid),
    Column("uploaded_by", Text, nullable=False),
    Column("forced", Boolean, nullable=False),
    Column("uploaded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("file_removed_at", DateTime(timezone=True)),
)

doomed_files = doomed_table(metadata)

open_imports = Table(
    "open_imports",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("rows_detected", BigInteger, nullable=False),
)

intakes = Table(
    "intakes",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("object_key", Text, nullable=False),
    Column("owner", BigInteger, nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
