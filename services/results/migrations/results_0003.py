"""Row-level security: a role that acts for one tenant sees the imports of that one, whatever its query says."""

from alembic import op

revision = "results_0003"
down_revision = "results_0002"


def upgrade() -> None:
    op.execute("ALTER TABLE results.imports ENABLE ROW LEVEL SECURITY")
    op.execute("""
        CREATE POLICY one_tenant ON results.imports USING (tenant = current_setting('penstock.tenant', true))
    """)
    op.execute("GRANT USAGE ON SCHEMA results TO penstock_results_tenant")
    op.execute("GRANT SELECT ON results.imports TO penstock_results_tenant")
