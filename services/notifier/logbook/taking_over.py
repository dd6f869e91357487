"""An event that a pipeline reports takes the place of the same one that was backfilled from ClickHouse before."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.grouping import Reported
from services.notifier.logbook.matching import SAME_WITHIN, Sighting, matched

_NEAR = """
    SELECT e.event_id, e.occurred_at FROM notifier.investigation_events e
    WHERE e.fingerprint_id = f.id AND e.tenant = :tenant AND e.origin = 'clickhouse' AND NOT e.resolves
        AND {between} ORDER BY e.occurred_at {order} LIMIT r.number
"""
_WITHIN = f"interval '{SAME_WITHIN.total_seconds()} s'"
_AFTER = _NEAR.format(
    between=f"e.occurred_at BETWEEN r.occurred_at AND r.occurred_at + {_WITHIN}", order="ASC"
)
_BEFORE = _NEAR.format(
    between=f"e.occurred_at >= r.occurred_at - {_WITHIN} AND e.occurred_at < r.occurred_at", order="DESC"
)
# Of each moment on both sides as many of the nearest as `matched` looks at, however many there are.
_BACKFILLED = text(f"""
    SELECT DISTINCT near.event_id, f.supplier, f.reason, near.occurred_at
    FROM unnest(CAST(:suppliers AS text[]), CAST(:reasons AS text[]), CAST(:times AS timestamptz[]),
        CAST(:numbers AS bigint[])) AS r (supplier, reason, occurred_at, number)
    JOIN notifier.fingerprints f ON f.tenant = :tenant AND f.supplier = r.supplier AND f.reason = r.reason
    CROSS JOIN LATERAL (({_AFTER}) UNION ALL ({_BEFORE})) AS near
""")  # noqa: S608 - text of this module

_REMOVE = text("""
    DELETE FROM notifier.investigation_events WHERE tenant = :tenant AND event_id = ANY(CAST(:event_ids AS text[]))
    RETURNING fingerprint_id, event_id, occurred_at
""")

# Events that are older than they are kept for count, though they are gone: what only they could say stays as it was.
_COUNT_FEWER = text("""
    WITH gone AS (
        SELECT fingerprint_id, count(*) AS events, array_agg(event_id) AS event_ids
        FROM unnest(CAST(:fingerprint_ids AS bigint[]), CAST(:event_ids AS text[])) AS g (fingerprint_id, event_id)
        GROUP BY fingerprint_id
    )
    UPDATE notifier.fingerprints f SET
        event_count = f.event_count - gone.events,
        (first_seen, first_event_id, summary) = (
            SELECT at, id, summary FROM (
                SELECT 0, f.first_seen, f.first_event_id, f.summary WHERE f.first_event_id <> ALL (gone.event_ids)
                UNION ALL (
                    SELECT 1, e.occurred_at, e.event_id, e.summary FROM notifier.investigation_events e
                    WHERE e.fingerprint_id = f.id AND NOT e.resolves ORDER BY e.occurred_at, e.event_id COLLATE "C" LIMIT 1
                )
                UNION ALL SELECT 2, f.first_seen, f.first_event_id, f.summary
            ) AS first (choice, at, id, summary) WHERE f.event_count > gone.events ORDER BY choice LIMIT 1
        ),
        last_triggered = CASE WHEN f.event_count > gone.events THEN coalesce((
            SELECT max(e.occurred_at) FROM notifier.investigation_events e WHERE e.fingerprint_id = f.id AND NOT e.resolves
        ), f.last_triggered) END,
        severity = CASE WHEN f.event_count > gone.events THEN coalesce((
            SELECT CAST(max(e.severity) AS text) FROM notifier.investigation_events e
            WHERE e.fingerprint_id = f.id AND NOT e.resolves
        ), f.severity) END
    FROM gone WHERE f.tenant = :tenant AND f.id = gone.fingerprint_id
""")

_COUNT_FEWER_A_DAY = text("""
    WITH gone AS (
        SELECT fingerprint_id, day, count(*) AS events
        FROM unnest(CAST(:fingerprint_ids AS bigint[]), CAST(:days AS date[])) AS g (fingerprint_id, day) GROUP BY 1, 2
    ), empty AS (
        DELETE FROM notifier.event_days d USING gone
        WHERE d.tenant = :tenant AND d.fingerprint_id = gone.fingerprint_id AND d.day = gone.day AND d.events = gone.events
    )
    UPDATE notifier.event_days d SET
        events = d.events - gone.events,
        last_occurred_at = coalesce((
            SELECT max(e.occurred_at) FROM notifier.investigation_events e
            WHERE e.fingerprint_id = d.fingerprint_id AND NOT e.resolves
                AND e.occurred_at >= d.day::timestamp AT TIME ZONE :zone
                AND e.occurred_at < (d.day + 1)::timestamp AT TIME ZONE :zone
        ), d.last_occurred_at)
    FROM gone
    WHERE d.tenant = :tenant AND d.fingerprint_id = gone.fingerprint_id AND d.day = gone.day AND d.events > gone.events
""")


async def take_over(
    connection: AsyncConnection, tenant: str, reported: Iterable[Reported], zone: ZoneInfo
) -> Mapping[int, Sequence[datetime]]:
    """Remove the backfilled events that these are, one for each at most: their times, by the fingerprint that has lost them.

    Their counts, also by day, are right again; the investigations are not yet derived from them.
    """
    sightings = [
        Sighting(event.event_id, event.supplier, event.reason, event.occurred_at)
        for event in reported
        if event.origin == "api" and not event.resolves and event.supplier is not None
    ]
    twice = list(matched(sightings, await _backfilled(connection, tenant, sightings)).values())
    if not twice:
        return {}
    gone = (await connection.execute(_REMOVE, {"tenant": tenant, "event_ids": twice})).all()
    values = {
        "tenant": tenant,
        "fingerprint_ids": [row.fingerprint_id for row in gone],
        "event_ids": [row.event_id for row in gone],
    }
    await connection.execute(_COUNT_FEWER, values)
    days = [row.occurred_at.astimezone(zone).date() for row in gone]
    of_days = {"tenant": tenant, "fingerprint_ids": values["fingerprint_ids"], "days": days, "zone": zone.key}
    await connection.execute(_COUNT_FEWER_A_DAY, of_days)
    lost: defaultdict[int, list[datetime]] = defaultdict(list)
    for row in gone:
        lost[row.fingerprint_id].append(row.occurred_at)
    return lost


async def _backfilled(
    connection: AsyncConnection, tenant: str, sightings: Sequence[Sighting]
) -> list[Sighting]:
    if not sightings:
        return []
    of_kind = Counter((one.supplier, one.reason) for one in sightings)
    moments = {(one.supplier, one.reason, one.occurred_at) for one in sightings}
    values = {
        "tenant": tenant,
        "suppliers": [supplier for supplier, _, _ in moments],
        "reasons": [reason for _, reason, _ in moments],
        "times": [at for _, _, at in moments],
        "numbers": [of_kind[supplier, reason] for supplier, reason, _ in moments],
    }
    return [
        Sighting(row.event_id, row.supplier, row.reason, row.occurred_at)
        for row in await connection.execute(_BACKFILLED, values)
    ]
