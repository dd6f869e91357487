"""Merging investigations, and splitting them: fingerprints move, and what both count follows from those they then have.

No event is rewritten. Decisions stay with the investigation that they were taken about: who merges one into another that is
resolved says that its errors are resolved, too. A part that is split off begins with the decisions about the whole, as they
were about it, too. A mute until so many errors does not count those that come by a merge.

The history of each merge has the fingerprints that it moved. A split of these very ones takes it back: what was merged away
is there again, by its old id, and as it was decided before, unless something was decided about the whole since.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Uuid, any_, insert, literal, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.actions import there
from services.notifier.investigations.changing import Alone, Step, alone, found, keep
from services.notifier.investigations.deciding import DECIDED, see_merged
from services.notifier.investigations.derived import Columns, derived
from services.notifier.investigations.folding import Fingerprint
from services.notifier.tables import fingerprints, investigations
from shared.contracts.problems import Unprocessable
from shared.platform.bus import Publish

_FIELDS = [field.name for field in fields(Fingerprint)]

# Of each investigation that is part of this one what it had when it was merged, the last time.
_PARTS = text("""
    SELECT DISTINCT ON (i.id) i.id, h.happened_at, h.details -> 'fingerprints' AS fingerprints
    FROM notifier.investigations i JOIN notifier.investigation_history h ON h.investigation_id = i.id
    WHERE i.tenant = :tenant AND i.merged_into = :id AND h.what = 'merged' AND h.details -> 'into' IS NOT NULL
    ORDER BY i.id, h.id DESC
""").columns(id=Uuid, happened_at=DateTime(timezone=True), fingerprints=JSONB)


class _Part(NamedTuple):
    """An investigation that was merged away, when, and with which fingerprints."""

    id: UUID
    merged_at: datetime
    fingerprints: frozenset[int]


async def merge(
    connection: AsyncConnection,
    tenant: str,
    merged_id: UUID,
    into: UUID,
    *,
    note: str | None,
    actor: str,
    publish: Publish,
) -> None:
    """Make one investigation part of another one, `into`. If it is so already, nothing is done.

    Raises:
        NotFound: `investigation_not_found`.
        Conflict: `investigation_merged`: one of them is part of something else.
        Unprocessable: `merge_unfit`: there is no other one that `into` names.
    """
    own = await alone(connection, tenant)
    rows = await found(own, [merged_id, into])
    merged = there(rows.get(merged_id), merged_id)
    survivor = _other(rows.get(into), merged_id, into)
    if merged["merged_into"] == into:
        return
    see_merged(merged)
    see_merged(survivor)
    moved, kept = await _fingerprints(own, merged_id), await _fingerprints(own, into)
    await _move(own, moved, into)
    parts = update(investigations).where(
        investigations.c.tenant == tenant, investigations.c.merged_into == merged_id
    )
    await connection.execute(parts.values(merged_into=into))
    away, come = _facts("into", into, moved), _facts("from", merged_id, moved)
    steps = [
        Step(merged, {**derived(merged, []), "merged_into": into}, "merged", own.now, actor, note, away),
        Step(survivor, derived(survivor, [*kept, *moved]), "merged", own.now, actor, note, come),
    ]
    await keep(own, steps, publish)


async def split(
    connection: AsyncConnection,
    tenant: str,
    whole_id: UUID,
    wanted: Sequence[int],
    *,
    note: str | None,
    actor: str,
    publish: Publish,
) -> UUID:
    """Make an investigation of some fingerprints of another one: its id.

    Raises:
        NotFound: `investigation_not_found`.
        Conflict: `investigation_merged`.
        Unprocessable: `split_unfit`: it has no such fingerprints, or all errors would be on one side.
    """
    own = await alone(connection, tenant)
    whole = there((await found(own, [whole_id])).get(whole_id), whole_id)
    see_merged(whole)
    moved, kept = _parted(await _fingerprints(own, whole_id), frozenset(wanted), whole_id)
    ids = frozenset(one.id for one in moved)
    parts = await _parts(own, whole_id)
    part, decisions, is_new = await _part_of(own, whole, moved, parts)
    part_id: UUID = part["id"]
    await _move(own, moved, part_id)
    await _hand_over(own, [one.id for one in parts if one.fingerprints <= ids and one.id != part_id], part_id)
    columns = {**decisions, **derived(part, moved), "merged_into": None}
    away, come = _facts("into", part_id, moved), _facts("from", whole_id, moved)
    steps = [
        Step(whole, derived(whole, kept), "split", own.now, actor, note, away),
        Step(part, columns, "split", own.now, actor, note, come, is_new=is_new),
    ]
    await keep(own, steps, publish)
    return part_id


def _other(row: Columns | None, merged_id: UUID, into: UUID) -> Columns:
    if row is None or merged_id == into:
        what = "itself" if merged_id == into else f"{into}, which is not there"
        raise Unprocessable(
            "merge_unfit",
            f"the investigation {merged_id} cannot be merged into {what}",
            hint="give in `into` the id of another investigation, one of those that `GET /api/v1/investigations` lists",
        )
    return row


def _parted(
    fingerprints_of: Sequence[Fingerprint], wanted: frozenset[int], whole_id: UUID
) -> tuple[list[Fingerprint], list[Fingerprint]]:
    """What goes, and what stays."""
    if unknown := sorted(wanted - {one.id for one in fingerprints_of}):
        raise Unprocessable(
            "split_unfit",
            f"the investigation {whole_id} has no fingerprint {', '.join(map(str, unknown))}",
            hint=f"`GET /api/v1/investigations/{whole_id}` has those that there are in `fingerprints`",
        )
    moved = [one for one in fingerprints_of if one.id in wanted]
    kept = [one for one in fingerprints_of if one.id not in wanted]
    if not all(any(one.event_count for one in side) for side in (moved, kept)):
        raise Unprocessable(
            "split_unfit",
            "one of the two investigations would have no errors",
            hint="name some of the fingerprints that have a `count`, and not all of them",
        )
    return moved, kept


async def _part_of(
    own: Alone, whole: Columns, moved: Sequence[Fingerprint], parts: Sequence[_Part]
) -> tuple[Columns, Mapping[str, Any], bool]:
    """The investigation for what was moved, its decisions, and whether it is a new one."""
    ids = frozenset(one.id for one in moved)
    decisions = {name: whole[name] for name in DECIDED}
    if same := [one for one in parts if one.fingerprints == ids]:
        last = max(same, key=lambda one: one.merged_at)
        row = (await found(own, [last.id]))[last.id]
        return row, decisions if _decided_since(whole, last.merged_at) else {}, False
    statement = insert(investigations).values(tenant=own.tenant, **derived(whole, moved))
    statement = statement.returning(investigations)
    return dict((await own.connection.execute(statement)).mappings().one()), decisions, True


def _decided_since(whole: Columns, moment: datetime) -> bool:
    decided_at = (whole[name] for name in ("resolved_at", "reopened_at", "acknowledged_at", "muted_at"))
    return any(at is not None and at > moment for at in decided_at)


async def _fingerprints(own: Alone, investigation_id: UUID) -> list[Fingerprint]:
    query = select(*(fingerprints.c[name] for name in _FIELDS)).where(
        fingerprints.c.tenant == own.tenant, fingerprints.c.investigation_id == investigation_id
    )
    rows = (await own.connection.execute(query)).mappings()
    return [Fingerprint(**row) for row in rows]


async def _parts(own: Alone, whole_id: UUID) -> list[_Part]:
    rows = await own.connection.execute(_PARTS, {"tenant": own.tenant, "id": whole_id})
    return [_Part(part_id, merged_at, frozenset(ids)) for part_id, merged_at, ids in rows]


async def _move(own: Alone, moved: Sequence[Fingerprint], to: UUID) -> None:
    ids = literal([one.id for one in moved], ARRAY(BigInteger))
    statement = update(fingerprints).where(
        fingerprints.c.tenant == own.tenant, fingerprints.c.id == any_(ids)
    )
    await own.connection.execute(statement.values(investigation_id=to))


async def _hand_over(own: Alone, parts: Sequence[UUID], to: UUID) -> None:
    """What was merged into what is split off is part of that."""
    statement = update(investigations).where(
        investigations.c.tenant == own.tenant, investigations.c.id.in_(parts)
    )
    await own.connection.execute(statement.values(merged_into=to))


def _facts(direction: str, other: UUID, moved: Sequence[Fingerprint]) -> dict[str, Any]:
    return {
        direction: str(other),
        "fingerprints": sorted(one.id for one in moved),
        "events": sum(one.event_count for one in moved),
    }
