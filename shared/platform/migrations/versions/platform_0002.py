"""API keys have a name, a maker and a last use, and are listed for each tenant, which then sees no others."""

from alembic import op

revision = "platform_0002"
down_revision = "platform_0001"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE auth.api_keys
            ADD COLUMN name text,
            ADD COLUMN created_by text,
            ADD COLUMN last_used_at timestamptz
    """)
    op.execute("COMMENT ON COLUMN auth.api_keys.created_by IS 'The subject of the token that asked for it'")
    op.execute("COMMENT ON COLUMN auth.api_keys.last_used_at IS 'To the minute; NULL: never'")
    # A service looks for the key of a caller whose tenant it does not know yet; what it does for a tenant it does in its
    # lesser role, `penstock_<service>_tenant`.
    op.execute("ALTER TABLE auth.api_keys ENABLE ROW LEVEL SECURITY")
    op.execute(r"""
        CREATE POLICY one_tenant ON auth.api_keys
        USING (current_user NOT LIKE '%\_tenant' OR tenant = current_setting('penstock.tenant', true))
    """)
    op.execute("CREATE INDEX api_keys_of_tenant ON auth.api_keys (tenant, created_at, prefix)")
