"""What guards intake: uploads in progress, idempotency keys, rates and limits of tenants, imports that have not ended."""

from alembic import op

revision = "upload_0003"
down_revision = "upload_0002"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE upload.intakes (
            import_id uuid PRIMARY KEY,
            tenant text NOT NULL,
            object_key text NOT NULL,
            owner bigint NOT NULL,
            began_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX intakes_of_tenant ON upload.intakes (tenant)")
    op.execute(
        "COMMENT ON TABLE upload.intakes IS"
        " 'Uploads in progress, written before their file: what a dead owner leaves behind is found by it'"
    )
    op.execute("""
        CREATE TABLE upload.idempotency_keys (
            tenant text,
            key text,
            import_id uuid NOT NULL,
            owner bigint NOT NULL,
            fingerprint text,
            answer jsonb,
            expires_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, key),
            CHECK ((fingerprint IS NULL) = (answer IS NULL))
        )
    """)
    op.execute("CREATE INDEX idempotency_keys_by_expiry ON upload.idempotency_keys (expires_at)")
    op.execute(
        "CREATE INDEX idempotency_keys_in_progress ON upload.idempotency_keys (import_id) WHERE answer IS NULL"
    )
    op.execute("CREATE TABLE upload.rates (tenant text PRIMARY KEY, taken timestamptz[] NOT NULL)")
    op.execute(
        "COMMENT ON COLUMN upload.rates.taken IS 'When the uploads of the last minute began, in order'"
    )
    op.execute("""
        CREATE TABLE upload.tenant_limits (
            tenant text PRIMARY KEY,
            uploads_per_minute integer CHECK (uploads_per_minute >= 1),
            imports_at_once integer CHECK (imports_at_once >= 1),
            max_bytes bigint CHECK (max_bytes >= 1)
        )
    """)
    op.execute(
        "COMMENT ON TABLE upload.tenant_limits IS 'Limits that are not the default; NULL: the default'"
    )
    op.execute("""
        CREATE TABLE upload.open_imports (
            import_id uuid PRIMARY KEY REFERENCES upload.imports ON DELETE CASCADE,
            tenant text NOT NULL,
            rows_detected bigint NOT NULL,
            run integer NOT NULL DEFAULT 1,
            added_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute(
        "COMMENT ON TABLE upload.open_imports IS 'Imports that had not ended when the sweeper last looked'"
    )
    op.execute("COMMENT ON COLUMN upload.open_imports.run IS 'The one that it was told to begin last'")
    op.execute("CREATE INDEX open_imports_of_tenant ON upload.open_imports (tenant)")
    op.execute("ALTER TABLE upload.imports ADD COLUMN forced boolean NOT NULL DEFAULT false")
    op.execute("COMMENT ON COLUMN upload.imports.forced IS 'Whether the same bytes may be loaded once more'")
    op.execute("CREATE INDEX imports_by_content ON upload.imports (tenant, dataset, sha256)")
