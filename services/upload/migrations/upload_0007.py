"""Where the file of each import lies in the store, for those who give it out again."""

from alembic import op

revision = "upload_0007"
down_revision = "upload_0006"

READERS = "penstock_results, penstock_results_tenant"


def upgrade() -> None:
    op.execute("""
        CREATE VIEW upload.files_v1 WITH (security_invoker = true) AS
        SELECT tenant, import_id, object_key FROM upload.imports
    """)
    op.execute("COMMENT ON VIEW upload.files_v1 IS 'Contract with results; change it only by adding columns'")
    op.execute(f"GRANT SELECT (object_key) ON upload.imports TO {READERS}")
    op.execute(f"GRANT SELECT ON upload.files_v1 TO {READERS}")
