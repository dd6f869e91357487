"""Writing down what came of attempts, many in one transaction, with what follows from it for deliveries and endpoints."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.delivery import repository
from services.notifier.delivery.attempts import Claimed
from services.notifier.delivery.health import DISABLED_AFTER, Health, Judged, Outcome, judged
from services.notifier.delivery.repository import Recorded
from services.notifier.delivery.schedule import HOLD_TRIES
from shared.contracts.events import EndpointDisabled, EndpointFailing, EventData, event_of
from shared.platform.bus import Publish
from shared.platform.logs import get_logger

BATCH = 200
RETRY_SECONDS = 0.5  # while PostgreSQL is away
# Classes of SQLSTATE by which a value is refused: data exception, integrity constraint violation.
_REFUSED = frozenset({"22", "23"})

log = get_logger(__name__)


class Recorder:
    """Records the attempts of one process, in the order in which they ended.

    While it cannot, they are kept and their places stay taken: so no more is claimed than can be written down.

    Args:
        owner: Whose leases the deliveries have.
        recorded: Called with each attempt that was written down, or was not because its lease was lost.
        ahead: How far time is ahead of the database's.
        scale: Factor on the time for which a circuit stays open.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        owner: int,
        publish: Publish,
        recorded: Callable[[Recorded], None],
        given_back: Callable[[Claimed], None],
        ahead: Callable[[], timedelta],
        scale: float,
    ) -> None:
        self._engine = engine
        self._owner = owner
        self._publish = publish
        self._recorded = recorded
        self._given_back = given_back
        self._ahead = ahead
        self._scale = scale
        self._attempts: list[Recorded] = []
        self._unsent: list[Claimed] = []
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._stopped = False

    @property
    def runs(self) -> bool:
        """Whether what ends is written down."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="notifier.recorder")

    async def stop(self, seconds: float) -> None:
        """Write down what is there, for at most `seconds`. All attempts must have ended."""
        self._stopped = True
        self._something.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def put(self, recorded: Recorded) -> None:
        """An attempt has ended."""
        self._attempts.append(recorded)
        self._something.set()

    def put_back(self, unsent: Iterable[Claimed]) -> None:
        """Deliveries that were claimed are not attempted: somebody else may, later."""
        self._unsent.extend(unsent)
        self._something.set()

    async def _run(self) -> None:
        while not self._stopped:
            await self._something.wait()
            self._something.clear()
            while self._attempts or self._unsent:
                await self._write(self._attempts[:BATCH], self._unsent[:BATCH])

    async def _write(self, attempts: Sequence[Recorded], unsent: Sequence[Claimed]) -> None:
        try:
            await self._store(attempts, unsent)
        except Exception:
            # Whatever it is, the attempts were made and must be written down.
            if not self._failing:  # told once, not at every try
                log.exception("delivery.not_recorded")
            self._failing = True
            await asyncio.sleep(RETRY_SECONDS)

    async def _store(self, attempts: Sequence[Recorded], unsent: Sequence[Claimed]) -> None:
        try:
            await self._commit(attempts, unsent)
        except DBAPIError as error:
            if not _refused(error):
                raise
            # One of them cannot be stored: all others are, and of this one at least that it was made.
            await self._one_by_one(attempts)
        else:
            self._done(attempts, unsent)

    async def _one_by_one(self, attempts: Sequence[Recorded]) -> None:
        for one in attempts:
            for told in (one, _without_answer(one)):
                try:
                    await self._commit([told], [])
                    break
                except DBAPIError as error:
                    if not _refused(error):
                        raise
                    log.exception("delivery.unrecordable", delivery_id=str(one.claimed.id))
            self._done([one], [])

    def _done(self, attempts: Sequence[Recorded], unsent: Sequence[Claimed]) -> None:
        self._failing = False
        del self._attempts[: len(attempts)]
        del self._unsent[: len(unsent)]
        for one in attempts:
            self._recorded(one)
        for claimed in unsent:
            self._given_back(claimed)

    async def _commit(self, attempts: Sequence[Recorded], unsent: Sequence[Claimed]) -> None:
        ahead = self._ahead()
        async with self._engine.begin() as connection:
            if attempts:
                await self._record(connection, attempts, ahead)
            if unsent:
                ids = [claimed.id for claimed in unsent]
                await repository.give_back(connection, ids, owner=self._owner, ahead=ahead)

    async def _record(
        self, connection: AsyncConnection, attempts: Sequence[Recorded], ahead: timedelta
    ) -> None:
        told = {_endpoint(one) for one in attempts if one.claimed.troubled or not one.attempt.succeeded}
        moving = [one for one in attempts if one.claimed.ordered and _lets_go(one)]
        locked = told | {_endpoint(one) for one in moving}
        there = await repository.lock_endpoints(connection, locked) if locked else set()
        if others := {_endpoint(one) for one in attempts} - locked:
            await repository.keep_endpoints(connection, others)
        if told & there:
            await self._judge(connection, told & there, attempts, ahead)
        written = await repository.record(connection, attempts, owner=self._owner, ahead=ahead)
        if moving:
            await repository.release_next(connection, [one.claimed.id for one in moving], ahead)
        for one in attempts:
            _report(one, written=one.claimed.id in written)

    async def _judge(
        self,
        connection: AsyncConnection,
        endpoint_ids: set[UUID],
        attempts: Sequence[Recorded],
        ahead: timedelta,
    ) -> None:
        known = await repository.healths(connection, endpoint_ids)
        now = await repository.now(connection, ahead)
        for endpoint_id in sorted(endpoint_ids):
            mine = [one for one in attempts if _endpoint(one) == endpoint_id]
            outcomes = [Outcome(one.attempt, one.claimed.probe) for one in mine if _tells(one)]
            before = known.get(endpoint_id, Health())
            verdict = judged(before, outcomes, now, scale=self._scale)
            tenant = mine[0].claimed.destination.tenant
            if verdict.health != before:
                await repository.set_health(connection, endpoint_id, tenant, verdict.health)
            if told := await _news(connection, endpoint_id, verdict):
                event = event_of(told, tenant=tenant, subject=endpoint_id, service="notifier")
                await self._publish(connection, event)


def _refused(error: DBAPIError) -> bool:
    """Whether it is what was to be stored that is wrong. (SQLAlchemy has no DataError of asyncpg's.)"""
    return (getattr(error.orig, "sqlstate", None) or "")[:2] in _REFUSED


def _without_answer(recorded: Recorded) -> Recorded:
    error = "internal error: what came back could not be written down"
    return replace(recorded, attempt=replace(recorded.attempt, response_body=None, error=error))


def _endpoint(recorded: Recorded) -> UUID:
    return recorded.claimed.destination.endpoint_id


def _lets_go(recorded: Recorded) -> bool:
    """Whether it holds up others no longer."""
    return recorded.verdict.status != "pending" or recorded.claimed.tries + 1 >= HOLD_TRIES


def _tells(recorded: Recorded) -> bool:
    """Whether an attempt says something of its endpoint: that somebody tries a broken one is no news."""
    return recorded.attempt.succeeded or not recorded.claimed.test


async def _news(connection: AsyncConnection, endpoint_id: UUID, verdict: Judged) -> EventData | None:
    """Disable the endpoint if that is the verdict; the event that its owner is told it by, or of which he is warned."""
    health, last = verdict.health, verdict.last
    if last is None or health.failing_since is None or not (verdict.disabled or verdict.warning):
        return None
    if verdict.disabled:
        row = await repository.disable_endpoint(connection, endpoint_id, verdict.disabled)
    else:
        row = await repository.described(connection, endpoint_id)
    if row is None:
        return None
    common = {
        "endpoint_id": endpoint_id,
        "url": row.url,
        "description": row.description,
        "failures": health.failures,
        "failing_since": health.failing_since,
        "response_status": last.response_status,
        "error": last.error,
    }
    if verdict.disabled:
        return EndpointDisabled(reason=verdict.disabled, disabled_at=row.disabled_at, **common)
    disabled_at = health.failing_since + DISABLED_AFTER
    return EndpointFailing(percent=verdict.warning or 0, disabled_at=disabled_at, **common)


def _report(recorded: Recorded, *, written: bool) -> None:
    claimed, attempt = recorded.claimed, recorded.attempt
    report = log.debug if attempt.succeeded and written else log.info
    report(
        "delivery.attempted" if written else "delivery.lease_lost",
        delivery_id=str(claimed.id),
        endpoint_id=str(claimed.destination.endpoint_id),
        number=claimed.attempts_made + 1,
        status=recorded.verdict.status,
        response_status=attempt.response_status,
        latency_ms=attempt.latency_ms,
        error=attempt.error,
    )
