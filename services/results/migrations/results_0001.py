"""The read model of imports, built from events."""

from alembic import op

revision = "results_0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE results.inbox (
            queue text, event_id uuid, handled_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (queue, event_id)
        )
    """)
    op.execute("""
        CREATE TABLE results.imports (
            tenant text NOT NULL,
            import_id uuid NOT NULL,
            dataset text NOT NULL,
            source text,
            file_name text,
            file_size bigint,
            sha256 text,
            rows_detected bigint,
            uploaded_at timestamptz,
            status text NOT NULL CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
            rows_processed bigint NOT NULL DEFAULT 0,
            rows_inserted bigint NOT NULL DEFAULT 0,
            rows_updated bigint NOT NULL DEFAULT 0,
            rows_unchanged bigint NOT NULL DEFAULT 0,
            rows_duplicate bigint NOT NULL DEFAULT 0,
            rows_rejected bigint NOT NULL DEFAULT 0,
            processing_started_at timestamptz,
            progressed_at timestamptz,
            processing_completed_at timestamptz,
            error_code text,
            error_message text,
            PRIMARY KEY (tenant, import_id),
            CONSTRAINT imports_ended CHECK (
                (status IN ('completed', 'failed')) = (processing_completed_at IS NOT NULL)
            )
        )
    """)
    op.execute("""
        COMMENT ON COLUMN results.imports.uploaded_at IS
        'Null, like all that only import.uploaded tells, while a later event has arrived before that one'
    """)
    op.execute("""
        CREATE INDEX imports_newest ON results.imports (tenant, uploaded_at DESC, import_id DESC)
        WHERE uploaded_at IS NOT NULL
    """)
