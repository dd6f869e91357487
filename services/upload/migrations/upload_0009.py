"""When the file of an import was removed, and the files that are to go. The version before removes none, and knows of none.

`doomed_files` is filled in the transaction that says a file is gone, and emptied once it is, so that none is left behind.
"""

from alembic import op

revision = "upload_0009"
down_revision = "upload_0008"

READERS = "penstock_results, penstock_results_tenant"


def upgrade() -> None:
    # The view first and then its table, as those who read it do.
    op.execute("LOCK TABLE upload.imports_v1 IN ACCESS EXCLUSIVE MODE")
    op.execute("ALTER TABLE upload.imports ADD COLUMN file_removed_at timestamptz")
    op.execute("""
        CREATE OR REPLACE VIEW upload.imports_v1 WITH (security_invoker = true) AS
        SELECT import_id, tenant, dataset, source, file_name, file_size, sha256, rows_detected, uploaded_at,
            coalesce((options ->> 'dry_run')::boolean, false) AS dry_run, dialect, explanation, header, columns, column_count, options,
            corrects, file_removed_at
        FROM upload.imports
    """)
    op.execute(f"GRANT SELECT (file_removed_at) ON upload.imports TO {READERS}")
    op.execute("""
        CREATE TABLE upload.doomed_files (
            object_key text PRIMARY KEY,
            doomed_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute(
        "COMMENT ON TABLE upload.doomed_files IS 'Files that no import has any more, until they are removed'"
    )
