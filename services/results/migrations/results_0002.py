"""Cancelled imports, dry runs, and the run that a state belongs to."""

from alembic import op

revision = "results_0002"
down_revision = "results_0001"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE results.imports
            ADD COLUMN dry_run boolean,
            ADD COLUMN run integer NOT NULL DEFAULT 1,
            ADD COLUMN counts_rank integer NOT NULL DEFAULT 0,
            DROP CONSTRAINT imports_status_check,
            DROP CONSTRAINT imports_ended,
            ADD CONSTRAINT imports_status_check
                CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
            ADD CONSTRAINT imports_ended CHECK (
                (status IN ('completed', 'failed', 'cancelled')) = (processing_completed_at IS NOT NULL)
            )
    """)
    op.execute("""
        UPDATE results.imports SET
            dry_run = CASE WHEN uploaded_at IS NOT NULL THEN false END,
            counts_rank = CASE status WHEN 'pending' THEN 0 WHEN 'processing' THEN 2 ELSE 3 END
    """)
    op.execute("""
        COMMENT ON COLUMN results.imports.counts_rank IS
        'What told the counts: 2 * run for progress, 1 more for the end of a run, 0 for nobody'
    """)
