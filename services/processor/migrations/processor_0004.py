"""Row-level security: a role that acts for one tenant sees the rows of that one, whatever its query says.

The processor owns the tables and is not under it (no FORCE): it acts for all tenants, and COPY into a table is refused to
a role that is. The contract views now have the rights of who reads them, so that the policies for that role hold.
"""

from alembic import op

revision = "processor_0004"
down_revision = "processor_0003"

WORK = ("imports", "row_errors", "receipts")
OF_AN_IMPORT = ("error_counts", "error_files")
RECORDS = ("products", "books", "sales", "customers", "parts", "quotes", "quote_totals", "stock_codes")

# What processor.imports_v1 is made of.
SHOWN = "tenant, import_id, status, run, error_code, notes, date_orders, rows_processed"


def upgrade() -> None:
    for table in [*(f"processor.{name}" for name in WORK), *(f"data.{name}" for name in RECORDS)]:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"""
            CREATE POLICY one_tenant ON {table} USING (tenant = current_setting('penstock.tenant', true))
        """)
        op.execute(f"CREATE POLICY all_tenants ON {table} FOR SELECT TO penstock_results USING (true)")
    for name in OF_AN_IMPORT:
        _guard_by_import(name)
    _contract()


def _guard_by_import(name: str) -> None:
    """Show what belongs to an import to whom the policies on imports show that."""
    op.execute(f"ALTER TABLE processor.{name} ENABLE ROW LEVEL SECURITY")
    op.execute(f"""
        CREATE POLICY of_import ON processor.{name} USING (EXISTS (
            SELECT FROM processor.imports i WHERE i.import_id = {name}.import_id
        ))
    """)


def _contract() -> None:
    readers = "penstock_results, penstock_results_tenant"
    op.execute("GRANT USAGE ON SCHEMA processor, data TO penstock_results_tenant")
    op.execute("GRANT USAGE ON SCHEMA processor TO penstock_upload_tenant")
    whole = [f"processor.{name}" for name in (*WORK[1:], *OF_AN_IMPORT)] + [
        f"data.{name}" for name in RECORDS
    ]
    for table in whole:
        op.execute(f"ALTER VIEW {table}_v1 SET (security_invoker = true)")
        op.execute(f"GRANT SELECT ON {table} TO {readers}")
        op.execute(f"GRANT SELECT ON {table}_v1 TO penstock_results_tenant")
    op.execute("ALTER VIEW processor.imports_v1 SET (security_invoker = true)")
    op.execute(
        f"GRANT SELECT ({SHOWN}) ON processor.imports TO {readers}, penstock_upload, penstock_upload_tenant"
    )
    op.execute("GRANT SELECT ON processor.imports_v1 TO penstock_results_tenant, penstock_upload_tenant")
    op.execute(
        "CREATE POLICY all_tenants_for_upload ON processor.imports FOR SELECT TO penstock_upload USING (true)"
    )
