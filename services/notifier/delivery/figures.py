"""How much of what is to be sent waits too long."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.platform.telemetry.figures import DELIVERIES_PAST_DUE, DELIVERIES_PAST_DUE_SECONDS, Sample

COUNTED = 10_000  # at most of each endpoint: whether there are more makes no difference

# What an open circuit or a rate limit holds back is late by intent, and due when that ends. By endpoint, as the index has it.
_PAST_DUE = text("""
    SELECT coalesce(sum(due.number), 0) AS number, coalesce(max(due.seconds), 0)::float8 AS seconds
    FROM notifier.endpoints e
    LEFT JOIN notifier.endpoint_health h ON h.endpoint_id = e.id
    CROSS JOIN LATERAL (
        SELECT count(*) AS number,
            EXTRACT(epoch FROM now() - greatest(min(next_attempt_at), h.probe_at, h.paced_to)) AS seconds
        FROM (
            SELECT next_attempt_at FROM notifier.deliveries
            WHERE endpoint_id = e.id AND status = 'pending' AND NOT held AND next_attempt_at <= now()
            ORDER BY next_attempt_at LIMIT :most
        ) AS first
        HAVING count(*) > 0
    ) AS due
    WHERE e.enabled AND coalesce(h.probe_at, '-infinity') <= now() AND coalesce(h.paced_to, '-infinity') <= now()
""").bindparams(most=COUNTED)


async def past_due(connection: AsyncConnection) -> Sequence[Sample]:
    """How many deliveries are due and not taken up, and since when the first of them is."""
    row = (await connection.execute(_PAST_DUE)).one()
    return [DELIVERIES_PAST_DUE.of(row.number), DELIVERIES_PAST_DUE_SECONDS.of(row.seconds)]
