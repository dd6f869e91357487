"""Corrections: which records of a later import mend the row errors of an earlier one."""

from alembic import op

revision = "processor_0007"
down_revision = "processor_0006"

SHOWN = {
    "fixes": "tenant, import_id, line_number, by_import, by_row",
    "corrections": "tenant, import_id, by_import, rows_fixed, began_at",
}


def upgrade() -> None:
    op.execute("ALTER TABLE processor.imports ADD COLUMN corrects uuid")
    _lines()
    _fixes()
    for table, columns in SHOWN.items():
        _show(table, columns)


def _lines() -> None:
    op.execute("""
        CREATE TABLE processor.refused_lines (
            import_id uuid NOT NULL, first_line bigint NOT NULL, last_line bigint NOT NULL,
            line_numbers bigint[] NOT NULL, of_lines bigint[]
        )
    """)
    op.execute("CREATE INDEX refused_lines_of_import ON processor.refused_lines (import_id, last_line)")
    op.execute("""
        COMMENT ON TABLE processor.refused_lines IS
        'Where records with row errors stand, up to 5,000 in a row; of_lines: which lines of the corrected import they were'
    """)
    op.execute("""
        CREATE TABLE processor.resent (
            import_id uuid, of_import uuid, first_row bigint, row_numbers bigint[] NOT NULL, of_lines bigint[] NOT NULL,
            PRIMARY KEY (import_id, of_import, first_row)
        )
    """)
    # Read once or twice: compressing them takes longer than writing them.
    for table, column in (("refused_lines", "line_numbers"), ("resent", "row_numbers")):
        for each in (column, "of_lines"):
            op.execute(f"ALTER TABLE processor.{table} ALTER {each} SET STORAGE EXTERNAL")
    op.execute("""
        COMMENT ON TABLE processor.resent IS
        'Records that correct lines of an earlier import, until they are loaded'
    """)


def _fixes() -> None:
    op.execute("""
        CREATE TABLE processor.fixes (
            tenant text NOT NULL, import_id uuid, line_number bigint, by_import uuid NOT NULL, by_row bigint NOT NULL,
            PRIMARY KEY (import_id, line_number)
        )
    """)
    op.execute("""
        CREATE TABLE processor.corrections (
            tenant text NOT NULL, import_id uuid, by_import uuid, rows_fixed bigint NOT NULL,
            began_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (import_id, by_import)
        )
    """)
    op.execute("COMMENT ON TABLE processor.corrections IS 'How many rows of processor.fixes there are'")


def _show(table: str, columns: str) -> None:
    name, readers = f"processor.{table}", "penstock_results, penstock_results_tenant"
    op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY one_tenant ON {name} USING (tenant = current_setting('penstock.tenant', true))"
    )
    op.execute(f"CREATE POLICY all_tenants ON {name} FOR SELECT TO penstock_results USING (true)")
    op.execute(f"CREATE VIEW {name}_v1 WITH (security_invoker = true) AS SELECT {columns} FROM {name}")
    op.execute(f"COMMENT ON VIEW {name}_v1 IS 'Contract with results; change it only by adding columns'")
    op.execute(f"GRANT SELECT ({columns}) ON {name} TO {readers}")
    op.execute(f"GRANT SELECT ON {name}_v1 TO {readers}")
