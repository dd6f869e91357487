"""Uploads that correct the row errors of an earlier import."""

from alembic import op

revision = "upload_0006"
down_revision = "upload_0005"


def upgrade() -> None:
    # The view first and then its table, as those who read it do; the other way round they would hold up each other for good.
    op.execute("LOCK TABLE upload.imports_v1 IN ACCESS EXCLUSIVE MODE")
    op.execute("ALTER TABLE upload.imports ADD COLUMN corrects uuid")
    op.execute("""
        CREATE OR REPLACE VIEW upload.imports_v1 WITH (security_invoker = true) AS
        SELECT import_id, tenant, dataset, source, file_name, file_size, sha256, rows_detected, uploaded_at,
            coalesce((options ->> 'dry_run')::boolean, false) AS dry_run, dialect, explanation, header, columns, column_count, options,
            corrects
        FROM upload.imports
    """)
    op.execute("GRANT SELECT (corrects) ON upload.imports TO penstock_results, penstock_results_tenant")
