"""Edits of records: what they changed, kept; and the replies to those who asked for them, kept while they may be read."""

from alembic import op

revision = "processor_0005"
down_revision = "processor_0004"

SHOWN = "tenant, edit_id, outcome, record, etag, deleted, problem"


def upgrade() -> None:
    _edits()
    _replies()
    for table in ("edits", "replies"):
        op.execute(f"ALTER TABLE processor.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"""
            CREATE POLICY one_tenant ON processor.{table} USING (tenant = current_setting('penstock.tenant', true))
        """)
    op.execute("CREATE POLICY all_tenants ON processor.replies FOR SELECT TO penstock_results USING (true)")
    _contract()


def _edits() -> None:
    op.execute("""
        CREATE TABLE processor.edits (
            edit_id uuid PRIMARY KEY,
            tenant text NOT NULL,
            dataset text NOT NULL,
            action text NOT NULL CHECK (action IN ('created', 'updated', 'deleted', 'all_deleted')),
            key text COLLATE "C",
            records bigint NOT NULL,
            before json,
            requested_by text NOT NULL,
            edited_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT edits_of_one_or_all CHECK ((action = 'all_deleted') = (key IS NULL))
        )
    """)
    op.execute("""
        COMMENT ON TABLE processor.edits IS
        'What single edits did to records; before: the row as it was, of a record updated or deleted by itself.'
        ' Rows stay for good, as those of processor.changes do: events name them'
    """)


def _replies() -> None:
    op.execute("""
        CREATE TABLE processor.replies (
            edit_id uuid PRIMARY KEY,
            tenant text NOT NULL,
            outcome text NOT NULL
                CHECK (outcome IN ('created', 'updated', 'unchanged', 'deleted', 'all_deleted', 'refused')),
            record json,
            etag text,
            deleted bigint,
            problem json,
            replied_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT replies_refused_with_reason CHECK ((outcome = 'refused') = (problem IS NOT NULL))
        )
    """)
    op.execute("CREATE INDEX replies_over ON processor.replies (replied_at)")
    op.execute("""
        COMMENT ON TABLE processor.replies IS
        'What became of edits: the row as it is now, or why nothing was done; removed when they are an hour old'
    """)


def _contract() -> None:
    readers = "penstock_results, penstock_results_tenant"
    op.execute(f"""
        CREATE VIEW processor.replies_v1 WITH (security_invoker = true) AS
        SELECT {SHOWN} FROM processor.replies
    """)
    op.execute("""
        COMMENT ON VIEW processor.replies_v1 IS 'Contract with results; change it only by adding columns'
    """)
    op.execute(f"GRANT SELECT ({SHOWN}) ON processor.replies TO {readers}")
    op.execute(f"GRANT SELECT ON processor.replies_v1 TO {readers}")
