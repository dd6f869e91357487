"""Resumable uploads, their parts in the store, and what finals are made of."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, Table, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSON, JSONB

from services.upload.tables import metadata

uploads = Table(
    "tus_uploads",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("concat", Text),
    Column("metadata", Text),
    Column("file_name", Text, nullable=False),
    Column("fields", JSONB, nullable=False),
    Column("length", BigInteger),
    Column("max_bytes", BigInteger, nullable=False),
    Column("slot", DateTime(timezone=True)),
    Column("received", BigInteger, nullable=False, server_default="0"),
    Column("parts", Integer, nullable=False, server_default="0"),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, server_default="receiving"),
    Column("problem", JSON(none_as_null=True)),
    Column("finish_owner", BigInteger),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

parts = Table(
    "tus_parts",
    metadata,
    Column("object_key", Text, primary_key=True),
    Column("upload_id", Uuid, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column("state", Text, nullable=False, server_default="intended"),
    Column("fence", BigInteger, nullable=False),
    Column("owner", BigInteger, nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

concatenations = Table(
    "tus_concatenations",
    metadata,
    Column("final_id", Uuid, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("partial_id", Uuid, nullable=False),
)
