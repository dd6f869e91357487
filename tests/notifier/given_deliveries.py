"""Deliveries of an endpoint as they are some time after an event: made by hand, in any state and of any age."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

MADE = """
    WITH endpoint AS (
        UPDATE notifier.endpoints SET last_sequence = last_sequence + 1 WHERE id = $1
        RETURNING id, tenant, last_sequence
    ), message AS (
        INSERT INTO notifier.messages (tenant, event_id, part, event_type, body, created_at)
        SELECT tenant, uuidv7(), 0, $2, $3, now() - $4::interval FROM endpoint RETURNING *
    )
    INSERT INTO notifier.deliveries (
        id, tenant, endpoint_id, message_id, event_id, event_type, sequence, created_at, status, finished_at,
        ordered_by, held, tries, attempts_made, next_attempt_at, lease_owner, leased_until, test
    )
    SELECT uuidv7(-$4::interval), e.tenant, e.id, m.id, m.event_id, m.event_type, e.last_sequence, m.created_at, $5,
        CASE WHEN $5 <> 'pending' THEN now() END, $6, $7, $8, $8,
        CASE WHEN $5 = 'pending' THEN now() + $9::interval END,
        CASE WHEN $10 THEN 4711 END, CASE WHEN $10 THEN now() + $9::interval END, $11
    FROM endpoint e, message m
    RETURNING id, sequence
"""
ATTEMPTED = """
    INSERT INTO notifier.attempts (delivery_id, number, attempted_at, latency_ms, response_status, response_body)
    SELECT $1, number, now(), 7, 500, $3 FROM generate_series(1, $2) number
"""


@dataclass(frozen=True)
class Made:
    id: UUID
    sequence: int


async def made(
    database: Any,
    webhook: Any,
    *,
    event_type: str = "import.completed",
    body: bytes | None = None,
    age: timedelta = timedelta(),
    status: str = "succeeded",
    ordered_by: UUID | None = None,
    held: bool = False,
    tries: int = 0,
    due_in: timedelta = timedelta(),
    leased: bool = False,
    test: bool = False,
    response: str = "no",
) -> Made:
    """The next delivery of the endpoint `webhook`, as the API shows it."""
    body = body or json.dumps({"type": event_type, "timestamp": "2026-03-01T12:00:00Z", "data": {}}).encode()
    row = await database.fetchrow(
        MADE,
        UUID(webhook["id"]),
        event_type,
        body,
        age,
        status,
        ordered_by,
        held,
        tries,
        due_in,
        leased,
        test,
    )
    await database.execute(ATTEMPTED, row["id"], tries, response)
    return Made(**row)
