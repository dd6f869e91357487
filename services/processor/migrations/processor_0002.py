"""All six datasets; changes kept; imports in phases, with options, runs and cancellation; complete error files."""

from alembic import op

revision = "processor_0002"
down_revision = "processor_0001"

# As in the first revision: what every record carries beside its dataset's fields.
RECORD = """
    tenant text NOT NULL,
    key text COLLATE "C" NOT NULL,
    {fields},
    import_id uuid,
    row_number bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, key)
"""

# Columns ending in _key hold the key of the record of another dataset that the field before names.
TABLES = {
    "sales": """
        transaction_id text NOT NULL,
        sold_at timestamptz NOT NULL,
        sku text NOT NULL,
        sku_key text COLLATE "C" NOT NULL,
        product_name text,
        customer_id text,
        customer_name text,
        customer_email text,
        quantity bigint NOT NULL,
        unit_price numeric,
        total_amount numeric,
        amount numeric GENERATED ALWAYS AS (coalesce(total_amount, quantity * unit_price)) STORED
    """,
    "customers": """
        customer_id text,
        name text,
        email text,
        purchases bigint NOT NULL DEFAULT 0,
        amount numeric NOT NULL DEFAULT 0,
        first_sold_at timestamptz,
        last_sold_at timestamptz
    """,
    "parts": """
        stock_code text NOT NULL,
        name text,
        description text,
        manufacturer text,
        price numeric,
        stock_quantity bigint
    """,
    "quotes": """
        quote_number text NOT NULL,
        line_number bigint NOT NULL,
        quoted_on date,
        customer text,
        stock_code text NOT NULL,
        stock_code_key text COLLATE "C" NOT NULL,
        description text,
        quantity bigint,
        unit_price numeric,
        total_price numeric,
        amount numeric GENERATED ALWAYS AS (coalesce(total_price, coalesce(quantity, 1) * unit_price)) STORED
    """,
    "quote_totals": """
        quote_number text NOT NULL,
        quoted_on date,
        customer text,
        line_items bigint NOT NULL,
        total_price numeric NOT NULL
    """,
    "stock_codes": """
        stock_code text NOT NULL,
        quotes_found bigint NOT NULL,
        line_items_found bigint NOT NULL,
        total_price numeric NOT NULL,
        part_found boolean NOT NULL,
        file_name text NOT NULL,
        file_uploaded timestamptz NOT NULL
    """,
}


def upgrade() -> None:
    _work()
    _errors()
    _changes()
    _records()
    _views()


def _work() -> None:
    op.execute("""
        ALTER TABLE processor.imports
            ADD COLUMN header jsonb NOT NULL DEFAULT '[]',
            ADD COLUMN lines_detected bigint,
            ADD COLUMN options jsonb NOT NULL DEFAULT '{}',
            ADD COLUMN explanation jsonb,
            ADD COLUMN uploaded_at timestamptz NOT NULL DEFAULT now(),
            ADD COLUMN run integer NOT NULL DEFAULT 1,
            ADD COLUMN commanded integer NOT NULL DEFAULT 0,
            ADD COLUMN phase text NOT NULL DEFAULT 'reading' CHECK (phase IN ('reading', 'applying', 'filing')),
            ADD COLUMN rows_staged bigint NOT NULL DEFAULT 0 CHECK (rows_staged >= 0),
            ADD COLUMN error_parts integer NOT NULL DEFAULT 0,
            ADD COLUMN cancel_requested boolean NOT NULL DEFAULT false,
            ADD COLUMN date_orders jsonb,
            ADD COLUMN notes jsonb NOT NULL DEFAULT '{}',
            DROP CONSTRAINT imports_status_check,
            DROP CONSTRAINT imports_balance,
            ADD CONSTRAINT imports_status_check
                CHECK (status IN ('processing', 'completed', 'failed', 'cancelled')),
            ADD CONSTRAINT imports_balance CHECK (rows_processed = rows_inserted + rows_updated + rows_unchanged
                + rows_duplicate + rows_rejected + rows_staged),
            ADD CONSTRAINT imports_nothing_staged_at_the_end
                CHECK (rows_staged = 0 OR status IN ('processing', 'failed'))
    """)
    op.execute("UPDATE processor.imports SET commanded = slice")
    op.execute("""
        ALTER TABLE processor.receipts
            ADD COLUMN options jsonb NOT NULL DEFAULT '{}',
            ADD COLUMN explanation jsonb,
            ADD COLUMN date_orders jsonb,
            ADD COLUMN notes jsonb NOT NULL DEFAULT '{}',
            ADD COLUMN run integer NOT NULL DEFAULT 1
    """)


def _errors() -> None:
    op.execute("ALTER TABLE processor.row_errors ADD COLUMN rule text")
    op.execute("""
        CREATE TABLE processor.error_counts (
            import_id uuid, code text, column_name text NOT NULL, count bigint NOT NULL,
            PRIMARY KEY (import_id, code, column_name)
        )
    """)
    op.execute("""
        CREATE TABLE processor.error_files (
            import_id uuid, part integer, object_key text NOT NULL, size bigint NOT NULL,
            PRIMARY KEY (import_id, part)
        )
    """)
    op.execute("""
        CREATE TABLE processor.duplicates (
            import_id uuid, row_number bigint, line_number bigint NOT NULL, byte_offset bigint NOT NULL,
            raw text NOT NULL, key text NOT NULL, holder_import uuid, holder_row bigint,
            PRIMARY KEY (import_id, row_number)
        )
    """)
    op.execute(
        "COMMENT ON TABLE processor.duplicates IS 'Records refused as duplicates, until their error file is written'"
    )


def _changes() -> None:
    op.execute("""
        CREATE TABLE processor.changes (
            import_id uuid NOT NULL,
            dataset text NOT NULL,
            slice integer NOT NULL,
            kind text NOT NULL CHECK (kind IN ('created', 'updated', 'unchanged', 'deleted')),
            first_row bigint NOT NULL,
            row_numbers bigint[] NOT NULL,
            keys text[] NOT NULL,
            before json
        )
    """)
    # Some 100 kB each, read once or never: compressing them takes longer than writing them.
    for column in ("row_numbers", "keys", "before"):
        op.execute(f"ALTER TABLE processor.changes ALTER {column} SET STORAGE EXTERNAL")
    op.execute("CREATE INDEX changes_of_import ON processor.changes (import_id, dataset, first_row)")
    op.execute("""
        COMMENT ON TABLE processor.changes IS
        'What an import did to records, up to 5,000 in a row; before: a JSON array for each column that it wrote'
    """)


def _records() -> None:
    op.execute("ALTER TABLE data.products ADD COLUMN price numeric, ADD COLUMN stock_quantity bigint")
    for table, fields in TABLES.items():
        op.execute(f"CREATE TABLE data.{table} ({RECORD.format(fields=fields)})")
    op.execute("CREATE INDEX quotes_by_stock_code ON data.quotes (tenant, stock_code_key)")


def _views() -> None:
    op.execute("CREATE OR REPLACE VIEW processor.row_errors_v1 AS SELECT * FROM processor.row_errors")
    op.execute("CREATE OR REPLACE VIEW data.products_v1 AS SELECT * FROM data.products")
    for table in TABLES:
        op.execute(f"CREATE VIEW data.{table}_v1 AS SELECT * FROM data.{table}")
    op.execute("""
        CREATE VIEW processor.imports_v1 AS
        SELECT tenant, import_id, status, run, error_code, notes, date_orders
        FROM processor.imports
    """)
    for view in ("error_counts", "error_files"):
        op.execute(f"""
            CREATE VIEW processor.{view}_v1 AS
            SELECT i.tenant, e.* FROM processor.{view} e JOIN processor.imports i USING (import_id)
        """)
    op.execute("DROP VIEW processor.receipts_v1")
    op.execute("""
        CREATE VIEW processor.receipts_v1 AS
        SELECT tenant, import_id, jsonb_build_object(
            'import_id', import_id,
            'dataset', dataset,
            'dataset_version', dataset_version,
            'source', source,
            'file_name', file_name,
            'file_size', file_size,
            'sha256', sha256,
            'dialect', dialect,
            'explanation', explanation,
            'options', options,
            'date_orders', date_orders,
            'notes', notes,
            'run', run,
            'rows_read', rows_read,
            'rows_inserted', rows_inserted,
            'rows_updated', rows_updated,
            'rows_unchanged', rows_unchanged,
            'rows_duplicate', rows_duplicate,
            'rows_rejected', rows_rejected,
            'error_counts', (
                SELECT coalesce(jsonb_agg(jsonb_build_object('code', code, 'column', nullif(column_name, ''),
                    'count', count) ORDER BY count DESC, code, column_name), '[]')
                FROM processor.error_counts e WHERE e.import_id = r.import_id
            ),
            'processing_started_at', started_at,
            'processing_completed_at', completed_at,
            'duration_seconds', round(extract(epoch FROM completed_at - started_at), 3),
            'rows_per_second', round(rows_read / greatest(extract(epoch FROM completed_at - started_at), 0.001))
        ) AS document
        FROM processor.receipts r
    """)
    views = ["imports", "error_counts", "error_files", "receipts"]
    for view in [*(f"processor.{name}_v1" for name in views), *(f"data.{name}_v1" for name in TABLES)]:
        op.execute(f"COMMENT ON VIEW {view} IS 'Contract with results; change it only by adding columns'")
        op.execute(f"GRANT SELECT ON {view} TO penstock_results")
    op.execute("GRANT USAGE ON SCHEMA processor TO penstock_upload")
    op.execute("GRANT SELECT ON processor.imports_v1 TO penstock_upload")
