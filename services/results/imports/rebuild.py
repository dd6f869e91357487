"""The read model of imports, built anew from what upload and processor say themselves, instead of from their events.

Each row becomes what its events would have made of it, with the rank that its counts have from them (`counts_rank`), so
that an event which comes afterwards still counts, or is old news. Events that come meanwhile wait for the end.

Only `progressed_at` is nowhere else: it stays, and where it is lost the next progress tells it.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.tables import COUNTS, FACTS, imports, processor_imports, uploaded_imports

# Whoever reads goes on. Taken before anything is read: what an event has written here was committed there before.
_LOCK = text("LOCK TABLE results.imports IN SHARE ROW EXCLUSIVE MODE")


@dataclass(frozen=True)
class Rebuilt:
    """How many imports there are, and how many the read model lacked, had otherwise, or had though there are none."""

    imports: int
    lacked: int
    mended: int
    forgotten: int


async def rebuild(connection: AsyncConnection, tenant: str | None) -> Rebuilt:
    """Build the imports of a tenant anew, or of all (None), in the caller's transaction, which is to end soon.

    `connection` acts as the results service, to which upload and processor show all tenants.
    """
    await connection.execute(_LOCK)
    forgotten = (await connection.execute(_forgetting(tenant))).rowcount
    known = select(func.count()).select_from(_told(tenant).subquery())
    count = (await connection.execute(known)).scalar_one()
    lacked, mended = (await connection.execute(_building(tenant))).one()
    return Rebuilt(count, lacked, mended, forgotten)


def _forgetting(tenant: str | None) -> Any:
    there = exists().where(
        uploaded_imports.c.tenant == imports.c.tenant, uploaded_imports.c.import_id == imports.c.import_id
    )
    return delete(imports).where(~there, *_only(imports.c.tenant, tenant))


def _building(tenant: str | None) -> Select[int, int]:
    told = _told(tenant)
    names = told.selected_columns.keys()
    rows = insert(imports).from_select(names, told)
    other = tuple_(*(imports.c[name] for name in names)).is_distinct_from(
        tuple_(*(rows.excluded[name] for name in names))
    )
    still = case((rows.excluded.status == "processing", imports.c.progressed_at))
    built = (
        rows.on_conflict_do_update(
            index_elements=["tenant", "import_id"],
            set_={name: rows.excluded[name] for name in names} | {"progressed_at": still},
            where=other,
        )
        .returning(literal_column("old.import_id IS NULL").label("is_new"))
        .cte()
    )
    return select(func.count().filter(built.c.is_new), func.count().filter(~built.c.is_new))


def _told(tenant: str | None) -> Select[*tuple[Any, ...]]:
    """The imports as upload and processor tell them."""
    theirs, work = uploaded_imports, processor_imports
    ended = work.c.status != "processing"
    # Known to the processor is not begun: that it is when it is claimed, or told to go on.
    begun = and_(~ended, or_(work.c.started_at.is_not(None), work.c.run > 1))

    def in_phase(*, of_ended: Any, of_begun: Any, else_: Any) -> ColumnElement[Any]:
        return case((ended, of_ended), (begun, of_begun), else_=else_)

    # While an import is under way, records that wait to be loaded count as processed; at its end they do not.
    counts = {name: func.coalesce(work.c[name], 0) for name in COUNTS} | {
        "rows_processed": in_phase(
            of_ended=work.c.rows_processed - work.c.rows_staged, of_begun=work.c.rows_processed, else_=0
        )
    }
    state = {
        "run": func.coalesce(work.c.run, 1),
        "status": in_phase(of_ended=work.c.status, of_begun="processing", else_="pending"),
        "counts_rank": in_phase(of_ended=2 * work.c.run + 1, of_begun=2 * work.c.run, else_=0),
        "processing_started_at": in_phase(
            of_ended=work.c.started_at,
            of_begun=func.coalesce(work.c.started_at, theirs.c.uploaded_at),
            else_=None,
        ),
        "processing_completed_at": work.c.finished_at,
        "error_code": work.c.error_code,
        "error_message": work.c.error_message,
    }
    same = and_(work.c.tenant == theirs.c.tenant, work.c.import_id == theirs.c.import_id)
    return (
        select(
            *(theirs.c[name] for name in ("tenant", "import_id", "dataset", *FACTS)),
            *(column.label(name) for name, column in (counts | state).items()),
        )
        .select_from(theirs.outerjoin(work, same))
        .where(*_only(theirs.c.tenant, tenant))
    )


def _only(column: ColumnElement[str], tenant: str | None) -> list[ColumnElement[bool]]:
    return [] if tenant is None else [column == tenant]
