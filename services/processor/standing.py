"""Imports that stand still: who has them in hand, and where the command is that would move them on. For commands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.platform.presence import is_alive

_STILL = text("""
    SELECT import_id, tenant, dataset, file_name, phase, commanded AS slice, tries, rows_processed, rows_detected,
        cancel_requested, lease_owner, leased_until, leased_until > now() AS leased,
        EXTRACT(epoch FROM now() - moved_at)::float8 AS still_seconds
    FROM processor.imports
    WHERE status = 'processing' AND moved_at <= now() - make_interval(secs => :seconds)
    ORDER BY moved_at, import_id
""")
# A message says its subject in its body. There are few enough to read them all.
_COMMAND = text("""
    SELECT queue, acquired_at IS NOT NULL AS in_hand, next_attempt_at > now() AS scheduled, next_attempt_at, attempts_count
    FROM bus.outbox
    WHERE queue IN ('processor.imports', 'relay.processor', 'relay.upload')
        AND position(convert_to(:import_id, 'UTF8') IN payload) > 0
    ORDER BY next_attempt_at LIMIT 1
""")
_DEAD = text("""
    SELECT id FROM bus.dead_letters
    WHERE queue = 'processor.imports' AND position(convert_to(:import_id, 'UTF8') IN payload) > 0
    ORDER BY id DESC LIMIT 1
""")
# The process shows that it lives by a lock of its own (shared.platform.presence), whose session has its address.
_ADDRESS = text("""
    SELECT host(a.client_addr) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
        AND l.classid::bigint << 32 | l.objid::bigint = :instance
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    LIMIT 1
""")
_BLOCKED = text("""
    SELECT b.pid, coalesce(nullif(b.application_name, ''), 'no name') AS application, b.state,
        EXTRACT(epoch FROM now() - b.xact_start)::float8 AS seconds
    FROM pg_stat_activity w CROSS JOIN unnest(pg_blocking_pids(w.pid)) AS blocking (pid)
    JOIN pg_stat_activity b ON b.pid = blocking.pid
    WHERE w.application_name = 'penstock-processor' AND w.datname = current_database() AND w.wait_event_type = 'Lock'
    ORDER BY b.xact_start LIMIT 1
""")
_FIND = text(
    "SELECT tenant, status, commanded, error_code FROM processor.imports WHERE import_id = :import_id"
)


@dataclass(frozen=True)
class Command:
    """The message that asks for the next slice, where PostgreSQL keeps it; on RabbitMQ it may be there instead."""

    queue: str
    in_hand: bool
    scheduled: bool
    due_at: datetime
    attempts: int


@dataclass(frozen=True)
class Blocker:
    """The session of PostgreSQL that some session of the processors waits for: its process there, who it is, for how long."""

    pid: int
    application: str
    state: str | None
    seconds: float | None


@dataclass(frozen=True)
class Standing:
    """An import that has not ended and does not move.

    Attributes:
        lease_owner: The process that has it in hand, by its lock; None: nobody.
        owner_alive: Whether that process lives; None: there is none.
        owner_address: From where it is connected to PostgreSQL; None: by a local socket, or there is none.
        command: None: PostgreSQL keeps none.
        dead_letter: The newest dead letter about it.
        blocker: None: no session of the processors waits for a lock.
    """

    import_id: UUID
    tenant: str
    dataset: str
    file_name: str
    phase: str
    slice: int
    tries: int
    rows_processed: int
    rows_detected: int
    cancel_requested: bool
    still_seconds: float
    lease_owner: int | None = None
    leased_until: datetime | None = None
    leased: bool = False
    owner_alive: bool | None = None
    owner_address: str | None = None
    command: Command | None = None
    dead_letter: int | None = None
    blocker: Blocker | None = None


async def standing(connection: AsyncConnection, seconds: float) -> Sequence[Standing]:
    """The imports that have not moved for so long, the longest first.

    `connection` acts as the processor, and for the rest of its transaction as who has logged in.
    """
    rows = (await connection.execute(_STILL, {"seconds": seconds})).mappings().all()
    found = [
        await _looked_into(connection, Standing(**{**row, "leased": bool(row["leased"])})) for row in rows
    ]
    # PostgreSQL shows what a session does to who has logged in as that one has, and not to the processor's role.
    await connection.execute(text("SET LOCAL ROLE NONE"))
    blocked = (await connection.execute(_BLOCKED)).mappings().one_or_none()
    blocker = Blocker(**blocked) if blocked else None
    return [await _with_owner(connection, each, blocker) if each.owner_alive else each for each in found]


async def find(connection: AsyncConnection, import_id: UUID) -> Row[Any] | None:
    """`tenant`, `status`, `commanded` (the slice that the next command is to name) and `error_code`; None: not taken on."""
    return (await connection.execute(_FIND, {"import_id": import_id})).one_or_none()


async def _looked_into(connection: AsyncConnection, each: Standing) -> Standing:
    this = {"import_id": str(each.import_id)}
    found = (await connection.execute(_COMMAND, this)).one_or_none()
    command = Command(*found) if found else None
    dead_letter = await connection.scalar(_DEAD, this)
    alive = None if each.lease_owner is None else await is_alive(connection, each.lease_owner)
    return replace(each, command=command, dead_letter=dead_letter, owner_alive=alive)


async def _with_owner(connection: AsyncConnection, each: Standing, blocker: Blocker | None) -> Standing:
    address = await connection.scalar(_ADDRESS, {"instance": each.lease_owner})
    return replace(each, owner_address=address, blocker=blocker)
