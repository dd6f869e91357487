"""The processor's SQL: work state, leases, slices loaded, receipts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, astuple
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete, exists, func, select, text, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.processor.copying import copy_records
from services.processor.reasons import LOCK_NOT_AVAILABLE, sqlstate_of
from services.processor.slices import RowError
from services.processor.tables import (
    ROW_ERROR_COLUMNS,
    duplicates,
    early_cancels,
    error_counts,
    error_files,
    imports,
    receipts,
    slice_starts,
)
from shared.contracts.events import COUNTS, FINAL_ERROR_CODES, Counts, ImportUploaded
from shared.platform.database import advisory_key
from shared.platform.presence import is_alive
from shared.reading.batch import Checkpoint

Work = Row[Any]  # one row of processor.imports


LOCK_TIMEOUT = "2s"  # a slice takes some tenths of it
EARLY_CANCELS_KEPT = "30 days"  # an import may wait for a processor that long


class LeaseLost(Exception):
    """Another processor has taken the import over. What this one did is rolled back, and nothing is missing."""


class Locked(Exception):
    """A transaction has the import in hand, perhaps for long. Nothing is done; the command comes again."""


async def add_import(connection: AsyncConnection, tenant: str, uploaded: ImportUploaded) -> bool:
    """Take the import on. One that is known already stays as it is.

    Returns:
        Whether it is to end at once: `cancel_early` was here before.
    """
    await _arriving(connection, uploaded.import_id)
    values = uploaded.model_dump(mode="json") | {"tenant": tenant, "uploaded_at": uploaded.uploaded_at}
    await connection.execute(insert(imports).values(values).on_conflict_do_nothing())
    early = delete(early_cancels).where(early_cancels.c.import_id == uploaded.import_id)
    return bool((await connection.execute(early)).rowcount)


async def cancel_early(connection: AsyncConnection, import_id: UUID) -> bool:
    """Have an import end as it is taken on; False if it has been taken on already.

    A cancel waits in another queue than its import, and may be handled first.
    """
    await _arriving(connection, import_id)
    if await find(connection, import_id) is not None:
        return False
    await connection.execute(insert(early_cancels).values(import_id=import_id).on_conflict_do_nothing())
    return True


async def forget_early_cancels(connection: AsyncConnection) -> None:
    """Remove cancels whose imports have not come for EARLY_CANCELS_KEPT."""
    over = early_cancels.c.heard_at < func.now() - text(f"interval '{EARLY_CANCELS_KEPT}'")
    await connection.execute(delete(early_cancels).where(over))


async def _arriving(connection: AsyncConnection, import_id: UUID) -> None:
    """Wait for whoever takes the import on, or cancels it early, in another transaction."""
    key = advisory_key(f"penstock:arriving:{import_id}")
    await connection.execute(select(func.pg_advisory_xact_lock(key)))


async def find(connection: AsyncConnection, import_id: UUID) -> Work | None:
    return (await connection.execute(select(imports).where(imports.c.import_id == import_id))).one_or_none()


async def unfinished(connection: AsyncConnection) -> Sequence[Work]:
    """Every import that is still being processed."""
    return (await connection.execute(select(imports).where(imports.c.status == "processing"))).all()


async def abandoned(connection: AsyncConnection, owner: int, in_hand: Collection[UUID]) -> Sequence[Work]:
    """Every import that is leased and yet in nobody's hands: perhaps its command went with whoever held it.

    One that a transaction holds is in somebody's hands, though its lease may be over: a large one ends in minutes.

    Args:
        connection: Of the transaction.
        owner: The process that asks.
        in_hand: What it does have in hand; a lease that it has for another import is left over.
    """
    over = imports.c.leased_until < func.clock_timestamp()
    leased = select(imports).where(
        imports.c.status == "processing",
        over | (imports.c.lease_owner == owner),
        imports.c.import_id.not_in(in_hand),
    )
    return (await connection.execute(leased.with_for_update(skip_locked=True))).all()


async def claim(
    connection: AsyncConnection,
    import_id: UUID,
    commanded: int,
    *,
    owner: int,
    seconds: float,
) -> Work | None:
    """Lease an import to the process `owner`, with a new fencing token (`fence`).

    Args:
        commanded: The slice that the command names. Only the newest command counts.
        owner: The claiming process. A lease that it has itself is left over from a failed attempt.
        seconds: How long the lease holds.

    Returns:
        The work, or None if somebody who is alive has it, or the command is stale.
    """
    work = (
        await connection.execute(
            select(imports)
            .where(imports.c.import_id == import_id, imports.c.commanded == commanded)
            .where(imports.c.status == "processing")
            .with_for_update(skip_locked=True)
        )
    ).one_or_none()
    if work is None or not await _is_free(connection, work, owner):
        return None
    claimed = (
        update(imports)
        .where(imports.c.import_id == import_id)
        .values(
            fence=imports.c.fence + 1,
            tries=imports.c.tries + 1,
            lease_owner=owner,
            leased_until=_from_now(seconds),
            started_at=func.coalesce(imports.c.started_at, func.clock_timestamp()),
        )
        .returning(imports)
    )
    row: Work = (await connection.execute(claimed)).one()
    return row


async def _is_free(connection: AsyncConnection, work: Work, owner: int | None) -> bool:
    if work.lease_owner in {None, owner} or work.leased_until is None:
        return True
    return await _is_past(connection, work.leased_until) or not await is_alive(connection, work.lease_owner)


def _from_now(seconds: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


async def _is_past(connection: AsyncConnection, moment: datetime) -> bool:
    return bool(await connection.scalar(select(func.clock_timestamp() > moment)))


async def hold(connection: AsyncConnection, work: Work) -> Work:
    """Lock the work for this transaction, still under the lease it was claimed with; as it is now.

    Raises:
        LeaseLost: the fencing token has moved on, or the import has ended.
    """
    held = (
        await connection.execute(
            select(imports)
            .where(imports.c.import_id == work.import_id, imports.c.status == "processing")
            .with_for_update()
        )
    ).one_or_none()
    if held is None or held.fence != work.fence:
        fence = held.fence if held else None
        raise LeaseLost(f"import {work.import_id}: fence {fence}, mine {work.fence}")
    return held


async def release(connection: AsyncConnection, work: Work) -> None:
    """Give the lease back after a failure, so that the next attempt need not wait for its end."""
    await connection.execute(
        update(imports)
        .where(imports.c.import_id == work.import_id, imports.c.fence == work.fence)
        # What ended its attempt with an error did not end its process.
        .values(lease_owner=None, leased_until=None, tries=func.greatest(imports.c.tries - 1, 0))
    )


async def lock_tables(connection: AsyncConnection, work: Work, tables: Sequence[str]) -> None:
    """Let one load at a time write a tenant's records in `tables`, given in an order that is the same for all.

    So two imports never wait for each other in a circle; a single edit may still meet one of them. Who waits longer
    than LOCK_TIMEOUT ends with PostgreSQL's error 55P03: the other one may load for minutes.
    """
    await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    for table in sorted(tables):
        await connection.execute(select(func.pg_advisory_xact_lock(load_key(work.tenant, table))))
    await connection.execute(text("SET LOCAL lock_timeout = 0"))


def load_key(tenant: str, table: str) -> int:
    """The advisory lock of whoever writes many of a tenant's records in `table`."""
    return advisory_key(f"penstock:load:{tenant}:{table}")


async def add_errors(connection: AsyncConnection, work: Work, errors: Sequence[RowError]) -> None:
    """Keep row errors as rows."""
    rows = [(work.tenant, work.import_id, *astuple(error)) for error in errors]
    await copy_records(connection, "processor.row_errors", ROW_ERROR_COLUMNS, rows)


async def count_errors(
    connection: AsyncConnection, work: Work, counts: Mapping[tuple[str, str], int]
) -> None:
    """Add to the numbers of faults, by code and column (empty: the whole record)."""
    if not counts:
        return
    rows = [
        {"import_id": work.import_id, "code": code, "column_name": column, "count": count}
        for (code, column), count in sorted(counts.items())
    ]
    added = insert(error_counts).values(rows)
    more = {"count": error_counts.c.count + added.excluded.count}
    await connection.execute(
        added.on_conflict_do_update(index_elements=["import_id", "code", "column_name"], set_=more)
    )


async def add_error_file(connection: AsyncConnection, work: Work, key: str, size: int) -> None:
    """Know a part of the error file; one after the other, they make the whole."""
    await connection.execute(
        insert(error_files).values(import_id=work.import_id, part=work.error_parts, object_key=key, size=size)
    )


async def add_slice_start(connection: AsyncConnection, work: Work, checkpoint: Checkpoint) -> None:
    """Know where the next slice begins, by which its records are found again."""
    start = insert(slice_starts).values(import_id=work.import_id, **asdict(checkpoint))
    # A slice may read no record, but blank lines or a part of the header.
    further = {name: start.excluded[name] for name in ("byte_offset", "line_number")}
    await connection.execute(
        start.on_conflict_do_update(index_elements=["import_id", "record_number"], set_=further)
    )


async def list_duplicates(
    connection: AsyncConnection,
    import_id: UUID,
    *,
    limit: int,
    most_bytes: int | None = None,
    from_row: int = 0,
) -> Sequence[Row[Any]]:
    """The first refused duplicates from record `from_row` on, in file order.

    Args:
        connection: Of the transaction.
        import_id: Of the import.
        limit: At most so many.
        most_bytes: The last one may be the first with which they have more than this.
        from_row: Record number.
    """
    found = (
        select(duplicates, func.octet_length(duplicates.c.raw).label("length"))
        .where(duplicates.c.import_id == import_id, duplicates.c.row_number >= from_row)
        .order_by(duplicates.c.row_number)
        .limit(limit)
    )
    if most_bytes is not None:
        first = found.subquery()
        before = func.sum(first.c.length).over(order_by=first.c.row_number) - first.c.length
        sized = select(first, before.label("bytes_before")).subquery()
        found = select(sized).where(sized.c.bytes_before < most_bytes).order_by(sized.c.row_number)
    return (await connection.execute(found)).all()


async def remove_duplicates(connection: AsyncConnection, import_id: UUID, *, up_to: int) -> None:
    """Forget the duplicates up to record `up_to`: their error file is written."""
    await connection.execute(
        delete(duplicates).where(duplicates.c.import_id == import_id, duplicates.c.row_number <= up_to)
    )


async def has_duplicates(connection: AsyncConnection, import_id: UUID) -> bool:
    """Whether duplicates wait for their error file."""
    return bool(await connection.scalar(select(exists().where(duplicates.c.import_id == import_id))))


async def advance(
    connection: AsyncConnection,
    work: Work,
    balance: Counts,
    *,
    changes: Mapping[str, Any],
    lease_seconds: float | None,
) -> Work:
    """Count what was just done, and move on to the next slice.

    Args:
        balance: Added to the import's counts.
        changes: Other columns and their new values, such as the checkpoint.
        lease_seconds: How much longer the lease holds; None: it is given back, for whoever hears the next command.
    """
    added = {name: imports.c[name] + count for name, count in balance.model_dump().items()}
    lease = (
        {"lease_owner": None, "leased_until": None, "commanded": work.slice + 1}
        if lease_seconds is None
        else {"leased_until": _from_now(lease_seconds)}
    )
    moved = (
        update(imports)
        .where(imports.c.import_id == work.import_id)
        .values(
            **added, **changes, **lease, slice=imports.c.slice + 1, tries=0, moved_at=func.clock_timestamp()
        )
        .returning(imports)
    )
    row: Work = (await connection.execute(moved)).one()
    return row


async def request_cancel(connection: AsyncConnection, import_id: UUID) -> Work | None:
    """Ask whoever has the import in hand to end it.

    Returns:
        The import if nobody who is alive has it: it may be ended at once. None otherwise.

    Raises:
        Locked: a transaction has had the import in hand for longer than LOCK_TIMEOUT; ask again.
    """
    wanted = (
        update(imports)
        .where(imports.c.import_id == import_id, imports.c.status == "processing")
        .values(cancel_requested=True)
        .returning(imports)
    )
    # One slice follows the other at once, so who does not wait for the lock hardly ever finds it free.
    await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    try:
        work = (await connection.execute(wanted)).one_or_none()
    except DBAPIError as error:
        if sqlstate_of(error) == LOCK_NOT_AVAILABLE:
            raise Locked(f"import {import_id} is being written") from error
        raise
    await connection.execute(text("SET LOCAL lock_timeout = 0"))
    return work if work is not None and await _is_free(connection, work, None) else None


async def resume(connection: AsyncConnection, import_id: UUID) -> Work | None:
    """Take a failed import up again, as its next run; None if it has not failed, or would fail in the same way, or what was
    found wrong in it is removed.
    """
    again = (
        update(imports)
        .where(imports.c.import_id == import_id, imports.c.status == "failed")
        .where(imports.c.error_code.not_in(FINAL_ERROR_CODES), imports.c.errors_removed_at.is_(None))
        .values(
            status="processing",
            run=imports.c.run + 1,
            fence=imports.c.fence + 1,
            tries=0,
            commanded=imports.c.slice,
            cancel_requested=False,
            error_code=None,
            error_message=None,
            finished_at=None,
            moved_at=func.clock_timestamp(),
        )
        .returning(imports)
    )
    row: Work | None = (await connection.execute(again)).one_or_none()
    return row


async def complete(connection: AsyncConnection, work: Work, dataset_version: int) -> Work:
    """End the import and write its receipt, whose balance the database checks."""
    finished = (
        update(imports)
        .where(imports.c.import_id == work.import_id)
        .values(status="completed", finished_at=func.clock_timestamp())
        .returning(imports)
    )
    done: Work = (await connection.execute(finished)).one()
    same = (
        *("import_id", "tenant", "dataset", "source", "file_name", "file_size", "sha256", "dialect"),
        *("explanation", "options", "date_orders", "notes", "run"),
    )
    values = {name: getattr(done, name) for name in (*same, "started_at", *COUNTS[1:])}
    await connection.execute(
        insert(receipts).values(
            **values,
            rows_read=done.rows_processed,
            completed_at=done.finished_at,
            dataset_version=dataset_version,
        )
    )
    return done


async def end(
    connection: AsyncConnection,
    import_id: UUID,
    status: Literal["failed", "cancelled"],
    *,
    code: str | None = None,
    message: str | None = None,
    for_good: bool,
    fence: int | None = None,
    commanded: int | None = None,
) -> Work | None:
    """End the import early; None if it had ended before, or is not in the hands of who ends it.

    Args:
        connection: Of the transaction.
        import_id: Of the import.
        status: How it ends.
        code: Why it failed, for programs.
        message: The same for people.
        for_good: Whether what was read and not loaded is given up; else a retry goes on with it.
        fence: The token of who ends it.
        commanded: The slice that the command of who ends it names.
    """
    given_up: dict[str, Any] = {}
    if for_good:
        given_up = {"rows_processed": imports.c.rows_processed - imports.c.rows_staged, "rows_staged": 0}
    ended = (
        update(imports)
        .where(imports.c.import_id == import_id, imports.c.status == "processing")
        .where(
            true() if fence is None else imports.c.fence == fence,
            true() if commanded is None else imports.c.commanded == commanded,
        )
        .values(
            status=status,
            fence=imports.c.fence + 1,
            error_code=code,
            error_message=message,
            finished_at=func.clock_timestamp(),
            lease_owner=None,
            leased_until=None,
            **given_up,
        )
        .returning(imports)
    )
    row: Work | None = (await connection.execute(ended)).one_or_none()
    return row
