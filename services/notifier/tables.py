"""The notifier's tables, as `migrations/` makes them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
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
from sqlalchemy.dialects.postgresql import ARRAY, ENUM, JSONB

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
    Column("happened_at", DateTime(timezone=True)),
    Column("traceparent", Text),
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
    Column("event_count", BigInteger, nullable=False, server_default=text("0")),
    Column("first_seen", DateTime(timezone=True)),
    Column("last_seen", DateTime(timezone=True)),
    Column("opened_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("unresolved_at", DateTime(timezone=True)),
    Column("event_resolved_at", DateTime(timezone=True)),
    Column("resolved_at", DateTime(timezone=True)),
    Column("reopened_at", DateTime(timezone=True)),
    Column("acknowledged_at", DateTime(timezone=True)),
    Column("muted_at", DateTime(timezone=True)),
    Column("muted_until", DateTime(timezone=True)),
    Column("muted_events", Integer),
    Column("events_since_muted", Integer, nullable=False, server_default=text("0")),
    Column("merged_into", ForeignKey("notifier.investigations.id")),
)

fingerprints = Table(
    "fingerprints",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("investigation_id", ForeignKey(investigations.c.id), nullable=False),
    Column("given", Text),
    Column("supplier", Text),
    Column("stage", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=text("''")),
    Column("event_count", BigInteger, nullable=False, server_default=text("0")),
    Column("first_seen", DateTime(timezone=True)),
    Column("first_event_id", Text),
    Column("summary", Text),
    Column("severity", Text),
    Column("last_triggered", DateTime(timezone=True)),
    Column("last_resolved", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

_event_severity = ENUM("info", "warning", "error", "critical", name="event_severity", metadata=metadata)
_event_origin = ENUM(
    "api", "import", "endpoint", "analysis", "clickhouse", "job", name="event_origin", metadata=metadata
)
investigation_events = Table(
    "investigation_events",
    metadata,
    Column("fingerprint_id", BigInteger, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("severity", _event_severity, nullable=False),
    Column("origin", _event_origin, nullable=False),
    Column("resolves", Boolean, nullable=False, server_default=text("false")),
    Column("tenant", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("digest", LargeBinary),
    Column("summary", Text),
    Column("import_id", Uuid),
    Column("file", JSONB(none_as_null=True)),
    Column("extra", JSONB(none_as_null=True)),
)

event_days = Table(
    "event_days",
    metadata,
    Column("fingerprint_id", BigInteger, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("events", Integer, nullable=False),
    Column("last_occurred_at", DateTime(timezone=True), nullable=False),
    Column("tenant", Text, nullable=False),
)

investigation_history = Table(
    "investigation_history",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.uuidv7()),
    Column("tenant", Text, nullable=False),
    Column("investigation_id", ForeignKey(investigations.c.id), nullable=False),
    Column("what", Text, nullable=False),
    Column("happened_at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("actor", Text),
    Column("event_id", Text),
    Column("note", Text),
    Column("details", JSONB(none_as_null=True)),
)

quarantined_events = Table(
    "quarantined_events",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("supplier", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("reported", JSONB, nullable=False),
)

reasons = Table(
    "reasons",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("title", Text),
    Column("description", Text),
    Column("reviewed", Boolean, nullable=False, server_default=text("false")),
    Column("first_seen", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

event_quotas = Table(
    "event_quotas",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("minute", DateTime(timezone=True), nullable=False),
    Column("used", Integer, nullable=False),
)

suppliers = Table(
    "suppliers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("partner", Text),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("added_by", Text, nullable=False, server_default=text("'api'")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

supplier_files = Table(
    "supplier_files",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("supplier", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("origin", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("status_at", DateTime(timezone=True)),
    Column("stage", Text),
    Column("import_id", Uuid),
    Column("dataset", Text),
    Column("path", Text),
    Column("sha256", Text),
    Column("size", BigInteger),
    Column("header", JSONB(none_as_null=True)),
    Column("rows", BigInteger),
    Column("rejected", BigInteger),
    Column("profile", JSONB(none_as_null=True)),
)

analyses = Table(
    "analyses",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("supplier", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("state", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("cadence", JSONB, nullable=False),
    Column("findings", JSONB, nullable=False),
    Column("passed", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("last_good_day", Date),
    Column("expected_day", Date),
    Column("verdicts", Integer, nullable=False, server_default=text("1")),
    Column("analysed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

job_runs = Table(
    "job_runs",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("logical_date", Date, primary_key=True),
    Column("scheduled", Boolean, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", DateTime(timezone=True), server_default=func.now()),
    Column("runner", BigInteger),
    Column("requested_by", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("given_up_at", DateTime(timezone=True)),
    Column("error", Text),
    Column("result", JSONB(none_as_null=True)),
)

job_attempts = Table(
    "job_attempts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("logical_date", Date, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True), nullable=False),
    Column("error", Text),
    Column("result", JSONB(none_as_null=True)),
)

backfill_watermarks = Table(
    "backfill_watermarks",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("watermark", DateTime(timezone=True)),
    Column("events_added", BigInteger, nullable=False, server_default=text("0")),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
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
