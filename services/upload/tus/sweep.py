"""What nobody will come back for: uploads that have expired, and parts whose request or upload is no more."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.upload.tus import repository
from services.upload.tus.parts import remove_needless
from shared.contracts.events import UploadFinish
from shared.platform.bus import Bus
from shared.platform.logs import get_logger
from shared.platform.objects import Objects

EXPIRED_AT_ONCE = 100
# What a process had sent to the store when it was killed may still arrive there.
OWNER_GONE = timedelta(minutes=1)
# A living process puts its own things in order, unless the store or the database was away just then.
FORGOTTEN = timedelta(hours=1)
ASKED_AGAIN = timedelta(hours=1)  # a command too many does nothing

log = get_logger(__name__)


async def sweep(engine: AsyncEngine, objects: Objects) -> None:
    """Remove expired uploads, and every part that no upload needs. Any number may sweep side by side.

    Raises:
        StoreUnavailable: what is left the next sweep removes.
    """
    expired = 0
    while True:
        async with engine.begin() as connection:
            over = await repository.lock_expired(connection, EXPIRED_AT_ONCE)
            await repository.remove(connection, over)
        expired += len(over)
        if not over:
            break
    async with engine.begin() as connection:
        await repository.abandon_forsaken(connection, owner_gone=OWNER_GONE, forgotten=FORGOTTEN)
    removed = await remove_needless(engine, objects)
    if expired or removed:
        log.info("tus.swept", uploads=expired, parts=removed)


async def ask_again(engine: AsyncEngine, bus: Bus) -> None:
    """Have uploads checked whose command must be lost, with a broker or as a dead letter: so late, they would have expired."""
    async with engine.begin() as connection:
        for upload in await repository.overdue_checks(connection, patience=ASKED_AGAIN):
            log.warning("tus.check_overdue", upload_id=str(upload.id))
            command = UploadFinish(upload_id=upload.id)
            await bus.publish(connection, bus.event(command, tenant=upload.tenant, subject=upload.id))
