"""The SQL of imports: find them, list them and what has changed of them, adopt those that no event has told of.

`results.imports` knows what events told. What upload alone knows so far, an import whose event has not arrived, is
filled in from the view that upload publishes. That need only be looked for among the newest: `adopt_uploaded` brings
what is older here, however long the bus is away.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    func,
    literal,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.cursors import ImportPosition
from services.results.imports.filters import Filters
from services.results.tables import (
    COUNTS,
    FACTS,
    AnyRow,
    folded,
    imports,
    processor_imports,
    uploaded_imports,
)

UNHEARD = timedelta(minutes=10)  # how far back a list looks for imports whose event has not arrived
# Adopted when it is older than this. Its event is nearly always faster; should both come, they say the same.
ADOPTED_AFTER = timedelta(minutes=1)

# A statement takes longer to put together than to run, so each is made once for what is `Given`, by name.
Statement = Select[*tuple[Any, ...]]
Given = frozenset[str]
_TENANT = bindparam("tenant", type_=Text)
_SAME = and_(
    imports.c.tenant == uploaded_imports.c.tenant, imports.c.import_id == uploaded_imports.c.import_id
)

ChangePosition = tuple[datetime, UUID]
FIRST_ID = UUID(int=0)

_PENDING = literal("pending")
_ONLY_OURS = (
    "changed_at",
    "processing_started_at",
    "progressed_at",
    "processing_completed_at",
    "error_code",
    "error_message",
)


def _merged(mine: FromClause, theirs: FromClause) -> list[ColumnElement[Any]]:
    """An import's columns, what is missing in `mine` (the read model) filled in from `theirs` (upload's view)."""
    both = ("tenant", "import_id", "dataset", *FACTS)
    return [
        *(func.coalesce(mine.c[name], theirs.c[name]).label(name) for name in both),
        func.coalesce(mine.c.status, "pending").label("status"),
        func.coalesce(mine.c.run, 1).label("run"),
        *(func.coalesce(mine.c[name], 0).label(name) for name in COUNTS),
        *(mine.c[name] for name in _ONLY_OURS),
    ]


async def find_import(connection: AsyncConnection, tenant: str, import_id: UUID) -> AnyRow | None:
    """One import as `results.imports` has it, what is missing there filled in from upload's view."""
    found = await connection.execute(_finding(), {"tenant": tenant, "import_id": import_id})
    return found.one_or_none()


@cache
def _finding() -> Statement:
    mine, theirs = (
        select(table).where(table.c.tenant == _TENANT, table.c.import_id == bindparam("import_id")).subquery()
        for table in (imports, uploaded_imports)
    )
    return (
        select(*_merged(mine, theirs))
        .select_from(mine.join(theirs, mine.c.import_id == theirs.c.import_id, full=True))
        .where(func.coalesce(mine.c.uploaded_at, theirs.c.uploaded_at).is_not(None))
    )


async def find_upload(connection: AsyncConnection, tenant: str, import_id: UUID) -> AnyRow | None:
    """What upload found in the file and was asked to do with it."""
    found = select(uploaded_imports).where(
        uploaded_imports.c.tenant == tenant, uploaded_imports.c.import_id == import_id
    )
    return (await connection.execute(found)).one_or_none()


async def find_work(connection: AsyncConnection, tenant: str, import_id: UUID) -> AnyRow | None:
    """How the processor reads the import; None before it has begun."""
    found = select(processor_imports).where(
        processor_imports.c.tenant == tenant, processor_imports.c.import_id == import_id
    )
    return (await connection.execute(found)).one_or_none()


async def list_imports(
    connection: AsyncConnection,
    tenant: str,
    filters: Filters,
    *,
    after: ImportPosition | None,
    limit: int,
) -> Sequence[AnyRow]:
    """Imports that match, newest first."""
    said = _said(filters)
    place = {} if after is None else {"after_time": after[0], "after_id": after[1]}
    values = {"tenant": tenant, "page": limit} | said | place
    return (await connection.execute(_listing(frozenset(said), after is not None), values)).all()


def matching(tenant: str, filters: Filters) -> Statement:
    """All imports that match, in no order: for counting them."""
    said = _said(filters)
    given = frozenset(said)
    return select(union_all(_heard(given), _unheard(given)).subquery()).params(said | {"tenant": tenant})


def _said(filters: Filters) -> dict[str, Any]:
    return {name: value for name, value in vars(filters).items() if value is not None and value != ()}


@cache
def _listing(given: Given, is_continued: bool) -> Statement:
    pages = [_page(part, is_continued).subquery() for part in (_heard(given), _unheard(given))]
    both = union_all(*(select(page) for page in pages)).subquery()
    return _page(select(both), is_continued)


def _page(found: Statement, is_continued: bool) -> Statement:
    columns = found.selected_columns
    order = (columns.uploaded_at, columns.import_id)
    if is_continued:
        found = found.where(tuple_(*order) < _position())
    return found.order_by(*(column.desc() for column in order)).limit(bindparam("page", type_=Integer))


def _position() -> ColumnElement[Any]:
    time = bindparam("after_time", type_=DateTime(timezone=True))
    return tuple_(time, bindparam("after_id", type_=Uuid))


def _heard(given: Given) -> Statement:
    """What events told of, or `adopt_uploaded`."""
    names = [column.name for column in _merged(imports, uploaded_imports)]
    return select(*(imports.c[name] for name in names)).where(
        imports.c.tenant == _TENANT,
        imports.c.uploaded_at.is_not(None),
        *_conditions(imports, imports.c.status, given),
    )


def _unheard(given: Given) -> Statement:
    """What upload has lately taken in, and no event has told of yet. Events of its progress may be faster."""
    theirs = uploaded_imports
    return (
        select(*_merged(imports, theirs))
        .select_from(theirs.outerjoin(imports, _SAME))
        .where(
            theirs.c.tenant == _TENANT,
            theirs.c.uploaded_at > func.now() - UNHEARD,
            imports.c.uploaded_at.is_(None),
            *_conditions(theirs, func.coalesce(imports.c.status, "pending"), given),
        )
    )


def _conditions(table: FromClause, status: ColumnElement[str], given: Given) -> list[ColumnElement[bool]]:
    of = {
        "statuses": status.in_(bindparam("statuses", expanding=True)),
        "dataset": table.c.dataset == bindparam("dataset"),
        "source": table.c.source == bindparam("source"),
        "uploaded_from": table.c.uploaded_at >= bindparam("uploaded_from"),
        "uploaded_to": table.c.uploaded_at < bindparam("uploaded_to"),
        "file_name": func.strpos(folded(table.c.file_name), folded(bindparam("file_name"))) > 0,
    }
    return [of[name] for name in sorted(given)]


async def list_changed(
    connection: AsyncConnection,
    tenant: str,
    *,
    after: ChangePosition,
    up_to: datetime | None = None,
    limit: int,
) -> Sequence[AnyRow]:
    """The imports that were changed last behind `after`, the earliest first.

    Args:
        connection: Of the transaction.
        tenant: Whose.
        after: When one was changed, and which it was.
        up_to: Not those that were changed after this moment.
        limit: At most so many.
    """
    values = {"tenant": tenant, "page": limit, "after_time": after[0], "after_id": after[1]}
    if up_to is not None:
        values["up_to"] = up_to
    return (await connection.execute(_changes(up_to is not None), values)).all()


@cache
def _changes(is_limited: bool) -> Statement:
    order = (imports.c.changed_at, imports.c.import_id)
    lacking = and_(imports.c.uploaded_at.is_(None), _SAME)
    changed = (
        select(*_merged(imports, uploaded_imports))
        .select_from(imports.outerjoin(uploaded_imports, lacking))
        .where(
            imports.c.tenant == _TENANT,
            func.coalesce(imports.c.uploaded_at, uploaded_imports.c.uploaded_at).is_not(None),
            tuple_(*order) > _position(),
        )
        .order_by(*order)
        .limit(bindparam("page", type_=Integer))
    )
    if is_limited:
        changed = changed.where(imports.c.changed_at <= bindparam("up_to"))
    return changed


async def database_time(connection: AsyncConnection) -> datetime:
    """The present time by the clock that `changed_at` is set by."""
    now: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return now


async def adopt_uploaded(connection: AsyncConnection, since: datetime | None) -> int:
    """Know the imports of all tenants that upload took in since then, as their events would have told; how many were new.

    For events that are late, or were given up: what this writes is what they say.
    """
    theirs = uploaded_imports
    told = (
        select(imports.c.import_id)
        .where(
            imports.c.tenant == theirs.c.tenant,
            imports.c.import_id == theirs.c.import_id,
            imports.c.uploaded_at.is_not(None),
        )
        .exists()
    )
    facts = ("dataset", *FACTS)
    unheard = select(theirs.c.tenant, theirs.c.import_id, *(theirs.c[name] for name in facts)).where(
        theirs.c.uploaded_at < func.now() - ADOPTED_AFTER, ~told
    )
    if since is not None:
        unheard = unheard.where(theirs.c.uploaded_at >= since)
    rows = insert(imports).from_select(
        ["tenant", "import_id", *facts, "status"], unheard.add_columns(_PENDING)
    )
    adopted = rows.on_conflict_do_update(
        index_elements=["tenant", "import_id"], set_={name: rows.excluded[name] for name in FACTS}
    )
    return (await connection.execute(adopted)).rowcount
