"""SQL of resumable uploads. Every transaction is short: no byte is read or stored inside one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, exists, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.upload.tus.tables import concatenations, parts, uploads
from shared.platform.presence import is_alive

TusUpload = Row[Any]  # one row of upload.tus_uploads, with `expired`
Part = Row[Any]  # one row of upload.tus_parts

_EXPIRED = ((uploads.c.expires_at <= func.now()) & (uploads.c.state != "checking")).label("expired")


class TakenOver(Exception):
    """Another request, or a sweep, has what this one was about to count. What this transaction did is rolled back."""


@dataclass(frozen=True)
class Write:
    """The right to write to an upload, until somebody takes the next `fence`.

    Attributes:
        start: The offset it begins at.
        length: Of the whole upload; None: not known yet.
        completes: Whether the upload is over when its last byte is there: a piece of a final one is not.
    """

    upload_id: UUID
    tenant: str
    fence: int
    start: int
    length: int | None
    completes: bool


async def find(connection: AsyncConnection, tenant: str, upload_id: UUID) -> TusUpload | None:
    """The tenant's upload."""
    return (await connection.execute(_of(tenant, upload_id))).one_or_none()


async def lock(connection: AsyncConnection, tenant: str, upload_id: UUID) -> TusUpload | None:
    """The tenant's upload, in nobody else's hands until the transaction's end."""
    return (await connection.execute(_of(tenant, upload_id).with_for_update())).one_or_none()


async def lock_partials(
    connection: AsyncConnection, tenant: str, ids: Collection[UUID]
) -> dict[UUID, TusUpload]:
    """Those of the tenant's uploads in `ids` that exist; none of them goes before the transaction's end."""
    found = (
        select(uploads, _EXPIRED)
        .where(uploads.c.tenant == tenant, uploads.c.id.in_(ids))
        .order_by(uploads.c.id)  # so that two who want the same ones wait for each other, not for ever
        .with_for_update(read=True)
    )
    return {row.id: row for row in await connection.execute(found)}


async def count_partials(connection: AsyncConnection, tenant: str) -> int:
    """The tenant's pieces that wait to be put together."""
    mine = (uploads.c.tenant == tenant) & (uploads.c.kind == "partial")
    count = await connection.scalar(select(func.count()).select_from(uploads).where(mine))
    return int(count or 0)


async def add(
    connection: AsyncConnection,
    values: Mapping[str, Any],
    *,
    expires_after: timedelta,
    partials: Sequence[UUID] = (),
) -> TusUpload:
    """A new upload, made of `partials` if there are any."""
    added = insert(uploads).values(**values, expires_at=func.now() + expires_after)
    row: TusUpload = (
        await connection.execute(added.returning(uploads, literal(value=False).label("expired")))
    ).one()
    if partials:
        made_of = [
            {"final_id": row.id, "position": position, "partial_id": partial}
            for position, partial in enumerate(partials)
        ]
        await connection.execute(insert(concatenations), made_of)
    return row


async def begin_write(
    connection: AsyncConnection, upload: TusUpload, length: int | None, expires_after: timedelta
) -> Write:
    """Let a request write from where the (locked) upload stands; whoever wrote before it writes no more."""
    taken = (
        update(uploads)
        .where(uploads.c.id == upload.id)
        .values(
            fence=uploads.c.fence + 1,
            length=length,
            expires_at=func.now() + expires_after,
        )
        .returning(uploads.c.fence)
    )
    fence: int = (await connection.execute(taken)).scalar_one()
    return Write(upload.id, upload.tenant, fence, upload.received, length, upload.kind != "partial")


async def intend(
    connection: AsyncConnection, write: Write, *, object_key: str, start: int, size: int, owner: int
) -> None:
    """Note that the process `owner` is about to store a part."""
    values = {"object_key": object_key, "start": start, "size": size, "owner": owner}
    await connection.execute(
        insert(parts).values(values | {"upload_id": write.upload_id, "fence": write.fence})
    )


async def keep(
    connection: AsyncConnection,
    write: Write,
    received: int,
    object_keys: Sequence[str],
    expires_after: timedelta,
) -> TusUpload:
    """Count stored parts: the upload has `received` bytes now. With its last one, it is to be checked.

    Raises:
        TakenOver: another request writes to the upload, it was removed, or a sweep took a part.
    """
    is_whole = write.completes and received == write.length
    counted = (
        update(uploads)
        .where(
            uploads.c.id == write.upload_id, uploads.c.fence == write.fence, uploads.c.state == "receiving"
        )
        .values(
            received=received,
            parts=uploads.c.parts + len(object_keys),
            state="checking" if is_whole else "receiving",
            expires_at=func.now() + expires_after,
        )
        .returning(uploads, literal(value=False).label("expired"))
    )
    row: TusUpload | None = (await connection.execute(counted)).one_or_none()
    if row is None:
        raise TakenOver
    kept = (
        update(parts)
        .where(parts.c.object_key.in_(object_keys), parts.c.state == "intended")
        .values(state="kept")
    )
    if object_keys and (await connection.execute(kept)).rowcount != len(object_keys):
        raise TakenOver
    return row


async def remove(connection: AsyncConnection, upload_ids: Sequence[UUID]) -> None:
    """Forget (locked) uploads; their parts are doomed."""
    await connection.execute(delete(uploads).where(uploads.c.id.in_(upload_ids)))
    await doom_parts(connection, upload_ids)


async def doom_parts(connection: AsyncConnection, upload_ids: Sequence[UUID]) -> None:
    """Say of all parts of these uploads that nobody needs them."""
    doomed = update(parts).where(parts.c.upload_id.in_(upload_ids), parts.c.state == "kept")
    await connection.execute(doomed.values(state="doomed"))


async def lock_expired(connection: AsyncConnection, limit: int) -> Sequence[UUID]:
    """Some of the uploads that are over and that no final needs, in nobody else's hands."""
    over = (
        select(uploads.c.id)
        .where(uploads.c.expires_at <= func.now(), uploads.c.state != "checking", ~_needed())
        .limit(limit)
        .with_for_update(skip_locked=True, of=uploads)
    )
    return (await connection.scalars(over)).all()


async def overdue_checks(connection: AsyncConnection, *, patience: timedelta) -> Sequence[Row[Any]]:
    """Uploads that wait for their check although they would have expired by now, `id` and `tenant`; each again after `patience`."""
    overdue = update(uploads).where(uploads.c.expires_at <= func.now(), uploads.c.state == "checking")
    asked = overdue.values(expires_at=func.now() + patience).returning(uploads.c.id, uploads.c.tenant)
    return (await connection.execute(asked)).all()


async def is_needed(connection: AsyncConnection, upload_id: UUID) -> bool:
    """Whether a final that is being checked is made of this upload."""
    return bool(await connection.scalar(select(_needed()).where(uploads.c.id == upload_id)))


async def parts_of(connection: AsyncConnection, upload: TusUpload) -> Sequence[Part]:
    """The parts that the upload's file consists of, in order."""
    if upload.kind == "final":
        of_final = (
            select(parts)
            .join(concatenations, concatenations.c.partial_id == parts.c.upload_id)
            .where(concatenations.c.final_id == upload.id, parts.c.state == "kept")
            .order_by(concatenations.c.position, parts.c.start)
        )
        return (await connection.execute(of_final)).all()
    own = select(parts).where(parts.c.upload_id == upload.id, parts.c.state == "kept")
    return (await connection.execute(own.order_by(parts.c.start))).all()


async def claim_finish(
    connection: AsyncConnection, tenant: str, upload_id: UUID, owner: int
) -> TusUpload | None:
    """Lease the upload's check to the process `owner`; None: it has been checked, or removed.

    Raises:
        TakenOver: another process has it in hand.
    """
    upload = await lock(connection, tenant, upload_id)
    if upload is None or upload.state != "checking":
        return None
    other = upload.finish_owner not in {None, owner}
    if other and await is_alive(connection, upload.finish_owner):
        raise TakenOver
    await connection.execute(update(uploads).where(uploads.c.id == upload_id).values(finish_owner=owner))
    return upload


async def accept(connection: AsyncConnection, upload: TusUpload, owner: int) -> None:
    """The upload has become its import: its parts, and the partials that no other final needs, are done with.

    Raises:
        TakenOver: another process has checked it, or is about to.
    """
    await _end_check(connection, upload, owner, state="accepted")
    if upload.kind != "final":
        await doom_parts(connection, [upload.id])
        return
    its_own = select(concatenations.c.partial_id).where(concatenations.c.final_id == upload.id)
    locked = select(uploads.c.id).where(uploads.c.id.in_(its_own)).order_by(uploads.c.id).with_for_update()
    await connection.execute(locked)
    spent = select(uploads.c.id).where(uploads.c.id.in_(its_own), ~_needed())
    await remove(connection, (await connection.scalars(spent)).all())


async def refuse(
    connection: AsyncConnection, upload: TusUpload, owner: int, problem: Mapping[str, Any]
) -> None:
    """The upload's file is no good. What a final was made of stays until it expires.

    Raises:
        TakenOver: another process has checked it, or is about to.
    """
    await _end_check(connection, upload, owner, state="refused", problem=problem)
    await doom_parts(connection, [upload.id])


async def find_needless(
    connection: AsyncConnection, limit: int, upload_ids: Collection[UUID] | None = None
) -> Sequence[Part]:
    """Some of the parts that nobody needs, of these uploads or of any."""
    needless = select(parts).where(parts.c.state.in_(["doomed", "abandoned"])).limit(limit)
    if upload_ids is not None:
        needless = needless.where(parts.c.upload_id.in_(upload_ids))
    return (await connection.execute(needless)).all()


async def abandon(connection: AsyncConnection, object_keys: Sequence[str]) -> Sequence[Part]:
    """Give up parts that were not counted, and from now on cannot be; those of them that were counted stay."""
    given_up = (
        update(parts)
        .where(parts.c.object_key.in_(object_keys), parts.c.state == "intended")
        .values(state="abandoned")
        .returning(parts)
    )
    rows: Sequence[Part] = (await connection.execute(given_up)).all()
    return rows


async def abandon_forsaken(
    connection: AsyncConnection, *, owner_gone: timedelta, forgotten: timedelta
) -> None:
    """Give up parts that were about to be stored by somebody who will not count them any more.

    Args:
        connection: Of the transaction.
        owner_gone: How old such a part is at least when its process is dead: its object may still be on its way.
        forgotten: The same when its process lives, and could not put things in order then.
    """
    intended = parts.c.state == "intended"
    old = parts.c.began_at <= func.now() - owner_gone
    owners = (await connection.scalars(select(parts.c.owner).where(intended, old).distinct())).all()
    gone = [owner for owner in owners if not await is_alive(connection, owner)]
    may_count = (
        exists()
        .where(uploads.c.id == parts.c.upload_id, uploads.c.fence == parts.c.fence)
        .where(uploads.c.state == "receiving")
        .correlate(parts)
    )
    forsaken = (parts.c.began_at <= func.now() - forgotten) & ~may_count
    await connection.execute(
        update(parts).where(intended, old, or_(parts.c.owner.in_(gone), forsaken)).values(state="abandoned")
    )


async def forget_parts(connection: AsyncConnection, object_keys: Sequence[str]) -> None:
    """Forget parts whose objects are gone."""
    await connection.execute(delete(parts).where(parts.c.object_key.in_(object_keys)))


def _of(tenant: str, upload_id: UUID) -> Any:
    return select(uploads, _EXPIRED).where(uploads.c.tenant == tenant, uploads.c.id == upload_id)


def _needed() -> Any:
    final = uploads.alias("final")
    return (
        exists()
        .where(concatenations.c.partial_id == uploads.c.id, concatenations.c.final_id == final.c.id)
        .where(final.c.state == "checking")
        .correlate(uploads)
    )


async def _end_check(connection: AsyncConnection, upload: TusUpload, owner: int, **values: Any) -> None:
    ended = update(uploads).where(
        uploads.c.id == upload.id, uploads.c.state == "checking", uploads.c.finish_owner == owner
    )
    if not (await connection.execute(ended.values(values))).rowcount:
        raise TakenOver
