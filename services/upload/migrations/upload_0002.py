"""What a request asked for, how the file's dialect was found, and its header; `results` shows them."""

from alembic import op

revision = "upload_0002"
down_revision = "upload_0001"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE upload.imports
            ADD COLUMN explanation jsonb,
            ADD COLUMN header jsonb NOT NULL DEFAULT '[]',
            ADD COLUMN lines_detected bigint CHECK (lines_detected >= 0),
            ADD COLUMN options jsonb NOT NULL DEFAULT '{}'
    """)
    op.execute("""
        CREATE OR REPLACE VIEW upload.imports_v1 AS
        SELECT import_id, tenant, dataset, source, file_name, file_size, sha256, rows_detected, uploaded_at,
            coalesce((options ->> 'dry_run')::boolean, false) AS dry_run,
            dialect, explanation, header, columns, column_count, options
        FROM upload.imports
    """)
