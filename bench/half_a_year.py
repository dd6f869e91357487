"""Half a year of suppliers' files and errors, and what was judged of them, made by SQL as the notifier would have kept it.

Errors are uneven, as they are: half of all are of a sixteenth of the fingerprints, and half of the investigations have been
resolved. One in ten fingerprints was merged into the investigation of another one.
"""

from bench.bench import execute
from bench.running import TENANT

SUPPLIERS = 2_000
DAYS = 180
FINGERPRINTS = 20_000
EVENTS = 1_000_000
REASONS = 40
STAGES = ("load_mail", "load_ftp", "consolidate", "airflow", "process")

_STAGES = f"'{{{','.join(STAGES)}}}'::text[]"
_SEVERITIES = "'{info,warning,error,critical}'::text[]"
_BUCKETS = "'{consistent,consistent,inconsistent,new,dead}'::text[]"

_SUPPLIERS = f"""
    INSERT INTO notifier.suppliers (tenant, id, name, partner, created_at)
    SELECT '{TENANT}', 's-' || n, 'Supplier ' || n, 'Partner ' || n % 100, now() - interval '{DAYS} days'
    FROM generate_series(1, {SUPPLIERS}) AS n
"""
# Every fingerprint has one event at least.
_EVENTS = f"""
    CREATE UNLOGGED TABLE half_a_year AS
    SELECT n, (CASE WHEN n <= {FINGERPRINTS} THEN n ELSE 1 + floor({FINGERPRINTS} * random() ^ 4) END)::bigint AS fingerprint,
        date_trunc('milliseconds', now() - interval '5 minutes' - random() * interval '{DAYS - 1} days') AS occurred_at,
        (({_SEVERITIES}))[1 + floor(4 * random() ^ 0.5)::int] AS severity
    FROM generate_series(1, {EVENTS}) AS n ORDER BY occurred_at
"""
_OF_FINGERPRINTS = f"""
    CREATE UNLOGGED TABLE half_a_year_of AS
    SELECT fingerprint, fingerprint - (fingerprint % 10 = 9)::int AS grouped_as, count(*) AS events,
        min(occurred_at) AS first_seen, max(occurred_at) AS last_seen,
        max(array_position({_SEVERITIES}, severity)) AS severity,
        CASE WHEN fingerprint % 3 = 0 THEN max(occurred_at) + interval '1 hour' END AS resolved_at
    FROM half_a_year GROUP BY 1
"""
_INVESTIGATIONS = f"""
    INSERT INTO notifier.investigations (id, tenant, supplier, stage, reason, severity, summary, event_count, first_seen, last_seen,
        opened_at, unresolved_at, event_resolved_at, resolved_at, acknowledged_at, muted_at)
    SELECT uuidv7(min(first_seen) - now()), '{TENANT}', 's-' || n % {SUPPLIERS} + 1,
        ({_STAGES})[1 + (n / {SUPPLIERS} + n) % {len(STAGES)}], 'reason_' || (n / {SUPPLIERS} + n * 7) % {REASONS},
        ({_SEVERITIES})[max(severity)], 'error ' || n || ' of a file', sum(events), min(first_seen), max(last_seen), min(first_seen),
        max(last_seen) FILTER (WHERE resolved_at IS NULL), max(resolved_at),
        CASE WHEN n % 4 = 1 THEN max(last_seen) + interval '2 hours' END,
        CASE WHEN n % 7 = 0 THEN max(last_seen) END, CASE WHEN n % 11 = 0 THEN max(last_seen) END
    FROM half_a_year_of, LATERAL (SELECT grouped_as AS n) AS named GROUP BY n
"""
# As services.notifier.investigations.states has it.
_STATES = """
    UPDATE notifier.investigations SET state = CASE
        WHEN coalesce(unresolved_at, '-infinity') <= coalesce(resolved_at, '-infinity') THEN 'resolved'
        WHEN muted_at IS NOT NULL THEN 'muted'
        WHEN acknowledged_at > greatest(resolved_at, event_resolved_at, '-infinity') THEN 'acknowledged'
        WHEN greatest(resolved_at, event_resolved_at) >= first_seen THEN 'reopened'
        ELSE 'open'
    END
"""
_FINGERPRINTS = f"""
    INSERT INTO notifier.fingerprints (id, tenant, fingerprint, investigation_id, supplier, stage, reason, detail, event_count,
        first_seen, first_event_id, summary, severity, last_triggered, last_resolved)
    OVERRIDING SYSTEM VALUE
    SELECT fingerprint, '{TENANT}', 'v1:' || sha256(fingerprint::text::bytea)::text, i.id, i.supplier, i.stage, i.reason,
        'error <n> of a file', events, f.first_seen, 'event-0', i.summary, ({_SEVERITIES})[f.severity], f.last_seen, f.resolved_at
    FROM half_a_year_of f JOIN notifier.investigations i ON i.summary = 'error ' || grouped_as || ' of a file'
    ORDER BY f.first_seen
"""
_KEPT = f"""
    INSERT INTO notifier.investigation_events (fingerprint_id, occurred_at, received_at, tenant, event_id, severity, origin,
        digest, summary, import_id, file, extra)
    SELECT fingerprint, occurred_at, occurred_at + interval '2 seconds', '{TENANT}', 'event-' || n, CAST(severity AS notifier.event_severity),
        CAST(CASE WHEN n % 5 = 0 THEN 'import' ELSE 'api' END AS notifier.event_origin), substr(sha256(n::text::bytea), 1, 16),
        'line ' || n || ' of prices.csv: the price is too low',
        CASE WHEN n % 5 = 0 THEN gen_random_uuid() END, jsonb_build_object('path', '/in/prices-' || n || '.csv', 'rows', n % 10000),
        jsonb_build_object('line', n, 'loader', 'ftp-7')
    FROM half_a_year ORDER BY occurred_at
"""
_EVENT_DAYS = f"""
    INSERT INTO notifier.event_days (fingerprint_id, day, events, last_occurred_at, tenant)
    SELECT fingerprint, (occurred_at AT TIME ZONE 'UTC')::date, count(*), max(occurred_at), '{TENANT}'
    FROM half_a_year GROUP BY 1, 2 ORDER BY 2, 1
"""
_HISTORY = f"""
    INSERT INTO notifier.investigation_history (id, tenant, investigation_id, what, happened_at, recorded_at, actor)
    SELECT uuidv7(happened_at - now()), '{TENANT}', id, what, happened_at, happened_at, actor
    FROM notifier.investigations, LATERAL (VALUES
        ('opened', first_seen, NULL), ('resolved', resolved_at, 'anna'), ('resolved', event_resolved_at, NULL),
        ('acknowledged', acknowledged_at, 'anna'), ('muted', muted_at, 'bert')
    ) AS happened (what, happened_at, actor) WHERE happened_at IS NOT NULL ORDER BY happened_at
"""
_REASONS = f"""
    INSERT INTO notifier.reasons (tenant, code, title, first_seen)
    SELECT '{TENANT}', 'reason_' || n, 'Reason ' || n, now() - interval '{DAYS} days' FROM generate_series(0, {REASONS - 1}) AS n
"""
_DAYS = (
    f"(SELECT (now() AT TIME ZONE 'UTC')::date - back AS day FROM generate_series(1, {DAYS}) AS back) AS days"
)
_FILES = f"""
    INSERT INTO notifier.supplier_files (tenant, id, supplier, day, occurred_at, origin, status, stage, import_id, dataset, path,
        sha256, size, header, rows, rejected, profile)
    SELECT '{TENANT}', 'import:' || import_id, 's-' || n, day, day + interval '6 hours', 'import',
        CASE WHEN (n + day_number) % 50 = 0 THEN 'failed' ELSE 'good' END, 'process', import_id, 'products', 'products.csv',
        encode(sha256((n || ' ' || day)::bytea), 'hex'), 100000 + n, '["sku", "name", "price", "stock_quantity"]', 1000 + n % 50, n % 7,
        '{{"sku": {{"values": 500, "empty": 0, "numbers": 0, "negatives": 0, "formatted": 500, "typical": null, "positives": 0}},
           "price": {{"values": 500, "empty": 0, "numbers": 500, "negatives": 0, "formatted": 500, "typical": 12.5, "positives": 500}}}}'
    FROM generate_series(1, {SUPPLIERS}) AS n, {_DAYS}, LATERAL (
        SELECT extract(doy FROM day)::int AS day_number, md5(n || ' ' || day)::uuid AS import_id
    ) AS named ORDER BY day, n
"""
_ANALYSES = f"""
    INSERT INTO notifier.analyses (tenant, supplier, day, state, bucket, cadence, findings, passed, last_good_day, expected_day)
    SELECT '{TENANT}', 's-' || n, day,
        CASE WHEN odd = 0 THEN 'fail' WHEN odd < 3 THEN 'warn' WHEN odd = 3 THEN 'no_data' ELSE 'passed' END,
        ({_BUCKETS})[1 + n % 5],
        '{{"bucket": "consistent", "good_days": 120, "median_gap": 1.0, "spread": 0.4, "long_gaps": 0.02, "days_since": 1,
           "expected_gap": 1, "basis": "weekday", "weekdays": [1, 2, 3, 4, 5]}}',
        CASE WHEN odd < 3 THEN jsonb_build_array(jsonb_build_object(
            'finding', CASE WHEN odd = 0 THEN 'late' ELSE 'row_count' END, 'state', CASE WHEN odd = 0 THEN 'fail' ELSE 'warn' END,
            'summary', 'a file was expected', 'evidence', jsonb_build_array(jsonb_build_object('expected', day, 'rows', 1000, 'before', 1400))
        )) ELSE '[]' END,
        '{{new_reason,failed_file,reject_rate,header_change}}',
        day - 1, CASE WHEN odd = 0 THEN day - 1 ELSE day + 1 END
    FROM generate_series(1, {SUPPLIERS}) AS n, {_DAYS}, LATERAL (
        SELECT (n + extract(doy FROM day)::int) % 20 AS odd
    ) AS named ORDER BY day, n
"""
_JOBS = f"""
    INSERT INTO notifier.job_runs (tenant, job, logical_date, scheduled, status, attempts, tries, next_attempt_at, started_at, finished_at, result)
    SELECT '{TENANT}', 'daily-analysis', day, true, 'succeeded', 1, 1, NULL, day + interval '1 day', day + interval '25 hours', '{{}}'
    FROM {_DAYS}
"""


def fill(url: str) -> None:
    """Put it all into an empty database. It takes a minute."""
    execute(
        url,
        "SELECT setseed(0.5)",
        *(_SUPPLIERS, _EVENTS, _OF_FINGERPRINTS, _INVESTIGATIONS, _STATES, _FINGERPRINTS, _KEPT, _EVENT_DAYS),
        *(_HISTORY, _REASONS, _FILES, _ANALYSES, _JOBS),
        "DROP TABLE half_a_year, half_a_year_of",
    )
