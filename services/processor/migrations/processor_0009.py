"""Everything that the read model of imports is rebuilt from."""

from alembic import op

revision = "processor_0009"
down_revision = "processor_0008"

ADDED = """
    rows_inserted, rows_updated, rows_unchanged, rows_duplicate, rows_rejected, rows_staged, started_at, finished_at,
    error_message
"""
READERS = "penstock_results, penstock_results_tenant, penstock_upload, penstock_upload_tenant"


def upgrade() -> None:
    # A view with its reader's rights needs them for every column that it shows, whichever a query names.
    op.execute(f"GRANT SELECT ({ADDED}) ON processor.imports TO {READERS}")
    op.execute(f"""
        CREATE OR REPLACE VIEW processor.imports_v1 WITH (security_invoker = true) AS
        SELECT tenant, import_id, status, run, error_code, notes, date_orders, rows_processed, {ADDED}
        FROM processor.imports
    """)
