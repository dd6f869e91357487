"""Where each slice began, so that any record of a file is found by its number; and how far each file is read."""

from alembic import op

revision = "processor_0008"
down_revision = "processor_0007"

READERS = "penstock_results, penstock_results_tenant"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE processor.slice_starts (
            import_id uuid,
            record_number bigint,
            byte_offset bigint NOT NULL,
            line_number bigint NOT NULL,
            PRIMARY KEY (import_id, record_number)
        )
    """)
    op.execute("""
        COMMENT ON TABLE processor.slice_starts IS
        'Checkpoints behind the slices of a file: records, bytes and lines before each. The file''s start is none;'
        ' imports from before this table have none'
    """)
    op.execute("ALTER TABLE processor.slice_starts ENABLE ROW LEVEL SECURITY")
    op.execute("""
        CREATE POLICY of_import ON processor.slice_starts USING (EXISTS (
            SELECT FROM processor.imports i WHERE i.import_id = slice_starts.import_id
        ))
    """)
    _view(
        "slice_starts_v1",
        "SELECT i.tenant, s.* FROM processor.slice_starts s JOIN processor.imports i USING (import_id)",
    )
    op.execute(f"GRANT SELECT ON processor.slice_starts TO {READERS}")
    # An import that is completed was read to its end, also one of the first version, which knew no phases.
    _view(
        "reading_v1",
        """
        SELECT tenant, import_id, status, record_number,
            status = 'completed' OR phase <> 'reading' AS is_read
        FROM processor.imports
        """,
    )
    op.execute(f"GRANT SELECT (phase, record_number) ON processor.imports TO {READERS}")


def _view(name: str, query: str) -> None:
    op.execute(f"CREATE VIEW processor.{name} WITH (security_invoker = true) AS {query}")
    op.execute(
        f"COMMENT ON VIEW processor.{name} IS 'Contract with results; change it only by adding columns'"
    )
    op.execute(f"GRANT SELECT ON processor.{name} TO {READERS}")
