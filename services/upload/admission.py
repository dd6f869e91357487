"""Admission: who may begin an upload now, and what is noted of it until it is an import or nothing is left of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.upload import idempotency
from services.upload import repository_admission as noted
from services.upload.limits import WINDOW, Limits, Quota, Sizes, quota_of
from shared.contracts.problems import TooManyRequests, Unavailable
from shared.platform.auth import Principal
from shared.platform.logs import get_logger

RETRY_OPEN_SECONDS = 10  # imports end every few seconds, or they are large

log = get_logger(__name__)


@dataclass(frozen=True)
class Entry:
    """An upload that may go on.

    Attributes:
        import_id: Of the import that it will be.
        sizes: How large the tenant's files may be.
        slot: What it took of the tenant's uploads a minute.
        key: Its idempotency key.
        quota: Where the tenant stands with it.
    """

    import_id: UUID
    caller: Principal
    sizes: Sizes
    imports_at_once: int
    slot: datetime | None = None
    key: str | None = None
    quota: Quota | None = None

    @property
    def object_key(self) -> str:
        """Where its file goes in the store."""
        return f"uploads/{self.import_id}"


@dataclass(frozen=True)
class Earlier:
    """A request with this idempotency key was answered before."""

    fingerprint: str
    answer: dict[str, Any]
    sizes: Sizes


class Admission:
    """The gate of one process. `owner` is the process's lock key (`Presence.instance`)."""

    def __init__(self, engine: AsyncEngine, *, owner: int, defaults: Limits) -> None:
        self._engine = engine
        self._defaults = defaults
        self.owner = owner
        self.in_hand: set[UUID] = set()

    async def enter(self, caller: Principal, key: str | None) -> Entry | Earlier:
        """Let an upload begin: it counts towards the tenant's limits, and what it may leave behind is noted.

        Raises:
            TooManyRequests: `rate_limited`, `too_many_imports`.
            Conflict: `idempotency_key_in_progress`.
        """
        import_id = uuid4()
        self.in_hand.add(import_id)
        try:
            async with self._engine.begin() as connection:
                return await self._enter(connection, caller, key, import_id)
        except BaseException:
            self.in_hand.discard(import_id)
            raise

    async def _enter(
        self, connection: AsyncConnection, caller: Principal, key: str | None, import_id: UUID
    ) -> Entry | Earlier:
        limits = await self.limits_of(connection, caller.tenant)
        if key is not None:
            claim = await noted.claim_key(
                connection, caller.tenant, key, import_id=import_id, owner=self.owner, kept=idempotency.KEPT
            )
            if claim.fingerprint is not None and claim.answer is not None:
                self.in_hand.discard(import_id)
                return Earlier(claim.fingerprint, claim.answer, limits.sizes)
            if not claim.is_ours:
                raise idempotency.in_progress()
        slot, quota = await self._take_slot(connection, caller.tenant, limits)
        entry = Entry(import_id, caller, limits.sizes, limits.imports_at_once, slot, key, quota)
        await noted.begin_intake(connection, import_id, caller.tenant, entry.object_key, self.owner)
        return entry

    async def admit(
        self, connection: AsyncConnection, tenant: str, limits: Limits
    ) -> tuple[datetime, Mapping[str, str]]:
        """Count an upload that comes in pieces, when it is created: its slot, and the response's headers.

        Raises:
            TooManyRequests: `rate_limited`, `too_many_imports`.
        """
        slot, quota = await self._take_slot(connection, tenant, limits)
        return slot, quota.headers()

    async def enter_again(self, caller: Principal, import_id: UUID) -> Entry:
        """Let an upload that was admitted before, and has come in pieces, become its import.

        Raises:
            TooManyRequests: `too_many_imports`.
            Unavailable: `upload_busy`: what an earlier attempt has left is just being removed.
        """
        if import_id in self.in_hand:
            raise _busy()
        self.in_hand.add(import_id)
        try:
            async with self._engine.begin() as connection:
                limits = await self.check_room(connection, caller.tenant)
                await self._check_free(connection, import_id)
                entry = Entry(import_id, caller, limits.sizes, limits.imports_at_once)
                await noted.begin_intake(connection, import_id, caller.tenant, entry.object_key, self.owner)
        except BaseException:
            self.in_hand.discard(import_id)
            raise
        return entry

    async def _check_free(self, connection: AsyncConnection, import_id: UUID) -> None:
        if not await noted.is_free(connection, import_id, self.owner):
            raise _busy()

    async def check_room(self, connection: AsyncConnection, tenant: str) -> Limits:
        """Whether one more import of the tenant may be open; its limits.

        Raises:
            TooManyRequests: `too_many_imports`.
        """
        limits = await self.limits_of(connection, tenant)
        check_open(await noted.count_open(connection, tenant), limits.imports_at_once, {})
        return limits

    async def limits_of(self, connection: AsyncConnection, tenant: str) -> Limits:
        """The limits that hold for the tenant: its own, else the defaults."""
        own = await noted.find_limits(connection, tenant)
        return self._defaults.with_own(**own._mapping) if own else self._defaults

    async def leave(self, entry: Entry) -> None:
        """Forget an upload that came to nothing, when nothing is left of it: it does not count, its key is free."""
        try:
            async with self._engine.begin() as connection:
                await noted.end_intake(connection, entry.import_id, self.owner)
                if entry.key is not None:
                    await noted.release_key(connection, entry.import_id)
                if entry.slot is not None:
                    await noted.release_slot(connection, entry.caller.tenant, entry.slot)
        except Exception as error:  # noqa: BLE001 - the sweeper does it later; the caller must hear the reason itself
            log.warning("upload.not_forgotten", import_id=str(entry.import_id), error=repr(error))

    def done(self, entry: Entry) -> None:
        """The upload is over, whatever came of it."""
        self.in_hand.discard(entry.import_id)

    async def _take_slot(
        self, connection: AsyncConnection, tenant: str, limits: Limits
    ) -> tuple[datetime, Quota]:
        """A slot for one more upload of the tenant, which may have one more import open."""
        taken = await noted.take_slot(connection, tenant, limits.uploads_per_minute, WINDOW)
        quota = quota_of(limits.uploads_per_minute, taken.oldest, taken.count, taken.now)
        if taken.slot is None:
            raise TooManyRequests(
                "rate_limited",
                f"this tenant has begun {limits.uploads_per_minute} uploads within the last minute,"
                " which is all that it may",
                hint="send it again when the seconds in Retry-After have passed",
                retry_after=max(quota.reset, 1),
            ).answered_with(quota.headers())
        # Who took a slot before has noted its upload by now, as each waits for the one before.
        open_imports = await noted.count_open(connection, tenant)
        check_open(open_imports, limits.imports_at_once, quota.with_one_back().headers())
        return taken.slot, quota


def _busy() -> Unavailable:
    return Unavailable("upload_busy", "the upload is in somebody's hands", retry_after=2)


def check_open(count: int, limit: int, headers: Mapping[str, str]) -> None:
    """Whether one more import of a tenant may be open, which has `count` of them.

    Raises:
        TooManyRequests: `too_many_imports`.
    """
    if count >= limit:
        raise TooManyRequests(
            "too_many_imports",
            f"{count} imports of this tenant are waiting or being processed, and {limit} is all that may be",
            hint="wait until one has ended, or cancel one",
            retry_after=RETRY_OPEN_SECONDS,
        ).answered_with(headers)
