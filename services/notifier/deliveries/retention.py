"""Forgetting what is old, some thousand rows in a transaction, so that nobody waits for long."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Interval, TextClause, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.platform.retention import Rule

STEP = 2000
_RETENTION = bindparam("retention", type_=Interval())

# By the id, which is a UUIDv7: the primary key is in order of time. `after` is where the step before ended, as what is
# pending among them stays. Their attempts go with them.
_FINISHED = text("""
    WITH old AS (
        SELECT id FROM notifier.deliveries
        WHERE id > :after AND id < (SELECT uuidv7(-:retention)) AND status <> 'pending'
        ORDER BY id LIMIT :step FOR UPDATE SKIP LOCKED
    )
    DELETE FROM notifier.deliveries d USING old WHERE d.id = old.id RETURNING d.id
""").bindparams(_RETENTION, bindparam("after", type_=Uuid()))

_COUNT = text("""
    SELECT (
        SELECT count(*) FROM notifier.deliveries WHERE id < (SELECT uuidv7(-:retention)) AND status <> 'pending'
    ) + (
        SELECT count(*) FROM notifier.deliveries d JOIN notifier.endpoints e ON e.id = d.endpoint_id
        WHERE NOT e.enabled AND e.disabled_at < now() - :retention AND d.status = 'pending'
    )
""").bindparams(_RETENTION)
_GIVEN_UP = text("""
    SELECT id FROM notifier.endpoints
    WHERE NOT enabled AND disabled_at < now() - :retention
        AND EXISTS (SELECT FROM notifier.deliveries WHERE endpoint_id = endpoints.id AND status = 'pending')
    ORDER BY id
""").bindparams(_RETENTION)
# The last ones first: if somebody enables the endpoint in between, none is left that one holds which is gone.
_PENDING = text("""
    WITH endpoint AS (
        SELECT id FROM notifier.endpoints
        WHERE id = :endpoint_id AND NOT enabled AND disabled_at < now() - :retention
        FOR NO KEY UPDATE
    ), old AS (
        SELECT d.id FROM notifier.deliveries d JOIN endpoint ON endpoint.id = d.endpoint_id
        WHERE d.status <> 'succeeded' AND d.status = 'pending'  -- the first as the index has it
        ORDER BY d.sequence DESC LIMIT :step
    )
    DELETE FROM notifier.deliveries d USING old WHERE d.id = old.id RETURNING d.id
""").bindparams(_RETENTION)

_MESSAGES = text("""
    DELETE FROM notifier.messages WHERE id IN (
        SELECT id FROM notifier.messages m
        WHERE created_at < now() - :retention
            AND NOT EXISTS (SELECT FROM notifier.deliveries d WHERE d.message_id = m.id)
        ORDER BY created_at LIMIT :step FOR UPDATE SKIP LOCKED
    ) RETURNING id
""").bindparams(_RETENTION)
_EXPANSIONS = text("""
    DELETE FROM notifier.expansions WHERE import_id IN (
        SELECT import_id FROM notifier.expansions
        WHERE updated_at < now() - :retention LIMIT :step FOR UPDATE SKIP LOCKED
    ) RETURNING import_id
""").bindparams(_RETENTION)


def rule(engine: AsyncEngine, days: int) -> Rule:
    """That deliveries go after `days`, with their attempts, and then the messages that none has any more, and how far imports were told.

    These are finished ones, and those still pending of an endpoint that was disabled so long ago. They are what is counted.
    """

    async def count(age: timedelta) -> int:
        async with engine.connect() as connection:
            return int((await connection.execute(_COUNT, {"retention": age})).scalar_one())

    async def forget(age: timedelta) -> int:
        removed = await _deliveries(engine, age)
        for statement in (_MESSAGES, _EXPANSIONS):
            await _step_by_step(engine, statement, retention=age)
        return removed

    return Rule("deliveries of webhooks", "PENSTOCK_WEBHOOK_RETENTION_DAYS", days, count, forget)


async def _deliveries(engine: AsyncEngine, retention: timedelta) -> int:
    removed = await _finished(engine, retention)
    async with engine.begin() as connection:
        given_up = list(await connection.scalars(_GIVEN_UP, {"retention": retention}))
    for endpoint_id in given_up:
        removed += await _step_by_step(engine, _PENDING, retention=retention, endpoint_id=endpoint_id)
    return removed


async def _finished(engine: AsyncEngine, retention: timedelta) -> int:
    removed, after = 0, UUID(int=0)
    while ids := await _step(engine, _FINISHED, retention=retention, after=after):
        removed, after = removed + len(ids), max(ids)
    return removed


async def _step_by_step(engine: AsyncEngine, statement: TextClause, **parameters: Any) -> int:
    removed = 0
    while ids := await _step(engine, statement, **parameters):
        removed += len(ids)
    return removed


async def _step(engine: AsyncEngine, statement: TextClause, **parameters: Any) -> Sequence[UUID]:
    async with engine.begin() as connection:
        return list(await connection.scalars(statement, {**parameters, "step": STEP}))
