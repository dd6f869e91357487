"""Suppliers, their files, and what is judged of them day by day."""

from alembic import op

revision = "notifier_0005"
down_revision = "notifier_0004"

GRANTS = {
    "suppliers": "SELECT, INSERT, UPDATE, DELETE",
    "supplier_files": "SELECT, INSERT, UPDATE",
    "analyses": "SELECT, INSERT, UPDATE",
}


def upgrade() -> None:
    op.execute("""
        CREATE TABLE notifier.suppliers (
            tenant text NOT NULL,
            id text COLLATE "C" NOT NULL CHECK (length(id) BETWEEN 1 AND 255),
            name text NOT NULL,
            partner text,
            enabled boolean NOT NULL DEFAULT true,
            added_by text NOT NULL DEFAULT 'api' CHECK (added_by IN ('api', 'file', 'import', 'clickhouse')),
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant, id)
        )
    """)
    # Who has sent a file before is known.
    op.execute("""
        INSERT INTO notifier.suppliers (tenant, id, name, added_by)
        SELECT DISTINCT tenant, supplier, supplier, 'import' FROM notifier.fingerprints WHERE supplier IS NOT NULL
    """)
    op.execute("""
        CREATE TABLE notifier.supplier_files (
            tenant text NOT NULL,
            id text NOT NULL,
            supplier text COLLATE "C" NOT NULL,
            day date NOT NULL,
            occurred_at timestamptz NOT NULL,
            origin text NOT NULL CHECK (origin IN ('import', 'event', 'clickhouse')),
            status text NOT NULL CHECK (status IN ('received', 'good', 'failed', 'uncounted')),
            status_at timestamptz,
            stage text,
            import_id uuid,
            dataset text,
            path text,
            sha256 text,
            size bigint,
            header jsonb,
            rows bigint,
            rejected bigint,
            profile jsonb,
            PRIMARY KEY (tenant, id)
        )
    """)
    op.execute(
        "CREATE INDEX files_of_supplier ON notifier.supplier_files (tenant, supplier, day, occurred_at, id)"
    )
    op.execute("CREATE INDEX files_of_day ON notifier.supplier_files (tenant, day)")
    op.execute("""
        CREATE INDEX files_by_content ON notifier.supplier_files (tenant, supplier, sha256) WHERE sha256 IS NOT NULL
    """)
    comments = {
        "id": "import:<import id>, event:<hash of supplier, day and content or path>, clickhouse:<supplier>:<day>",
        "day": "Of occurred_at, in the time zone of the deployment",
        "occurred_at": "When it came",
        "status": "good: at least one record came through. uncounted: no file of its own, and shown nowhere: a dry run, a"
        " correction of an earlier import, or named by an event and imported as well",
        "status_at": "Since when status and stage are so; NULL: occurred_at",
        "rows": "Data records that were read",
        "rejected": "Those of them that have a row error",
        "profile": "What a sample of the records looks like, by column (contract ColumnProfile)",
    }
    for column, says in comments.items():
        op.execute(f"COMMENT ON COLUMN notifier.supplier_files.{column} IS '{says}'")
    op.execute("""
        CREATE TABLE notifier.analyses (
            tenant text NOT NULL,
            supplier text COLLATE "C" NOT NULL,
            day date NOT NULL,
            state text NOT NULL CHECK (state IN ('passed', 'warn', 'fail', 'no_data')),
            bucket text NOT NULL CHECK (bucket IN ('new', 'consistent', 'inconsistent', 'dead')),
            cadence jsonb NOT NULL,
            findings jsonb NOT NULL,
            passed text[] NOT NULL DEFAULT '{}',
            last_good_day date,
            expected_day date,
            verdicts integer NOT NULL DEFAULT 1,
            analysed_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant, supplier, day)
        )
    """)
    analysed = {
        "findings": "Those that are no better than warn, with their evidence",
        "passed": "Names of the findings that were judged and are none",
        "verdicts": "How many different ones there were of this day: 1 until a later run found otherwise",
    }
    for column, says in analysed.items():
        op.execute(f"COMMENT ON COLUMN notifier.analyses.{column} IS '{says}'")
    op.execute("CREATE INDEX analyses_of_day ON notifier.analyses (tenant, day, state, supplier)")
    op.execute(
        "CREATE INDEX fingerprints_of_analyses ON notifier.fingerprints (tenant) WHERE stage = 'analyse'"
    )
    for table, rights in GRANTS.items():
        op.execute(f"ALTER TABLE notifier.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"""
            CREATE POLICY one_tenant ON notifier.{table}
            USING (tenant = (SELECT current_setting('penstock.tenant', true)))
        """)
        op.execute(f"GRANT {rights} ON notifier.{table} TO penstock_notifier_tenant")
