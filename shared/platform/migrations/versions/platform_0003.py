"""Sessions of browsers: who signed in, until when, and with which API key, which the session does not outlive."""

from alembic import op

revision = "platform_0003"
down_revision = "platform_0002"


def upgrade() -> None:
    # A session's place among those of its subject is when it came to be, also where another sign-in was waited for.
    op.execute("""
        CREATE TABLE auth.sessions (
            hash bytea PRIMARY KEY,
            tenant text NOT NULL,
            subject text NOT NULL,
            scopes text[] NOT NULL,
            api_key_prefix text,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            expires_at timestamptz NOT NULL
        )
    """)
    op.execute(
        "COMMENT ON COLUMN auth.sessions.hash IS 'SHA-256 of the session id, which only the browser keeps'"
    )
    op.execute("COMMENT ON COLUMN auth.sessions.api_key_prefix IS 'Of the key it was made with; NULL: a JWT'")
    # As for API keys: a service looks for a session whose tenant it does not know yet. No tenant's role has any right here.
    op.execute("ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY")
    op.execute(r"""
        CREATE POLICY one_tenant ON auth.sessions
        USING (current_user NOT LIKE '%\_tenant' OR tenant = current_setting('penstock.tenant', true))
    """)
    op.execute("CREATE INDEX sessions_of_subject ON auth.sessions (tenant, subject, created_at)")
    op.execute("CREATE INDEX sessions_ending ON auth.sessions (expires_at)")
