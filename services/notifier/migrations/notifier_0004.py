"""Investigations whole: what their state depends on, fingerprints that count for themselves, quarantine, reasons, quotas.

Events are kept in little room, as there are millions: what tells their kind is in their fingerprint. Notifiers of the
version before cannot log on this schema (their requests and messages fail, and are tried again): replace all at once.
"""

from alembic import op

revision = "notifier_0004"
down_revision = "notifier_0003"

GRANTS = {
    "investigations": "SELECT, INSERT, UPDATE",
    "fingerprints": "SELECT, INSERT, UPDATE",
    "investigation_events": "SELECT, INSERT, DELETE",
    "event_days": "SELECT, INSERT, UPDATE, DELETE",
    "investigation_history": "SELECT, INSERT",
    "quarantined_events": "SELECT, INSERT, DELETE",
    "reasons": "SELECT, INSERT, UPDATE",
    "event_quotas": "SELECT, INSERT, UPDATE",
}
NEW_TABLES = (
    "investigation_events",
    "event_days",
    "investigation_history",
    "quarantined_events",
    "reasons",
    "event_quotas",
)


def upgrade() -> None:
    # A table with checks that wait for the end of the transaction cannot be altered any more.
    op.execute("SET CONSTRAINTS ALL IMMEDIATE")
    _investigations()
    _fingerprints()
    _events()
    _around()
    # The tenant is asked once in a statement, not for each of the many rows that an overview sums up.
    for table in ("investigations", "fingerprints"):
        op.execute(f"""
            ALTER POLICY one_tenant ON notifier.{table}
            USING (tenant = (SELECT current_setting('penstock.tenant', true)))
        """)
    for table in NEW_TABLES:
        op.execute(f"ALTER TABLE notifier.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"""
            CREATE POLICY one_tenant ON notifier.{table}
            USING (tenant = (SELECT current_setting('penstock.tenant', true)))
        """)
    for table, rights in GRANTS.items():
        op.execute(f"GRANT {rights} ON notifier.{table} TO penstock_notifier_tenant")


def _investigations() -> None:
    op.execute("ALTER TABLE notifier.investigations DROP CONSTRAINT investigations_event_count_check")
    op.execute("""
        ALTER TABLE notifier.investigations
            ALTER event_count SET DEFAULT 0,
            ADD CHECK (event_count >= 0),
            ALTER first_seen DROP NOT NULL,
            ALTER last_seen DROP NOT NULL,
            ADD COLUMN unresolved_at timestamptz,
            ADD COLUMN event_resolved_at timestamptz,
            ADD COLUMN resolved_at timestamptz,
            ADD COLUMN reopened_at timestamptz,
            ADD COLUMN acknowledged_at timestamptz,
            ADD COLUMN muted_at timestamptz,
            ADD COLUMN muted_until timestamptz,
            ADD COLUMN muted_events integer CHECK (muted_events > 0),
            ADD COLUMN events_since_muted integer NOT NULL DEFAULT 0,
            ADD COLUMN merged_into uuid REFERENCES notifier.investigations,
            ADD CHECK (merged_into <> id),
            ADD CHECK (muted_at IS NOT NULL OR (muted_until IS NULL AND muted_events IS NULL))
    """)
    comments = {
        "event_count": "Triggers among its events; with none it only knows that all was well",
        "unresolved_at": "Last trigger of those of its fingerprints whose last trigger is after their last resolution",
        "event_resolved_at": "Last resolution that a pipeline reported, once all of its fingerprints have had one",
        "resolved_at": "Last resolution by a person",
        "muted_until": "NULL and muted_events NULL: for good",
        "muted_events": "Muted until so many more triggers have occurred after muted_at",
        "state": "As services/notifier/investigations/states.py has it for the columns after it",
    }
    for column, says in comments.items():
        op.execute(f"COMMENT ON COLUMN notifier.investigations.{column} IS '{says}'")
    op.execute("""
        UPDATE notifier.investigations i SET unresolved_at = last_seen WHERE state IN ('open', 'reopened', 'acknowledged')
    """)
    op.execute("""
        CREATE INDEX investigations_by_last_seen ON notifier.investigations (tenant, last_seen DESC, id)
            WHERE merged_into IS NULL AND event_count > 0
    """)
    op.execute("""
        CREATE INDEX investigations_muted ON notifier.investigations (muted_until) WHERE muted_until IS NOT NULL
    """)
    op.execute("""
        CREATE INDEX investigations_merged ON notifier.investigations (merged_into) WHERE merged_into IS NOT NULL
    """)


def _fingerprints() -> None:
    op.execute("""
        ALTER TABLE notifier.investigation_events DROP CONSTRAINT investigation_events_tenant_fingerprint_fkey
    """)
    op.execute("""
        ALTER TABLE notifier.fingerprints
            ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY,
            ADD COLUMN given text,
            ADD COLUMN supplier text,
            ADD COLUMN stage text,
            ADD COLUMN reason text,
            ADD COLUMN detail text NOT NULL DEFAULT '',
            ADD COLUMN event_count bigint NOT NULL DEFAULT 0 CHECK (event_count >= 0),
            ADD COLUMN first_seen timestamptz,
            ADD COLUMN first_event_id text,
            ADD COLUMN summary text,
            ADD COLUMN severity text CHECK (severity IN ('info', 'warning', 'error', 'critical')),
            ADD COLUMN last_triggered timestamptz CHECK (last_triggered >= first_seen),
            ADD COLUMN last_resolved timestamptz,
            ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(),
            DROP CONSTRAINT fingerprints_pkey,
            ADD PRIMARY KEY (id),
            ADD UNIQUE (tenant, fingerprint)
    """)
    op.execute("""
        UPDATE notifier.fingerprints f SET
            supplier = e.supplier, stage = e.stage, reason = e.reason, event_count = e.events,
            first_seen = e.first_seen, first_event_id = e.first_event_id, summary = e.summary,
            severity = ('{info,warning,error,critical}'::text[])[e.severity], last_triggered = e.last_seen
        FROM (
            SELECT tenant, fingerprint, min(supplier) AS supplier, min(stage) AS stage, min(reason) AS reason,
                count(*) AS events, min(occurred_at) AS first_seen, max(occurred_at) AS last_seen,
                (array_agg(event_id ORDER BY occurred_at, event_id))[1] AS first_event_id,
                (array_agg(summary ORDER BY occurred_at, event_id))[1] AS summary,
                max(array_position('{info,warning,error,critical}'::text[], severity)) AS severity
            FROM notifier.investigation_events GROUP BY tenant, fingerprint
        ) e WHERE e.tenant = f.tenant AND e.fingerprint = f.fingerprint
    """)
    op.execute("""
        ALTER TABLE notifier.fingerprints ALTER stage SET NOT NULL, ALTER reason SET NOT NULL,
            ADD CHECK ((event_count = 0) = (first_seen IS NULL)),
            ADD CHECK ((first_seen IS NULL) = (last_triggered IS NULL)),
            ADD CHECK ((first_seen IS NULL) = (severity IS NULL))
    """)
    op.execute(
        "CREATE INDEX fingerprints_given ON notifier.fingerprints (tenant, given) WHERE given IS NOT NULL"
    )
    # Room for the next version of a row on its page: no index has a column that an event changes.
    op.execute("ALTER TABLE notifier.fingerprints SET (fillfactor = 80)")
    op.execute("CREATE INDEX fingerprints_of_kind ON notifier.fingerprints (tenant, supplier, reason)")
    # With the tenant, as every query has it: on a table that has just grown, PostgreSQL would look up each investigation in this
    # index and all fingerprints of the tenant in another one.
    op.execute("DROP INDEX notifier.fingerprints_of_investigation")
    op.execute(
        "CREATE INDEX fingerprints_of_investigation ON notifier.fingerprints (tenant, investigation_id)"
    )
    comments = {
        "given": "The fingerprint that the reporter named; all with the same one begin in one investigation",
        "detail": "Normalised; empty where given, and where it is not known, as of what was logged before it was kept",
        "summary": "Of its first trigger by time (first_seen, first_event_id), whatever came first",
        "last_resolved": "Last event that resolves it",
    }
    for column, says in comments.items():
        op.execute(f"COMMENT ON COLUMN notifier.fingerprints.{column} IS '{says}'")


def _events() -> None:
    op.execute("ALTER TABLE notifier.investigation_events RENAME TO old_events")
    op.execute("ALTER INDEX notifier.investigation_events_pkey RENAME TO old_events_pkey")
    op.execute("DROP INDEX notifier.investigation_events_by_time")
    # As text they would take twice the room. In their order.
    op.execute("CREATE TYPE notifier.event_severity AS ENUM ('info', 'warning', 'error', 'critical')")
    op.execute(
        "CREATE TYPE notifier.event_origin AS ENUM ('api', 'import', 'endpoint', 'analysis', 'clickhouse', 'job')"
    )
    # No foreign key to fingerprints: none is ever removed, and to check it costs a tenth of what logging an event does.
    op.execute("""
        CREATE TABLE notifier.investigation_events (
            fingerprint_id bigint NOT NULL,
            occurred_at timestamptz NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now(),
            severity notifier.event_severity NOT NULL,
            origin notifier.event_origin NOT NULL,
            resolves boolean NOT NULL DEFAULT false,
            tenant text NOT NULL,
            event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 255),
            digest bytea,
            summary text,
            import_id uuid,
            file jsonb,
            extra jsonb,
            PRIMARY KEY (tenant, event_id)
        )
    """)
    op.execute("""
        INSERT INTO notifier.investigation_events (fingerprint_id, occurred_at, received_at, tenant, event_id, severity,
            origin, digest, summary, import_id, file, extra)
        SELECT f.id, occurred_at, received_at, o.tenant, event_id, o.severity::notifier.event_severity,
            (CASE WHEN o.stage = 'process' AND event_id LIKE 'penstock:%'
                    AND pg_input_is_valid(o.extra ->> 'import_id', 'uuid') THEN 'import'
                WHEN o.stage = 'webhook' AND event_id LIKE 'penstock:%' THEN 'endpoint' ELSE 'api' END)::notifier.event_origin,
            substring(digest FROM 1 FOR 16), o.summary,
            CASE WHEN o.stage = 'process' AND event_id LIKE 'penstock:%'
                    AND pg_input_is_valid(o.extra ->> 'import_id', 'uuid') THEN (o.extra ->> 'import_id')::uuid END,
            file, extra
        FROM notifier.old_events o JOIN notifier.fingerprints f ON f.tenant = o.tenant AND f.fingerprint = o.fingerprint
    """)
    op.execute("DROP TABLE notifier.old_events")
    op.execute("""
        CREATE INDEX investigation_events_by_time
            ON notifier.investigation_events (fingerprint_id, occurred_at)
    """)
    op.execute("""
        CREATE INDEX investigation_events_of_import ON notifier.investigation_events (import_id)
            WHERE import_id IS NOT NULL
    """)
    # To remove what is old. They come in order of time.
    op.execute("""
        CREATE INDEX investigation_events_received ON notifier.investigation_events USING brin (received_at)
    """)
    op.execute("""
        COMMENT ON COLUMN notifier.investigation_events.digest IS
        'SHA-256 of what was sent, 16 bytes of it: tells a repetition from a conflict. NULL: the id is made of the content'
    """)
    op.execute("""
        COMMENT ON COLUMN notifier.investigation_events.received_at IS
        'An event that occurred more than 5 minutes before it was received is late'
    """)


def _around() -> None:
    op.execute("""
        CREATE TABLE notifier.event_days (
            fingerprint_id bigint NOT NULL,
            day date NOT NULL,
            events integer NOT NULL CHECK (events > 0),
            last_occurred_at timestamptz NOT NULL,
            tenant text NOT NULL,
            PRIMARY KEY (fingerprint_id, day)
        ) WITH (fillfactor = 80)
    """)
    op.execute("CREATE INDEX event_days_of_tenant ON notifier.event_days (tenant, day)")
    op.execute(
        "COMMENT ON TABLE notifier.event_days IS"
        " 'Triggers by day, in the time zone of the deployment; what was logged before there were days, in UTC'"
    )
    op.execute("""
        INSERT INTO notifier.event_days (fingerprint_id, day, events, last_occurred_at, tenant)
        SELECT fingerprint_id, (occurred_at AT TIME ZONE 'UTC')::date, count(*), max(occurred_at), tenant
        FROM notifier.investigation_events GROUP BY 1, 2, tenant
    """)
    op.execute("""
        CREATE TABLE notifier.investigation_history (
            id uuid PRIMARY KEY DEFAULT uuidv7(),
            tenant text NOT NULL,
            investigation_id uuid NOT NULL REFERENCES notifier.investigations,
            what text NOT NULL CHECK (what IN (
                'opened', 'acknowledged', 'resolved', 'muted', 'unmuted', 'reopened', 'merged', 'split', 'noted'
            )),
            happened_at timestamptz NOT NULL,
            recorded_at timestamptz NOT NULL DEFAULT now(),
            actor text,
            event_id text,
            note text,
            details jsonb
        )
    """)
    op.execute(
        "CREATE INDEX history_of_investigation ON notifier.investigation_history (investigation_id, id)"
    )
    op.execute("CREATE INDEX history_by_time ON notifier.investigation_history (tenant, happened_at)")
    op.execute("""
        COMMENT ON COLUMN notifier.investigation_history.actor IS
        'Subject of the token of who did it; NULL: the event event_id did, or the end of a mute'
    """)
    op.execute("""
        INSERT INTO notifier.investigation_history (tenant, investigation_id, what, happened_at, recorded_at)
        SELECT tenant, id, 'opened', first_seen, opened_at FROM notifier.investigations
    """)
    op.execute("""
        CREATE TABLE notifier.quarantined_events (
            tenant text NOT NULL,
            event_id text NOT NULL,
            supplier text NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now(),
            occurred_at timestamptz NOT NULL,
            digest bytea NOT NULL,
            reported jsonb NOT NULL,
            PRIMARY KEY (tenant, event_id)
        )
    """)
    op.execute("""
        CREATE INDEX quarantined_of_supplier ON notifier.quarantined_events (tenant, supplier, occurred_at)
    """)
    op.execute("""
        CREATE TABLE notifier.reasons (
            tenant text NOT NULL,
            code text COLLATE "C" NOT NULL,
            title text,
            description text,
            reviewed boolean NOT NULL DEFAULT false,
            first_seen timestamptz,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant, code)
        )
    """)
    op.execute("""
        COMMENT ON TABLE notifier.reasons IS 'Beside those that are known everywhere: what events brought, or people changed'
    """)
    op.execute("""
        CREATE TABLE notifier.event_quotas (
            tenant text NOT NULL,
            source text NOT NULL,
            minute timestamptz NOT NULL,
            used integer NOT NULL,
            PRIMARY KEY (tenant, source)
        )
    """)
    op.execute(
        "COMMENT ON TABLE notifier.event_quotas IS 'Events of each source in the minute it last logged one'"
    )
