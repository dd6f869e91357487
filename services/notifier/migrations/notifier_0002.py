"""Row-level security: a role that acts for one tenant sees and writes the rows of that one, whatever its query says."""

from alembic import op

revision = "notifier_0002"
down_revision = "notifier_0001"

TABLES = ("endpoints", "deliveries", "investigations", "fingerprints", "investigation_events")

# What requests do; the rest is for consumers and the delivery worker, which act as the service.
GRANTS = {
    "endpoints": "SELECT, INSERT, DELETE",
    "deliveries": "SELECT",
    "attempts": "SELECT",
    "investigations": "SELECT, INSERT, UPDATE (event_count, first_seen, last_seen, severity)",
    "fingerprints": "SELECT, INSERT",
    "investigation_events": "SELECT, INSERT",
}


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE notifier.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"""
            CREATE POLICY one_tenant ON notifier.{table} USING (tenant = current_setting('penstock.tenant', true))
        """)
    op.execute("ALTER TABLE notifier.attempts ENABLE ROW LEVEL SECURITY")
    op.execute("""
        CREATE POLICY of_delivery ON notifier.attempts USING (EXISTS (
            SELECT FROM notifier.deliveries d WHERE d.id = attempts.delivery_id
        ))
    """)
    op.execute("GRANT USAGE ON SCHEMA notifier TO penstock_notifier_tenant")
    for table, rights in GRANTS.items():
        op.execute(f"GRANT {rights} ON notifier.{table} TO penstock_notifier_tenant")
