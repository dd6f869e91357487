"""The notifier's tables, as `migrations/` makes them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from shared.platform.bus import inbox_table

metadata = MetaData(schema="notifier")

inbox = inbox_table(metadata)

endpoints = Table(
    "endpoints",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.uuidv7()),
    Column("tenant", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("event_types", ARRAY(Text), nullable=False),
    Column("datasets", ARRAY(Text)),
    Column("description", Text),
    Column("headers", JSONB, nullable=False, server_default=text("'{}'")),
    Column("rate_limit", Integer),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("disabled_reason", Text),
    Column("disabled_at", DateTime(timezone=True)),
    Column("secret", Text, nullable=False),
    Column("private_key", Text),
    Column("last_sequence", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

retired_secrets = Table(
    "retired_secrets",
    metadata,
    Column("endpoint_id", ForeignKey(endpoints.c.id, ondelete="CASCADE"), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("secret", Text, primary_key=True),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

endpoint_health = Table(
    "endpoint_health",
    metadata,
    Column("endpoint_id", ForeignKey(endpoints.c.id, ondelete="CASCADE"), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("failing_since", DateTime(timezone=True)),
    Column("last_failure_at", DateTime(timezone=True)),
    Column("warned_percent", SmallInteger, nullable=False, server_default=text("0")),
    Column("opened", Integer, nullable=False, server_default=text("0")),
    Column("probe_at", DateTime(timezone=True)),
    Column("paced_to", DateTime(timezone=True)),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.uuidv7()),
    Column("tenant", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("part", Integer, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.uuidv7()),
    Column("tenant", Text, nullable=False),
    Column("endpoint_id", ForeignKey(endpoints.c.id, ondelete="CASCADE"), nullable=False),
    Column("message_id", ForeignKey(messages.c.id)),
    Column("event_id", Uuid, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("body", LargeBinary),
    Column("sequence", BigInteger),
    Column("ordered_by", Uuid),
    Column("held", Boolean, nullable=False, server_default=text("false")),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts_made", Integer, nullable=False, server_default=text("0")),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("test", Boolean, nullable=False, server_default=text("false")),
    Column("next_attempt_at", DateTime(timezone=True), server_default=func.now()),
    Column("lease_owner", BigInteger),
    Column("leased_until", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("finished_at", DateTime(timezone=True)),
)

attempts = Table(
    "attempts",
    metadata,
    Column("delivery_id", ForeignKey(deliveries.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", SmallInteger, primary_key=True),
    Column("attempted_at", DateTime(timezone=True), nullable=False),
    Column("latency_ms", Integer, nullable=False),
    Column("response_status", SmallInteger),
    Column("response_body", Text),
    Column("error", Text),
)

expansions = Table(
    "expansions",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("changes", Integer, nullable=False, server_default=text("0")),
    Column("batches", Integer, nullable=False, server_default=text("0")),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

investigations = Table(
    "investigations",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.uuidv7()),
    Column("tenant", Text, nullable=False),
    Column("supplier", Text),
    Column("stage", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("summary", Text, nullable=False),
    Column("event_count", BigInteger, nullable=False, server_default=text("1")),
    Column("first_seen", DateTime(timezone=True), nullable=False),
    Column("last_seen", DateTime(timezone=True), nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

fingerprints = Table(
    "fingerprints",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("investigation_id", ForeignKey(investigations.c.id), nullable=False),
)

investigation_events = Table(
    "investigation_events",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("supplier", Text),
    Column("stage", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("summary", Text),
    Column("file", JSONB(none_as_null=True)),
    Column("extra", JSONB(none_as_null=True)),
)

# What imports did to records, as the processor shows it: of each slice, up to 5,000 records of a dataset in a row.
changes = Table(
    "changes_v1",
    MetaData(),
    Column("tenant", Text),
    Column("import_id", Uuid),
    Column("dataset", Text),
    Column("slice", Integer),
    Column("kind", Text),
    Column("first_row", BigInteger),
    Column("row_numbers", ARRAY(BigInteger)),
    Column("keys", ARRAY(Text)),
    schema="processor",
)
