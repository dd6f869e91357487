"""The bus (outbox, dead letters) and API keys: what belongs to no single service."""

from alembic import op
from sqlalchemy import MetaData

from shared.platform.bus.tables import define_tables

revision = "platform_0001"
down_revision = None


def upgrade() -> None:
    metadata = MetaData(schema="bus")
    define_tables(metadata)
    metadata.create_all(op.get_bind())
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
