"""Webhooks whole: messages that endpoints share, sequences, order, health, rotated secrets, filters and headers.

The version before still runs on this schema while both do: what it inserts has its body in the delivery, and its
sequence from a trigger.
"""

from alembic import op

revision = "notifier_0003"
down_revision = "notifier_0002"

NOUNS = ("book", "part", "product", "quote", "sale", "stock-code")
SUCCESSORS = {
    "records.changed": [f"{noun}.{what}" for noun in NOUNS for what in ("created", "updated")],
    "records.deleted": [f"{noun}.deleted" for noun in NOUNS],
    "records.*": [f"{noun}.*" for noun in NOUNS],
}

# What requests may do beyond what notifier_0002 grants.
GRANTS = {
    "endpoints": "UPDATE",
    "retired_secrets": "SELECT, INSERT, DELETE",
    "endpoint_health": "SELECT, INSERT, UPDATE, DELETE",
    "messages": "SELECT, INSERT",
    "deliveries": "INSERT, UPDATE",
}
NEW_TABLES = ("retired_secrets", "endpoint_health", "messages")


def upgrade() -> None:
    _endpoints()
    _messages()
    _deliveries()
    _number_those_of_the_version_before()
    _expansions()
    _guard()


def _endpoints() -> None:
    op.execute("""
        ALTER TABLE notifier.endpoints
            ADD COLUMN datasets text[] CHECK (cardinality(datasets) > 0),
            ADD COLUMN headers jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(headers) = 'object'),
            ADD COLUMN rate_limit integer CHECK (rate_limit BETWEEN 1 AND 1000),
            ADD COLUMN private_key text,
            ADD COLUMN last_sequence bigint NOT NULL DEFAULT 0,
            ADD COLUMN disabled_at timestamptz,
            ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now()
    """)
    op.execute("UPDATE notifier.endpoints SET disabled_at = now() WHERE NOT enabled")
    op.execute(
        "COMMENT ON COLUMN notifier.endpoints.rate_limit IS 'Attempts a second; NULL: as many as it takes'"
    )
    op.execute(
        "COMMENT ON COLUMN notifier.endpoints.private_key IS 'whsk_…, ed25519; NULL: signed with secret alone'"
    )
    op.execute("COMMENT ON COLUMN notifier.endpoints.last_sequence IS 'Of its newest delivery'")
    for old, new in SUCCESSORS.items():
        listed = ", ".join(f"'{name}'" for name in new)
        op.execute(f"""
            UPDATE notifier.endpoints SET event_types = array_remove(event_types, '{old}') || ARRAY[{listed}]
            WHERE '{old}' = ANY (event_types)
        """)  # noqa: S608 - names from above
    op.execute("""
        CREATE TABLE notifier.retired_secrets (
            endpoint_id uuid NOT NULL REFERENCES notifier.endpoints ON DELETE CASCADE,
            tenant text NOT NULL,
            secret text NOT NULL,
            expires_at timestamptz NOT NULL,
            PRIMARY KEY (endpoint_id, secret)
        )
    """)
    op.execute("""
        COMMENT ON TABLE notifier.retired_secrets IS
        'What attempts are signed with beside the present secret, whsec_… or whsk_…, until it expires'
    """)
    op.execute("""
        CREATE TABLE notifier.endpoint_health (
            endpoint_id uuid PRIMARY KEY REFERENCES notifier.endpoints ON DELETE CASCADE,
            tenant text NOT NULL,
            failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
            failing_since timestamptz,
            last_failure_at timestamptz,
            warned_percent smallint NOT NULL DEFAULT 0,
            opened integer NOT NULL DEFAULT 0 CHECK (opened >= 0),
            probe_at timestamptz,
            paced_to timestamptz,
            CHECK ((failing_since IS NULL) = (failures = 0))
        )
    """)
    op.execute("COMMENT ON COLUMN notifier.endpoint_health.failures IS 'In a row, since the last success'")
    op.execute("""
        COMMENT ON COLUMN notifier.endpoint_health.probe_at IS
        'The circuit is open: nothing is sent but one attempt, from then on. NULL: it is closed'
    """)
    op.execute("""
        COMMENT ON COLUMN notifier.endpoint_health.paced_to IS
        'When the next attempt would be due at exactly the rate limit (GCRA, theoretical arrival time)'
    """)


def _messages() -> None:
    op.execute("""
        CREATE TABLE notifier.messages (
            id uuid PRIMARY KEY DEFAULT uuidv7(),
            tenant text NOT NULL,
            event_id uuid NOT NULL,
            part integer NOT NULL CHECK (part >= 0),
            event_type text NOT NULL,
            body bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX messages_by_age ON notifier.messages (created_at)")
    op.execute("CREATE INDEX inbox_by_age ON notifier.inbox (handled_at)")
    op.execute(
        "COMMENT ON COLUMN notifier.messages.body IS 'The bytes that are signed and sent, the same in every attempt'"
    )


def _deliveries() -> None:
    op.execute("""
        ALTER TABLE notifier.deliveries
            ADD COLUMN message_id uuid REFERENCES notifier.messages,
            ADD COLUMN sequence bigint,
            ADD COLUMN ordered_by uuid,
            ADD COLUMN held boolean NOT NULL DEFAULT false,
            ADD COLUMN tries integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
            ADD COLUMN test boolean NOT NULL DEFAULT false,
            ALTER COLUMN body DROP NOT NULL,
            DROP CONSTRAINT deliveries_endpoint_id_event_id_key,
            DROP CONSTRAINT deliveries_status_check,
            ADD CONSTRAINT deliveries_status_check CHECK (status IN ('pending', 'succeeded', 'failed', 'skipped')),
            ADD CONSTRAINT deliveries_have_a_body CHECK (body IS NOT NULL OR message_id IS NOT NULL),
            ADD CONSTRAINT deliveries_held_are_pending CHECK (NOT held OR (status = 'pending' AND ordered_by IS NOT NULL))
    """)
    op.execute("""
        UPDATE notifier.deliveries d SET tries = attempts_made, sequence = n.nth
        FROM (SELECT id, row_number() OVER (PARTITION BY endpoint_id ORDER BY id) AS nth FROM notifier.deliveries) n
        WHERE n.id = d.id
    """)
    op.execute("""
        UPDATE notifier.endpoints e SET last_sequence = d.last
        FROM (SELECT endpoint_id, max(sequence) AS last FROM notifier.deliveries GROUP BY endpoint_id) d
        WHERE d.endpoint_id = e.id
    """)
    op.execute("DROP INDEX notifier.deliveries_due")
    op.execute("""
        CREATE INDEX deliveries_due ON notifier.deliveries (endpoint_id, next_attempt_at, sequence)
        WHERE status = 'pending' AND NOT held
    """)
    op.execute("""
        CREATE INDEX deliveries_in_order ON notifier.deliveries (endpoint_id, ordered_by, sequence)
        WHERE status = 'pending' AND ordered_by IS NOT NULL
    """)
    op.execute("CREATE UNIQUE INDEX deliveries_by_sequence ON notifier.deliveries (endpoint_id, sequence)")
    op.execute("DROP INDEX notifier.deliveries_of_endpoint")  # its part is taken by the one before
    op.execute("""
        CREATE INDEX deliveries_undelivered ON notifier.deliveries (endpoint_id, sequence)
        WHERE status <> 'succeeded'
    """)
    op.execute("CREATE INDEX deliveries_of_message ON notifier.deliveries (message_id)")
    comments = {
        "body": "Of a delivery that the version before made; else it is in messages",
        "ordered_by": "Deliveries to an endpoint that have the same go out one by one, in order of sequence",
        "held": "It waits for one of the same ordered_by and a smaller sequence",
        "tries": "Attempts since it was created, retried or replayed: its place in the retry schedule",
        "test": "Asked for to try the endpoint: there is one attempt",
        "next_attempt_at": "While it is leased: when the lease ends",
    }
    for column, comment in comments.items():
        op.execute(f"COMMENT ON COLUMN notifier.deliveries.{column} IS '{comment}'")


def _number_those_of_the_version_before() -> None:
    """What it inserts gets its sequence too, so that there are no gaps while both versions run."""
    op.execute("""
        CREATE FUNCTION notifier.number_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE notifier.endpoints SET last_sequence = last_sequence + 1 WHERE id = NEW.endpoint_id
            RETURNING last_sequence INTO NEW.sequence;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER number_delivery BEFORE INSERT ON notifier.deliveries
        FOR EACH ROW WHEN (NEW.sequence IS NULL) EXECUTE FUNCTION notifier.number_delivery()
    """)


def _expansions() -> None:
    op.execute("""
        CREATE TABLE notifier.expansions (
            import_id uuid PRIMARY KEY,
            tenant text NOT NULL,
            changes integer NOT NULL DEFAULT 0 CHECK (changes >= 0),
            batches integer NOT NULL DEFAULT 0 CHECK (batches >= 0),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        COMMENT ON TABLE notifier.expansions IS
        'How many rows of processor.changes_v1, in order of the file, have been made messages of, and of how many: each once'
    """)


def _guard() -> None:
    for table in (*NEW_TABLES, "expansions"):
        op.execute(f"ALTER TABLE notifier.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"""
            CREATE POLICY one_tenant ON notifier.{table} USING (tenant = current_setting('penstock.tenant', true))
        """)
    for table, rights in GRANTS.items():
        op.execute(f"GRANT {rights} ON notifier.{table} TO penstock_notifier_tenant")
