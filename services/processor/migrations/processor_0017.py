"""When what is known of an import's row errors was removed; and the parts of error files that are to go.

The version before removes none. `details_kept` says whether there may be rows yet, as they go some thousand at a time.
"""

from alembic import op

revision = "processor_0017"
down_revision = "processor_0016"

READERS = "penstock_results, penstock_results_tenant, penstock_upload, penstock_upload_tenant"
SHOWN = """
    tenant, import_id, status, run, error_code, notes, date_orders, rows_processed, rows_inserted, rows_updated,
    rows_unchanged, rows_duplicate, rows_rejected, rows_staged, started_at, finished_at, error_message
"""


def upgrade() -> None:
    op.execute("LOCK TABLE processor.imports_v1 IN ACCESS EXCLUSIVE MODE")
    # A default that is the same for all rows: none of them is written.
    op.execute("""
        ALTER TABLE processor.imports
            ADD COLUMN errors_removed_at timestamptz,
            ADD COLUMN details_kept boolean NOT NULL DEFAULT true
    """)
    op.execute("""
        COMMENT ON COLUMN processor.imports.details_kept IS
        'Whether there may be rows of it in tables that say more than counts do'
    """)
    op.execute(f"GRANT SELECT (errors_removed_at) ON processor.imports TO {READERS}")
    op.execute(f"""
        CREATE OR REPLACE VIEW processor.imports_v1 WITH (security_invoker = true) AS
        SELECT {SHOWN}, errors_removed_at FROM processor.imports
    """)
    op.execute("""
        CREATE TABLE processor.doomed_files (
            object_key text PRIMARY KEY,
            doomed_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute(
        "COMMENT ON TABLE processor.doomed_files IS 'Parts of error files that no import has any more, until they are removed'"
    )
