"""What edits did, and the replies to those who asked for them."""

from sqlalchemy import JSON, BigInteger, Column, DateTime, MetaData, Table, Text, Uuid

metadata = MetaData(schema="processor")

edits = Table(
    "edits",
    metadata,
    Column("edit_id", Uuid, primary_key=True),
    Column("tenant", Text),
    Column("dataset", Text),
    Column("action", Text),
    Column("key", Text),
    Column("records", BigInteger),
    Column("before", JSON),
    Column("requested_by", Text),
    Column("edited_at", DateTime(timezone=True)),
)

replies = Table(
    "replies",
    metadata,
    Column("edit_id", Uuid, primary_key=True),
    Column("tenant", Text),
    Column("outcome", Text),
    Column("record", JSON),
    Column("etag", Text),
    Column("deleted", BigInteger),
    Column("problem", JSON(none_as_null=True)),
    Column("replied_at", DateTime(timezone=True)),
)
