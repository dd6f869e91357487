"""The processor's SQL: work state, leases, slices loaded, receipts."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Row, TextClause, Uuid, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.processor.merging import STAGE, Merge
from services.processor.tables import ROW_ERROR_COLUMNS, imports, receipts
from shared.contracts.events import COUNTS, Counts, ImportUploaded
from shared.platform.presence import is_alive
from shared.reading.batch import Checkpoint

Work = Row[Any]  # one row of processor.imports


class LeaseLost(Exception):
    """Another processor has taken the import over. What this one did is rolled back, and nothing is missing."""


async def add_import(connection: AsyncConnection, tenant: str, uploaded: ImportUploaded) -> None:
    """Take the import on. One that is known already stays as it is."""
    values = uploaded.model_dump(mode="json", exclude={"uploaded_at"}) | {"tenant": tenant}
    await connection.execute(insert(imports).values(values).on_conflict_do_nothing())


async def find(connection: AsyncConnection, import_id: UUID) -> Work | None:
    return (await connection.execute(select(imports).where(imports.c.import_id == import_id))).one_or_none()


async def unfinished(connection: AsyncConnection) -> Sequence[Work]:
    """Every import that is still being processed."""
    return (await connection.execute(select(imports).where(imports.c.status == "processing"))).all()


async def claim(
    connection: AsyncConnection,
    import_id: UUID,
    slice_number: int,
    *,
    owner: int,
    seconds: float,
) -> Work | None:
    """Lease an import's slice to the process `owner`, with a new fencing token (`fence`).

    Args:
        owner: The claiming process. A lease that it has itself is left over from a failed attempt.
        seconds: How long the lease holds.

    Returns:
        The work, or None if somebody who is alive has it.
    """
    work = (
        await connection.execute(
            select(imports)
            .where(imports.c.import_id == import_id, imports.c.slice == slice_number)
            .where(imports.c.status == "processing")
            .with_for_update()
        )
    ).one_or_none()
    if work is None:
        return None
    expired = work.leased_until is None or await _is_past(connection, work.leased_until)
    free = work.lease_owner in (None, owner) or expired
    if not free and await is_alive(connection, work.lease_owner):
        return None
    claimed = (
        update(imports)
        .where(imports.c.import_id == import_id)
        .values(
            fence=imports.c.fence + 1,
            tries=imports.c.tries + 1,
            lease_owner=owner,
            leased_until=func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds),
            started_at=func.coalesce(imports.c.started_at, func.clock_timestamp()),
        )
        .returning(imports)
    )
    row: Work = (await connection.execute(claimed)).one()
    return row


async def _is_past(connection: AsyncConnection, moment: datetime) -> bool:
    return bool(await connection.scalar(select(func.clock_timestamp() > moment)))


async def hold(connection: AsyncConnection, work: Work) -> None:
    """Lock the work for this transaction, still under the lease it was claimed with.

    Raises:
        LeaseLost: the fencing token has moved on, or the import has ended.
    """
    fence = await connection.scalar(
        select(imports.c.fence)
        .where(imports.c.import_id == work.import_id, imports.c.status == "processing")
        .with_for_update()
    )
    if fence != work.fence:
        raise LeaseLost(f"import {work.import_id}: fence {fence}, mine {work.fence}")


async def release(connection: AsyncConnection, work: Work) -> None:
    """Give the lease back after a failure, so that the next attempt need not wait for its end."""
    await connection.execute(
        update(imports)
        .where(imports.c.import_id == work.import_id, imports.c.fence == work.fence)
        .values(lease_owner=None, leased_until=None)
    )


async def merge(
    connection: AsyncConnection, statements: Merge, work: Work, records: Sequence[tuple[Any, ...]]
) -> Row[Any]:
    """Load staged `records` (in `stage_columns` order); answers inserted, updated, unchanged, duplicate."""
    await connection.execute(text(statements.create_stage))
    await _copy(connection, STAGE, statements.stage_columns, records)
    await connection.execute(text(f"ANALYZE {STAGE}"))
    return (await connection.execute(_of_import(statements.load), _identity(work))).one()


async def duplicates(
    connection: AsyncConnection, statements: Merge, work: Work, *, limit: int
) -> Sequence[Row[Any]]:
    """The first `limit` staged records that were not loaded because their key was taken, in file order."""
    if statements.duplicates is None or limit <= 0:
        return ()
    return (
        await connection.execute(_of_import(statements.duplicates), _identity(work) | {"limit": limit})
    ).all()


async def add_row_errors(connection: AsyncConnection, errors: Sequence[tuple[Any, ...]]) -> None:
    """Keep row errors, each a tuple in the order of `ROW_ERROR_COLUMNS`."""
    await _copy(connection, "row_errors", ROW_ERROR_COLUMNS, errors, schema="processor")


async def advance(
    connection: AsyncConnection, work: Work, checkpoint: Checkpoint, balance: Counts, *, errors_kept: int
) -> Work:
    """Move the checkpoint behind the slice just loaded and free the lease."""
    added = {name: imports.c[name] + count for name, count in balance.model_dump().items()}
    moved = (
        update(imports)
        .where(imports.c.import_id == work.import_id)
        .values(
            **added,
            **asdict(checkpoint),
            slice=imports.c.slice + 1,
            tries=0,
            row_errors_kept=imports.c.row_errors_kept + errors_kept,
            lease_owner=None,
            leased_until=None,
        )
        .returning(imports)
    )
    row: Work = (await connection.execute(moved)).one()
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
    same = ("import_id", "tenant", "dataset", "source", "file_name", "file_size", "sha256", "dialect")
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


async def fail(connection: AsyncConnection, import_id: UUID, code: str, message: str) -> Work | None:
    """End the import as failed; None if it had ended before."""
    failed = (
        update(imports)
        .where(imports.c.import_id == import_id, imports.c.status == "processing")
        .values(
            status="failed",
            fence=imports.c.fence + 1,
            error_code=code,
            error_message=message,
            finished_at=func.clock_timestamp(),
            lease_owner=None,
            leased_until=None,
        )
        .returning(imports)
    )
    row: Work | None = (await connection.execute(failed)).one_or_none()
    return row


def _identity(work: Work) -> dict[str, Any]:
    return {"tenant": work.tenant, "import_id": work.import_id}


def _of_import(statement: str) -> TextClause:
    parameters = [bindparam("import_id", type_=Uuid)]
    if ":limit" in statement:
        parameters.append(bindparam("limit", type_=BigInteger))
    return text(statement).bindparams(*parameters)


async def _copy(
    connection: AsyncConnection,
    table: str,
    columns: Sequence[str],
    records: Sequence[tuple[Any, ...]],
    schema: str | None = None,
) -> None:
    raw = await connection.get_raw_connection()
    driver = raw.driver_connection
    assert driver is not None
    await driver.copy_records_to_table(table, schema_name=schema, columns=list(columns), records=records)
