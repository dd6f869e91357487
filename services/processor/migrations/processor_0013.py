"""What the notifier reads of records: which ones an import changed, and what they hold.

And a kind of change more: a record that an import brings again in a later slice, with other values, is `repeated`, so that
it is told, and found by its words, as it now is. The version before keeps none.
"""

from alembic import op

revision = "processor_0013"
down_revision = "processor_0012"

MARKED = "NOT searched AND kind IN ('created', 'updated', 'repeated', 'deleted')"
READER = "penstock_notifier"
RECORDS = ("sales", "stock_codes", "quotes", "books", "parts", "products")
SHOWN = "import_id, changes.dataset, changes.slice, kind, first_row, row_numbers, keys"

# In the order in which slices lock them, so that whoever has one of them has not to wait for another one that is held here.
TABLES = ("processor.imports", *(f"data.{name}" for name in RECORDS), "processor.changes")


def upgrade() -> None:
    op.execute(f"LOCK TABLE {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE")
    _repeated()
    op.execute(f"GRANT USAGE ON SCHEMA processor, data TO {READER}")
    for table in TABLES:
        op.execute(f"CREATE POLICY all_tenants_for_notifier ON {table} FOR SELECT TO {READER} USING (true)")
    _changes()
    for name in RECORDS:
        op.execute(f"GRANT SELECT ON data.{name}, data.{name}_v1 TO {READER}")


def _repeated() -> None:
    op.execute("""
        ALTER TABLE processor.changes
            DROP CONSTRAINT changes_kind_check,
            ADD CONSTRAINT changes_kind_check
                CHECK (kind IN ('created', 'updated', 'repeated', 'unchanged', 'deleted'))
    """)
    op.execute("""
        COMMENT ON COLUMN processor.changes.kind IS
        'repeated: the import had created or updated it in a slice before, and now gave it other values'
    """)
    op.execute("DROP INDEX processor.changes_unsearched")
    op.execute(f"CREATE INDEX changes_unsearched ON processor.changes (import_id) WHERE {MARKED}")
    op.execute(f"""
        CREATE OR REPLACE VIEW data.unsearched_v1 WITH (security_invoker = true) AS
        SELECT tenant, dataset, keys FROM processor.unsearched WHERE keys IS NOT NULL
        UNION ALL
        SELECT tenant, changes.dataset, keys FROM processor.changes JOIN processor.imports USING (import_id)
        WHERE {MARKED}
    """)


def _changes() -> None:
    op.execute(f"""
        CREATE VIEW processor.changes_v1 WITH (security_invoker = true) AS
        SELECT tenant, {SHOWN} FROM processor.changes JOIN processor.imports USING (import_id)
    """)
    op.execute(
        "COMMENT ON VIEW processor.changes_v1 IS 'Contract with notifier; change it only by adding columns'"
    )
    op.execute(f"GRANT SELECT (tenant, import_id) ON processor.imports TO {READER}")
    op.execute(f"GRANT SELECT ({SHOWN.replace('changes.', '')}) ON processor.changes TO {READER}")
    op.execute(f"GRANT SELECT ON processor.changes_v1 TO {READER}")
