"""Webhook endpoints with their deliveries, and investigations with their events."""

from alembic import op

revision = "notifier_0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE notifier.inbox (
        queue text NOT NULL,
        event_id uuid NOT NULL,
        handled_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (queue, event_id)
    )
    """,
    """
    CREATE TABLE notifier.endpoints (
        id uuid PRIMARY KEY DEFAULT uuidv7(),
        tenant text NOT NULL,
        url text NOT NULL CHECK (length(url) <= 2048),
        event_types text[] NOT NULL CHECK (cardinality(event_types) > 0),
        description text,
        enabled boolean NOT NULL DEFAULT true,
        disabled_reason text,
        secret text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CHECK (NOT (enabled AND disabled_reason IS NOT NULL))
    )
    """,
    "CREATE INDEX endpoints_of_tenant ON notifier.endpoints (tenant, id)",
    "COMMENT ON COLUMN notifier.endpoints.secret IS 'In the clear, because every attempt is signed with it'",
    """
    CREATE TABLE notifier.deliveries (
        id uuid PRIMARY KEY DEFAULT uuidv7(),
        tenant text NOT NULL,
        endpoint_id uuid NOT NULL REFERENCES notifier.endpoints ON DELETE CASCADE,
        event_id uuid NOT NULL,
        event_type text NOT NULL,
        body bytea NOT NULL,
        status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'succeeded', 'failed')),
        attempts_made int NOT NULL DEFAULT 0 CHECK (attempts_made >= 0),
        next_attempt_at timestamptz DEFAULT now(),
        lease_owner bigint,
        leased_until timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz,
        UNIQUE (endpoint_id, event_id),
        CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)),
        CHECK ((status = 'pending') = (finished_at IS NULL)),
        CHECK ((lease_owner IS NULL) = (leased_until IS NULL)),
        CHECK (status = 'pending' OR lease_owner IS NULL)
    )
    """,
    """
    CREATE INDEX deliveries_due ON notifier.deliveries (endpoint_id, next_attempt_at) WHERE status = 'pending'
    """,
    """
    CREATE INDEX deliveries_leased ON notifier.deliveries (lease_owner) WHERE lease_owner IS NOT NULL
    """,
    "CREATE INDEX deliveries_of_endpoint ON notifier.deliveries (endpoint_id, id)",
    "COMMENT ON COLUMN notifier.deliveries.body IS 'The bytes that are signed and sent, the same in every attempt'",
    """
    CREATE TABLE notifier.attempts (
        delivery_id uuid NOT NULL REFERENCES notifier.deliveries ON DELETE CASCADE,
        number smallint NOT NULL CHECK (number >= 1),
        attempted_at timestamptz NOT NULL,
        latency_ms int NOT NULL CHECK (latency_ms >= 0),
        response_status smallint,
        response_body text,
        error text,
        PRIMARY KEY (delivery_id, number),
        CHECK (response_status IS NOT NULL OR error IS NOT NULL)
    )
    """,
    """
    CREATE TABLE notifier.investigations (
        id uuid PRIMARY KEY DEFAULT uuidv7(),
        tenant text NOT NULL,
        supplier text,
        stage text NOT NULL,
        reason text NOT NULL,
        severity text NOT NULL CHECK (severity IN ('info', 'warning', 'error', 'critical')),
        state text NOT NULL DEFAULT 'open'
            CHECK (state IN ('open', 'acknowledged', 'resolved', 'muted', 'reopened')),
        summary text NOT NULL,
        event_count bigint NOT NULL DEFAULT 1 CHECK (event_count >= 1),
        first_seen timestamptz NOT NULL,
        last_seen timestamptz NOT NULL CHECK (last_seen >= first_seen),
        opened_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX investigations_of_tenant ON notifier.investigations (tenant, id)",
    "CREATE INDEX investigations_by_state ON notifier.investigations (tenant, state, id)",
    """
    CREATE TABLE notifier.fingerprints (
        tenant text NOT NULL,
        fingerprint text NOT NULL,
        investigation_id uuid NOT NULL
            REFERENCES notifier.investigations DEFERRABLE INITIALLY DEFERRED,
        PRIMARY KEY (tenant, fingerprint)
    )
    """,
    "CREATE INDEX fingerprints_of_investigation ON notifier.fingerprints (investigation_id)",
    "COMMENT ON TABLE notifier.fingerprints IS 'Which investigation an event belongs to; several may lead to one'",
    """
    CREATE TABLE notifier.investigation_events (
        tenant text NOT NULL,
        event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 255),
        fingerprint text NOT NULL,
        digest bytea NOT NULL,
        occurred_at timestamptz NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(),
        supplier text,
        stage text NOT NULL,
        reason text NOT NULL,
        severity text NOT NULL CHECK (severity IN ('info', 'warning', 'error', 'critical')),
        summary text,
        file jsonb,
        extra jsonb,
        PRIMARY KEY (tenant, event_id),
        FOREIGN KEY (tenant, fingerprint) REFERENCES notifier.fingerprints DEFERRABLE INITIALLY DEFERRED
    )
    """,
    """
    CREATE INDEX investigation_events_by_time
        ON notifier.investigation_events (tenant, fingerprint, occurred_at DESC)
    """,
    """
    COMMENT ON COLUMN notifier.investigation_events.digest IS 'SHA-256 of what was sent: tells a repetition from a conflict'
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
