"""Forgetting what is old, some thousand rows in a transaction, so that nobody waits for long."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Interval, TextClause, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.platform.logs import get_logger
from shared.platform.retention import Rule
from shared.platform.service import Stopping

STEP = 2000
PURGE_SECONDS = 3600.0
INBOX_KEPT = 3650  # days; of whom another rule forgets
FIRST_SECONDS = 60.0  # soon after a start, and not in the midst of it
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
    SELECT count(*) FROM notifier.deliveries WHERE id < (SELECT uuidv7(-:retention)) AND status <> 'pending'
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
_INBOX = text("""
    DELETE FROM notifier.inbox i USING (
        SELECT queue, event_id FROM notifier.inbox
        WHERE handled_at < now() - :retention
        ORDER BY handled_at LIMIT :step FOR UPDATE SKIP LOCKED
    ) old
    WHERE i.queue = old.queue AND i.event_id = old.event_id RETURNING i.event_id
""").bindparams(_RETENTION)
_EXPANSIONS = text("""
    DELETE FROM notifier.expansions WHERE import_id IN (
        SELECT import_id FROM notifier.expansions
        WHERE updated_at < now() - :retention LIMIT :step FOR UPDATE SKIP LOCKED
    ) RETURNING import_id
""").bindparams(_RETENTION)


log = get_logger(__name__)


class Retention:
    """Purges now and then until the process stops. Any number of processes may do so side by side."""

    def __init__(
        self, engine: AsyncEngine, stopping: Stopping, *, days: int, event_days: int | None = None
    ) -> None:
        self._engine = engine
        self._stopping = stopping
        self._days = days
        self._event_days = event_days
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="notifier.retention")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        seconds = FIRST_SECONDS
        while not await self._stopping.wait(seconds):
            try:
                if removed := await purge(self._engine, self._days, event_days=self._event_days):
                    log.info("retention.purged", rows=removed)
            except Exception as error:  # noqa: BLE001 - what is old may be removed an hour later
                log.warning("retention.not_purged", error=repr(error))
            seconds = PURGE_SECONDS


async def purge(engine: AsyncEngine, days: int, *, event_days: int | None = None) -> int:
    """Remove what is older than `days`: how many rows, attempts not counted.

    That is finished deliveries with their attempts; those still pending of an endpoint that was disabled so long ago;
    messages that no delivery has any more; how far imports were told; and which events were handled, after `event_days`
    unless that is None.
    """
    retention = timedelta(days=days)
    removed = await _finished(engine, retention)
    async with engine.begin() as connection:
        given_up = list(await connection.scalars(_GIVEN_UP, {"retention": retention}))
    for endpoint_id in given_up:
        removed += await _step_by_step(engine, _PENDING, retention=retention, endpoint_id=endpoint_id)
    for statement in (_MESSAGES, _EXPANSIONS):
        removed += await _step_by_step(engine, statement, retention=retention)
    handled = timedelta(days=days if event_days is None else event_days)
    return removed + await _step_by_step(engine, _INBOX, retention=handled)


def rule(engine: AsyncEngine, days: int) -> Rule:
    """The same as a rule, but for what was handled, which has a rule of its own."""

    async def count(age: timedelta) -> int:
        async with engine.connect() as connection:
            return int((await connection.execute(_COUNT, {"retention": age})).scalar_one())

    async def forget(age: timedelta) -> int:
        return await purge(engine, age.days, event_days=INBOX_KEPT)

    return Rule("deliveries of webhooks", "PENSTOCK_WEBHOOK_RETENTION_DAYS", days, count, forget)


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
