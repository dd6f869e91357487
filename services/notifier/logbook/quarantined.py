"""What waits in quarantine, for people to see."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.grouping import Action, Severity
from services.notifier.tables import quarantined_events
from shared.platform.paging import Cursors, HowTotal, Moment, StorableText, TotalCount, page_of, total_of

_Position = tuple[StorableText, Moment, StorableText]
_CURSORS = Cursors[_Position](_Position)
_SUPPLIERS = Cursors[str](StorableText)


class QuarantinedEvent(BaseModel):
    """An event of a supplier that is not known."""

    event_id: str
    supplier: str
    occurred_at: datetime
    received_at: datetime
    stage: str
    reason: str
    severity: Severity
    action: Action
    summary: str | None = None
    file: dict[str, Any] | None = None


class QuarantinePage(BaseModel):
    items: list[QuarantinedEvent]
    next_cursor: str | None
    total: TotalCount = None


class QuarantinedSupplier(BaseModel):
    """A supplier that is not known, though its events come."""

    model_config = ConfigDict(from_attributes=True)

    supplier: str
    events: int = Field(description="How many wait.")
    first_occurred_at: datetime
    last_occurred_at: datetime


class QuarantinedSupplierPage(BaseModel):
    items: list[QuarantinedSupplier]
    next_cursor: str | None


async def list_events(
    connection: AsyncConnection,
    tenant: str,
    *,
    supplier: str | None,
    limit: int,
    cursor: str | None,
    total: HowTotal | None,
) -> QuarantinePage:
    """By supplier, and in order of time.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    table = quarantined_events
    query = select(table).where(table.c.tenant == tenant)
    if supplier is not None:
        query = query.where(table.c.supplier == supplier)
    order = (table.c.supplier, table.c.occurred_at, table.c.event_id)
    page = query.order_by(*order).limit(limit + 1)
    which = f"quarantine {supplier!r}"
    if after := _CURSORS.decode(which, cursor):
        page = page.where(tuple_(*order) > tuple_(*after))
    rows, last = page_of((await connection.execute(page)).all(), limit)
    return QuarantinePage(
        items=[_shown(row) for row in rows],
        next_cursor=last and _CURSORS.encode(which, (last.supplier, last.occurred_at, last.event_id)),
        total=await total_of(connection, query, total),
    )


async def list_suppliers(
    connection: AsyncConnection, tenant: str, *, limit: int, cursor: str | None
) -> QuarantinedSupplierPage:
    """By their ids.

    Raises:
        Unprocessable: `cursor_invalid`.
    """
    query = _by_supplier().where(quarantined_events.c.tenant == tenant).limit(limit + 1)
    if after := _SUPPLIERS.decode("quarantine by supplier", cursor):
        query = query.where(quarantined_events.c.supplier > after)
    rows, last = page_of((await connection.execute(query)).all(), limit)
    return QuarantinedSupplierPage(
        items=[QuarantinedSupplier.model_validate(row) for row in rows],
        next_cursor=last and _SUPPLIERS.encode("quarantine by supplier", last.supplier),
    )


def _by_supplier() -> Select[*tuple[Any, ...]]:
    table = quarantined_events
    return (
        select(
            table.c.supplier,
            func.count().label("events"),
            func.min(table.c.occurred_at).label("first_occurred_at"),
            func.max(table.c.occurred_at).label("last_occurred_at"),
        )
        .group_by(table.c.supplier)
        .order_by(table.c.supplier)
    )


def _shown(row: Row[Any]) -> QuarantinedEvent:
    rest = {name: value for name, value in row.reported.items() if name in QuarantinedEvent.model_fields}
    apart: Sequence[str] = ("event_id", "supplier", "occurred_at", "received_at")
    return QuarantinedEvent(**rest, **{name: getattr(row, name) for name in apart})
