"""Row-level security: a role that acts for one tenant sees and writes the rows of that one, whatever its query says.

The owner, as which consumers and intake act, is not under it (no FORCE).
"""

from alembic import op

revision = "upload_0005"
down_revision = "upload_0004"

TABLES = ("imports", "intakes", "idempotency_keys", "rates", "tenant_limits", "open_imports", "tus_uploads")

# What upload.imports_v1 is made of.
SHOWN = """
    import_id, tenant, dataset, source, file_name, file_size, sha256, rows_detected, uploaded_at, dialect, explanation,
    header, columns, column_count, options
"""


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE upload.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"""
            CREATE POLICY one_tenant ON upload.{table} USING (tenant = current_setting('penstock.tenant', true))
        """)
    _contract()
    _api()


def _contract() -> None:
    # With the rights of who reads it, and so under the policies that hold for them, not for the view's owner.
    op.execute("ALTER VIEW upload.imports_v1 SET (security_invoker = true)")
    op.execute(f"GRANT SELECT ({SHOWN}) ON upload.imports TO penstock_results, penstock_results_tenant")
    op.execute("CREATE POLICY all_tenants ON upload.imports FOR SELECT TO penstock_results USING (true)")
    op.execute("GRANT USAGE ON SCHEMA upload TO penstock_results_tenant")
    op.execute("GRANT SELECT ON upload.imports_v1 TO penstock_results_tenant")


def _api() -> None:
    op.execute("GRANT USAGE ON SCHEMA upload TO penstock_upload_tenant")
    op.execute("GRANT SELECT ON upload.imports TO penstock_upload_tenant")
    op.execute(
        "GRANT SELECT, INSERT, UPDATE (run, added_at) ON upload.open_imports TO penstock_upload_tenant"
    )
    op.execute("GRANT SELECT ON upload.tenant_limits, upload.intakes TO penstock_upload_tenant")
