"""Work state, row errors, receipts; the records of `products` and `books`; the views that `results` reads."""

from alembic import op

revision = "processor_0001"
down_revision = None

COUNTS = """
    rows_inserted bigint NOT NULL DEFAULT 0 CHECK (rows_inserted >= 0),
    rows_updated bigint NOT NULL DEFAULT 0 CHECK (rows_updated >= 0),
    rows_unchanged bigint NOT NULL DEFAULT 0 CHECK (rows_unchanged >= 0),
    rows_duplicate bigint NOT NULL DEFAULT 0 CHECK (rows_duplicate >= 0),
    rows_rejected bigint NOT NULL DEFAULT 0 CHECK (rows_rejected >= 0)
"""
SUM = "rows_inserted + rows_updated + rows_unchanged + rows_duplicate + rows_rejected"

# What every record carries beside its dataset's fields. The key is compared byte by byte ("C"), tenant first.
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


def upgrade() -> None:
    _work()
    _records()
    _views()


def _work() -> None:
    op.execute("""
        CREATE TABLE processor.inbox (
            queue text, event_id uuid, handled_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (queue, event_id)
        )
    """)
    op.execute(f"""
        CREATE TABLE processor.imports (
            import_id uuid PRIMARY KEY,
            tenant text NOT NULL,
            dataset text NOT NULL,
            source text,
            file_name text NOT NULL,
            file_size bigint NOT NULL,
            sha256 text NOT NULL,
            object_key text NOT NULL,
            dialect jsonb NOT NULL,
            columns jsonb NOT NULL,
            column_count integer NOT NULL,
            rows_detected bigint NOT NULL,
            status text NOT NULL DEFAULT 'processing' CHECK (status IN ('processing', 'completed', 'failed')),
            slice integer NOT NULL DEFAULT 0,
            byte_offset bigint NOT NULL DEFAULT 0,
            record_number bigint NOT NULL DEFAULT 0,
            line_number bigint NOT NULL DEFAULT 0,
            rows_processed bigint NOT NULL DEFAULT 0,
            {COUNTS},
            row_errors_kept bigint NOT NULL DEFAULT 0,
            fence bigint NOT NULL DEFAULT 0,
            tries integer NOT NULL DEFAULT 0,
            lease_owner bigint,
            leased_until timestamptz,
            started_at timestamptz,
            finished_at timestamptz,
            error_code text,
            error_message text,
            CONSTRAINT imports_balance CHECK (rows_processed = {SUM}),
            CONSTRAINT imports_failed_with_reason CHECK ((status = 'failed') = (error_code IS NOT NULL)),
            CONSTRAINT imports_finished CHECK ((status = 'processing') = (finished_at IS NULL))
        )
    """)
    op.execute("""
        CREATE TABLE processor.row_errors (
            tenant text NOT NULL,
            import_id uuid NOT NULL,
            row_number bigint NOT NULL,
            ordinal integer NOT NULL,
            line_number bigint NOT NULL,
            byte_offset bigint NOT NULL,
            column_name text,
            code text NOT NULL,
            message text NOT NULL,
            value text,
            raw_data text NOT NULL,
            hint text,
            PRIMARY KEY (import_id, row_number, ordinal)
        )
    """)
    op.execute(f"""
        CREATE TABLE processor.receipts (
            import_id uuid PRIMARY KEY,
            tenant text NOT NULL,
            dataset text NOT NULL,
            dataset_version integer NOT NULL,
            source text,
            file_name text NOT NULL,
            file_size bigint NOT NULL,
            sha256 text NOT NULL,
            dialect jsonb NOT NULL,
            rows_read bigint NOT NULL,
            {COUNTS},
            started_at timestamptz NOT NULL,
            completed_at timestamptz NOT NULL,
            CONSTRAINT receipts_balance CHECK (rows_read = {SUM})
        )
    """)


def _records() -> None:
    products = "sku text NOT NULL, name text NOT NULL, description text, active boolean NOT NULL DEFAULT true"
    books = "title text NOT NULL, author text NOT NULL, isbn text NOT NULL, publication_year integer NOT NULL"
    op.execute(f"CREATE TABLE data.products ({RECORD.format(fields=products)})")
    op.execute(f"CREATE TABLE data.books ({RECORD.format(fields=books)})")


def _views() -> None:
    op.execute("CREATE VIEW processor.row_errors_v1 AS SELECT * FROM processor.row_errors")
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
            'rows_read', rows_read,
            'rows_inserted', rows_inserted,
            'rows_updated', rows_updated,
            'rows_unchanged', rows_unchanged,
            'rows_duplicate', rows_duplicate,
            'rows_rejected', rows_rejected,
            'processing_started_at', started_at,
            'processing_completed_at', completed_at,
            'duration_seconds', round(extract(epoch FROM completed_at - started_at), 3),
            'rows_per_second', round(rows_read / greatest(extract(epoch FROM completed_at - started_at), 0.001))
        ) AS document
        FROM processor.receipts
    """)
    op.execute("CREATE VIEW data.products_v1 AS SELECT * FROM data.products")
    op.execute("CREATE VIEW data.books_v1 AS SELECT * FROM data.books")
    for view in ("processor.row_errors_v1", "processor.receipts_v1", "data.products_v1", "data.books_v1"):
        op.execute(f"COMMENT ON VIEW {view} IS 'Contract with results; change it only by adding columns'")
        op.execute(f"GRANT SELECT ON {view} TO penstock_results")
    op.execute("GRANT USAGE ON SCHEMA processor, data TO penstock_results")
