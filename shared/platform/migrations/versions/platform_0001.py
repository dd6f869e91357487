"""The bus (outbox, dead letters) and API keys: what belongs to no single service.

The bus's tables are those of faststream-outbox 0.19, written out: a migration must make the same tables whatever
version of the library is installed. A test has the library itself check them.
"""

from alembic import op

revision = "platform_0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE bus.outbox (
            id bigserial PRIMARY KEY,
            queue varchar(255) NOT NULL,
            payload bytea NOT NULL,
            headers jsonb,
            attempts_count bigint NOT NULL DEFAULT 0,
            deliveries_count bigint NOT NULL DEFAULT 0,
            created_at timestamptz NOT NULL DEFAULT now(),
            next_attempt_at timestamptz NOT NULL DEFAULT now(),
            first_attempt_at timestamptz,
            last_attempt_at timestamptz,
            acquired_at timestamptz,
            acquired_token uuid,
            timer_id varchar(255),
            CONSTRAINT outbox_lease_ck CHECK ((acquired_token IS NULL) = (acquired_at IS NULL))
        )
    """)
    op.execute("""
        CREATE INDEX outbox_leased_idx ON bus.outbox (queue, next_attempt_at, id)
        WHERE acquired_token IS NOT NULL
    """)
    op.execute("""
        CREATE INDEX outbox_pending_idx ON bus.outbox (queue, next_attempt_at, id)
        WHERE acquired_token IS NULL
    """)
    op.execute("""
        CREATE UNIQUE INDEX outbox_timer_id_uq ON bus.outbox (queue, timer_id) WHERE timer_id IS NOT NULL
    """)
    op.execute("""
        CREATE TABLE bus.dead_letters (
            id bigserial PRIMARY KEY,
            original_id bigint NOT NULL,
            queue varchar(255) NOT NULL,
            payload bytea NOT NULL,
            headers jsonb,
            deliveries_count bigint NOT NULL,
            created_at timestamptz NOT NULL,
            failed_at timestamptz NOT NULL DEFAULT now(),
            failure_reason varchar(64) NOT NULL,
            last_exception varchar,
            timer_id varchar(255)
        )
    """)
    op.execute("CREATE INDEX dead_letters_queue_failed_idx ON bus.dead_letters (queue, failed_at)")
    op.execute("CREATE SCHEMA auth")
    op.execute("""
        CREATE TABLE auth.api_keys (
            prefix text PRIMARY KEY,
            hash bytea NOT NULL,
            tenant text NOT NULL,
            scopes text[] NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz,
            revoked_at timestamptz
        )
    """)
    op.execute(
        "COMMENT ON COLUMN auth.api_keys.hash IS 'SHA-256 of the whole key, which is shown once and never kept'"
    )
