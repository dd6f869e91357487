"""How fast imports went lately, for the estimate that an upload is answered with."""

from alembic import op

revision = "processor_0003"
down_revision = "processor_0002"


def upgrade() -> None:
    op.execute("""
        CREATE OR REPLACE VIEW processor.imports_v1 AS
        SELECT tenant, import_id, status, run, error_code, notes, date_orders, rows_processed
        FROM processor.imports
    """)
    # A small file tells how long it takes to begin, not how fast records go; one that was tried again when somebody did that.
    op.execute(
        "CREATE INDEX receipts_lately ON processor.receipts (completed_at) WHERE rows_read >= 1000 AND run = 1"
    )
    op.execute("""
        CREATE VIEW processor.speed_v1 AS
        SELECT sum(rows_read) / sum(greatest(extract(epoch FROM completed_at - started_at), 0.001)) AS rows_per_second
        FROM (
            SELECT rows_read, completed_at, started_at
            FROM processor.receipts
            WHERE rows_read >= 1000 AND run = 1
            ORDER BY completed_at DESC
            LIMIT 20
        )
    """)
    op.execute(
        "COMMENT ON VIEW processor.speed_v1 IS 'Contract with upload; change it only by adding columns'"
    )
    op.execute("GRANT SELECT ON processor.speed_v1 TO penstock_upload")
