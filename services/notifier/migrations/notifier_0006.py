"""Jobs: what is due for a tenant on a date, and each attempt at it; how far the backfill from ClickHouse is."""

from alembic import op

revision = "notifier_0006"
down_revision = "notifier_0005"

GRANTS = {
    "job_runs": "SELECT, INSERT, UPDATE",
    "job_attempts": "SELECT",
    "backfill_watermarks": "SELECT",
}


def upgrade() -> None:
    op.execute("""
        CREATE TABLE notifier.job_runs (
            tenant text NOT NULL,
            job text COLLATE "C" NOT NULL,
            logical_date date NOT NULL,
            scheduled boolean NOT NULL,
            status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'succeeded', 'failed')),
            attempts integer NOT NULL DEFAULT 0,
            tries integer NOT NULL DEFAULT 0 CHECK (tries BETWEEN 0 AND attempts),
            next_attempt_at timestamptz DEFAULT now(),
            runner bigint,
            requested_by text,
            created_at timestamptz NOT NULL DEFAULT now(),
            started_at timestamptz,
            finished_at timestamptz,
            given_up_at timestamptz,
            error text,
            result jsonb,
            PRIMARY KEY (tenant, job, logical_date),
            CHECK ((status = 'running') = (runner IS NOT NULL)),
            CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)),
            CHECK (status <> 'running' OR started_at IS NOT NULL),
            CHECK ((status IN ('succeeded', 'failed')) = (finished_at IS NOT NULL))
        )
    """)
    op.execute("""
        CREATE INDEX job_runs_open ON notifier.job_runs (logical_date, next_attempt_at)
        WHERE status IN ('pending', 'running')
    """)
    # Two dates of a job would write the same rows side by side.
    op.execute("""
        CREATE UNIQUE INDEX job_runs_one_at_a_time ON notifier.job_runs (tenant, job) WHERE status = 'running'
    """)
    comments = {
        "scheduled": "The schedule has come to it; where that goes on is after the latest of these",
        "attempts": "Attempts of all rounds: number of the latest, which alone may say how the run ended",
        "tries": "Attempts of this round; a run that is asked for by hand begins a new one",
        "runner": "The process that runs it, by the lock that shows that it lives",
        "requested_by": "Who asked for it last; NULL: the schedule alone",
        "started_at": "Of the latest attempt",
        "given_up_at": "When it failed for good; NULL: it did not, or has succeeded since",
        "error": "Of the latest attempt that ended",
    }
    for column, says in comments.items():
        op.execute(f"COMMENT ON COLUMN notifier.job_runs.{column} IS '{says}'")
    op.execute("""
        CREATE TABLE notifier.job_attempts (
            tenant text NOT NULL,
            job text COLLATE "C" NOT NULL,
            logical_date date NOT NULL,
            number integer NOT NULL CHECK (number >= 1),
            started_at timestamptz NOT NULL,
            finished_at timestamptz NOT NULL,
            error text,
            result jsonb,
            PRIMARY KEY (tenant, job, logical_date, number),
            FOREIGN KEY (tenant, job, logical_date) REFERENCES notifier.job_runs ON DELETE CASCADE
        )
    """)
    op.execute("""
        CREATE TABLE notifier.backfill_watermarks (
            tenant text NOT NULL,
            source text NOT NULL,
            watermark timestamptz,
            events_added bigint NOT NULL DEFAULT 0,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant, source)
        )
    """)
    for table, rights in GRANTS.items():
        op.execute(f"ALTER TABLE notifier.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"""
            CREATE POLICY one_tenant ON notifier.{table}
            USING (tenant = (SELECT current_setting('penstock.tenant', true)))
        """)
        op.execute(f"GRANT {rights} ON notifier.{table} TO penstock_notifier_tenant")
