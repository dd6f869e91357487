"""A message becomes a delivery for each webhook endpoint that asked for it, numbered without gaps, in the caller's transaction.

Who adds deliveries to an endpoint has its row locked (FOR NO KEY UPDATE) until it commits, so that the numbers have no
gaps and come in the order of commits. Endpoints are locked in the order of their ids.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    DateTime,
    Integer,
    Interval,
    LargeBinary,
    Text,
    TextClause,
    Uuid,
    bindparam,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.delivery.schedule import HOLD_TRIES
from services.notifier.messages.event_types import patterns_for
from shared.contracts.events import AnyEvent

# What an endpoint that is disabled for longer would be sent is not kept any more.
RETENTION = timedelta(days=30)


@dataclass(frozen=True)
class Message:
    """What is to be told.

    Attributes:
        tenant: To whose endpoints.
        event_id: Of the event that it tells.
        body: A payload.
        part: Its number among the messages of its event, from 0; or among the batches of its import, from 1.
        dataset: What it is about; None: what an endpoint says of datasets does not matter.
        ordered_by: What has the same is sent one by one, in order. None: it may be sent at once.
        other_than: An endpoint that is not told.
        happened_at: The time of its event.
        traceparent: The trace of its event, which each attempt goes on with.
    """

    tenant: str
    event_id: UUID
    event_type: str
    body: bytes = field(repr=False)
    part: int = 0
    dataset: str | None = None
    ordered_by: UUID | None = None
    other_than: UUID | None = None
    happened_at: datetime | None = None
    traceparent: str | None = None

    @classmethod
    def of(cls, event: AnyEvent, event_type: str, body: bytes, **further: Any) -> Self:
        """What tells `event`; `further`: other attributes."""
        return cls(
            event.tenant,
            event.id,
            event_type,
            body,
            happened_at=event.time,
            traceparent=event.traceparent,
            **further,
        )


@dataclass(frozen=True)
class Stored:
    """A message that is in `notifier.messages`, and the dataset that it is about, if any."""

    id: UUID
    event_type: str
    dataset: str | None


_SUBSCRIBED = """
    FROM notifier.endpoints e
    WHERE e.tenant = ANY (:tenants) AND e.event_types && :patterns
        AND (e.enabled OR e.disabled_at > now() - :retention)
    ORDER BY e.id FOR NO KEY UPDATE
"""

# Of each endpoint, which messages it asked for, with their places among them.
_WANTED = f"""
    subscribed AS (
        SELECT e.id, e.tenant, e.event_types, e.datasets, e.enabled, e.last_sequence {_SUBSCRIBED}
    ), asked AS (
        SELECT s.id, a.event_type FROM subscribed s JOIN unnest(:of_types, :patterns) AS a (event_type, pattern)
            ON a.pattern = ANY (s.event_types)
        GROUP BY 1, 2
    ), wanted AS (
        SELECT s.id AS endpoint_id, s.tenant, s.enabled, s.last_sequence, t.id AS message_id, t.event_id, t.event_type,
            t.ordered_by, row_number() OVER (PARTITION BY s.id ORDER BY t.nth) AS place,
            row_number() OVER (PARTITION BY s.id, t.ordered_by ORDER BY t.nth) AS place_in_order
        FROM told t JOIN asked a ON a.event_type = t.event_type JOIN subscribed s ON s.id = a.id
        WHERE s.tenant = t.tenant AND s.id IS DISTINCT FROM t.other_than
            AND (t.dataset IS NULL OR s.datasets IS NULL OR t.dataset = ANY (s.datasets))
    )
"""  # noqa: S608 - text of this module

_DELIVERED = f"""
    numbered AS (
        UPDATE notifier.endpoints e SET last_sequence = e.last_sequence + w.added
        FROM (SELECT endpoint_id, count(*) AS added FROM wanted GROUP BY 1) w WHERE e.id = w.endpoint_id
    ), before AS (
        SELECT o.endpoint_id, o.ordered_by, EXISTS (
            SELECT FROM notifier.deliveries d
            WHERE d.endpoint_id = o.endpoint_id AND d.ordered_by = o.ordered_by AND d.status = 'pending'
                AND (d.held OR d.tries < {HOLD_TRIES})
        ) AS waits
        FROM (SELECT DISTINCT endpoint_id, ordered_by FROM wanted WHERE enabled AND ordered_by IS NOT NULL) o
    )
    INSERT INTO notifier.deliveries (tenant, endpoint_id, message_id, event_id, event_type, sequence, ordered_by, held,
        status, next_attempt_at, finished_at)
    SELECT w.tenant, w.endpoint_id, w.message_id, w.event_id, w.event_type, w.last_sequence + w.place, w.ordered_by,
        b.endpoint_id IS NOT NULL AND (b.waits OR w.place_in_order > 1),
        CASE WHEN w.enabled THEN 'pending' ELSE 'skipped' END,
        CASE WHEN w.enabled THEN now() END, CASE WHEN NOT w.enabled THEN now() END
    FROM wanted w LEFT JOIN before b ON b.endpoint_id = w.endpoint_id AND b.ordered_by = w.ordered_by
    ORDER BY w.endpoint_id, w.place
"""  # noqa: S608 - a number, and text of this module

_TYPES: dict[str, Any] = {
    "tenants": ARRAY(Text()),
    "patterns": ARRAY(Text()),
    "of_types": ARRAY(Text()),
    "retention": Interval(),
    "others": ARRAY(Uuid()),
    "orders": ARRAY(Uuid()),
    "ordered_by": Uuid(),
    "events": ARRAY(Uuid()),
    "event_id": Uuid(),
    "tenant": Text(),
    "of_tenants": ARRAY(Text()),
    "ids": ARRAY(Uuid()),
    "types": ARRAY(Text()),
    "about": ARRAY(Text()),
    "parts": ARRAY(Integer()),
    "bodies": ARRAY(LargeBinary()),
    "moments": ARRAY(DateTime(timezone=True)),
    "traces": ARRAY(Text()),
}


def _statement(sql: str) -> TextClause:
    named = [bindparam(name, type_=kind) for name, kind in _TYPES.items() if re.search(rf":{name}\b", sql)]
    return text(sql).bindparams(*named)


_LOCK = _statement(f"SELECT e.id {_SUBSCRIBED}")

# uuidv7 is volatile, so that the messages have their ids before anything is made of them.
_FAN_OUT = _statement(f"""
    WITH told AS (
        SELECT uuidv7() AS id, t.*
        FROM unnest(:of_tenants, :events, :types, :about, :orders, :others, :parts, :bodies, :moments, :traces)
            WITH ORDINALITY AS t (tenant, event_id, event_type, dataset, ordered_by, other_than, part, body,
                happened_at, traceparent, nth)
    ), {_WANTED}, made AS (
        INSERT INTO notifier.messages (id, tenant, event_id, part, event_type, body, happened_at, traceparent)
        SELECT id, tenant, event_id, part, event_type, body, happened_at, traceparent
        FROM told WHERE id IN (SELECT message_id FROM wanted)
    ), {_DELIVERED}
""")  # noqa: S608 - text of this module

_DELIVER = _statement(f"""
    WITH told AS (
        SELECT t.*, CAST(:tenant AS text) AS tenant, CAST(:event_id AS uuid) AS event_id,
            CAST(:ordered_by AS uuid) AS ordered_by, NULL::uuid AS other_than
        FROM unnest(:ids, :types, :about) WITH ORDINALITY AS t (id, event_type, dataset, nth)
    ), {_WANTED}, {_DELIVERED}
""")  # noqa: S608 - text of this module

_ADD = _statement("""
    INSERT INTO notifier.messages (tenant, event_id, part, event_type, body, happened_at, traceparent)
    SELECT t.* FROM unnest(:of_tenants, :events, :parts, :types, :bodies, :moments, :traces)
        AS t (tenant, event_id, part, event_type, body, happened_at, traceparent)
    ORDER BY part
    RETURNING id, part
""")


async def fan_out(
    connection: AsyncConnection, messages: Sequence[Message], *, retention: timedelta = RETENTION
) -> int:
    """Make deliveries of `messages` for the endpoints of their tenants that asked for them: how many.

    Args:
        messages: In the order in which they are to be sent.
        retention: An endpoint that has been disabled for longer gets nothing.
    """
    if not messages:
        return 0
    types = [message.event_type for message in messages]
    parameters = _of_subscribers({message.tenant for message in messages}, types, retention) | {
        **_columns(messages),
        "about": [message.dataset for message in messages],
        "orders": [message.ordered_by for message in messages],
        "others": [message.other_than for message in messages],
    }
    ordered = any(message.ordered_by is not None for message in messages)
    if ordered and not await _lock(connection, parameters):
        return 0
    return (await connection.execute(_FAN_OUT, parameters)).rowcount


async def add_messages(connection: AsyncConnection, messages: Sequence[Message]) -> list[Stored]:
    """Store messages, each another part, of which `deliver` is to make deliveries."""
    ids = {row.part: row.id for row in await connection.execute(_ADD, _columns(messages))}
    return [Stored(ids[message.part], message.event_type, message.dataset) for message in messages]


async def deliver(
    connection: AsyncConnection,
    *,
    tenant: str,
    event_id: UUID,
    stored: Sequence[Stored],
    ordered_by: UUID,
    retention: timedelta = RETENTION,
) -> int:
    """`fan_out` of messages that are stored already. From now to its end the transaction holds up all that concerns the endpoints."""
    types = [message.event_type for message in stored]
    parameters = _of_subscribers({tenant}, types, retention) | {
        "tenant": tenant,
        "event_id": event_id,
        "ordered_by": ordered_by,
        "ids": [message.id for message in stored],
        "types": types,
        "about": [message.dataset for message in stored],
    }
    if not await _lock(connection, parameters):
        return 0
    return (await connection.execute(_DELIVER, parameters)).rowcount


def _columns(messages: Sequence[Message]) -> dict[str, Any]:
    """What is stored of them."""
    return {
        "of_tenants": [message.tenant for message in messages],
        "events": [message.event_id for message in messages],
        "parts": [message.part for message in messages],
        "types": [message.event_type for message in messages],
        "bodies": [message.body for message in messages],
        "moments": [message.happened_at for message in messages],
        "traces": [message.traceparent for message in messages],
    }


def _of_subscribers(tenants: Iterable[str], types: Iterable[str], retention: timedelta) -> dict[str, Any]:
    pairs = [(name, pattern) for name in dict.fromkeys(types) for pattern in patterns_for(name)]
    return {
        "tenants": sorted(tenants),
        "of_types": [name for name, _ in pairs],
        "patterns": [pattern for _, pattern in pairs],
        "retention": retention,
    }


async def _lock(connection: AsyncConnection, parameters: dict[str, Any]) -> bool:
    """Lock the endpoints; whether there are any.

    A statement of its own: only the next one sees what those have committed who had the locks before, and so which
    deliveries wait for which.
    """
    wanted = {name: parameters[name] for name in ("tenants", "patterns", "retention")}
    return bool((await connection.execute(_LOCK, wanted)).all())
