"""Imports as received, and the view that `results` reads until the event has reached it."""

from alembic import op

revision = "upload_0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE upload.imports (
            import_id uuid PRIMARY KEY,
            tenant text NOT NULL,
            dataset text NOT NULL,
            source text,
            file_name text NOT NULL,
            file_size bigint NOT NULL CHECK (file_size >= 0),
            sha256 text NOT NULL CHECK (length(sha256) = 64),
            object_key text NOT NULL UNIQUE,
            dialect jsonb NOT NULL,
            columns jsonb NOT NULL,
            column_count integer NOT NULL,
            rows_detected bigint NOT NULL CHECK (rows_detected >= 0),
            uploaded_by text NOT NULL,
            uploaded_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE VIEW upload.imports_v1 AS
        SELECT import_id, tenant, dataset, source, file_name, file_size, sha256, rows_detected, uploaded_at
        FROM upload.imports
    """)
    op.execute(
        "COMMENT ON VIEW upload.imports_v1 IS 'Contract with results; change it only by adding columns'"
    )
    op.execute("GRANT USAGE ON SCHEMA upload TO penstock_results")
    op.execute("GRANT SELECT ON upload.imports_v1 TO penstock_results")
