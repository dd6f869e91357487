"""How people's steps and the ends of mutes are kept: the investigation's columns, its history, and what is published.

All of it in the caller's transaction, which has the tenant's investigations for itself (`alone`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.investigations.deciding import What
from services.notifier.investigations.derived import Columns, state_at
from services.notifier.investigations.locking import lock
from services.notifier.investigations.states import Change, State, change_of
from services.notifier.tables import investigation_history, investigations
from shared.contracts.events import (
    EventData,
    InvestigationOpened,
    InvestigationReopened,
    InvestigationResolved,
    event_of,
)
from shared.platform.bus import Publish
from shared.platform.logs import current_traceparent

Cause = Literal["person", "mute_ended"]


@dataclass(frozen=True)
class Step:
    """What becomes of one investigation.

    Attributes:
        before: Its row.
        columns: The columns that get new values; the state follows from them.
        what: For the history; None: nothing is to be said there.
        actor: Subject of the token of who did it; None: the end of a mute did.
        is_new: It was not there before.
    """

    before: Columns
    columns: Mapping[str, Any]
    what: What | None
    at: datetime
    actor: str | None = None
    note: str | None = None
    details: Mapping[str, Any] | None = None
    cause: Cause = "person"
    is_new: bool = False

    @property
    def after(self) -> dict[str, Any]:
        """Its columns as they become."""
        after = {**self.before, **self.columns}
        return after | {"state": state_at(after, self.at)}

    @property
    def change(self) -> Change | None:
        """What is told of it."""
        before: State | None = None if self.is_new else self.before["state"]
        return change_of(before, self.after["state"])


@dataclass
class Alone:
    """Who alone acts on a tenant's investigations until the transaction ends, and since when, by the database's clock."""

    connection: AsyncConnection = field(repr=False)
    tenant: str
    now: datetime


async def alone(connection: AsyncConnection, tenant: str) -> Alone:
    """Wait until nobody else logs events or acts on investigations of `tenant`, and nobody else may."""
    await lock(connection, tenant)
    now: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return Alone(connection, tenant, now)


async def found(own: Alone, ids: Sequence[UUID]) -> dict[UUID, Columns]:
    """The tenant's investigations of these ids, those that there are."""
    query = select(investigations).where(
        investigations.c.tenant == own.tenant, investigations.c.id.in_(list(ids))
    )
    return {row["id"]: dict(row) for row in (await own.connection.execute(query)).mappings()}


async def keep(own: Alone, steps: Sequence[Step], publish: Publish) -> None:
    """Write what becomes of investigations, each at most once, and publish what is told of it."""
    await _write(own, [step for step in steps if step.columns])
    history = [_remembered(own, step) for step in steps if step.what is not None]
    if history:
        await own.connection.execute(insert(investigation_history), history)
    for step in steps:
        if step.change is not None:
            await _publish(own, step, step.change, publish)


async def _write(own: Alone, steps: Sequence[Step]) -> None:
    """In one statement for all that change the same columns, which most do."""
    by_columns: dict[frozenset[str], list[dict[str, Any]]] = {}
    for step in steps:
        values = {**step.columns, "state": step.after["state"]}
        rows = by_columns.setdefault(frozenset(values), [])
        rows.append({**values, "of_id": step.before["id"]})
    for names, rows in by_columns.items():
        statement = update(investigations).where(
            investigations.c.tenant == own.tenant, investigations.c.id == bindparam("of_id")
        )
        await own.connection.execute(
            statement.values({name: bindparam(name) for name in sorted(names)}), rows
        )


def _remembered(own: Alone, step: Step) -> dict[str, Any]:
    return {
        "tenant": own.tenant,
        "investigation_id": step.before["id"],
        "what": step.what,
        "happened_at": step.at,
        "actor": step.actor,
        "note": step.note,
        "details": None if step.details is None else dict(step.details),
    }


async def _publish(own: Alone, step: Step, change: Change, publish: Publish) -> None:
    subject = step.before["id"]
    traceparent = current_traceparent()
    event = event_of(
        _told(step, change), tenant=own.tenant, subject=subject, service="notifier", traceparent=traceparent
    )
    await publish(own.connection, event)


def _told(step: Step, change: Change) -> EventData:
    after = step.after
    about = {name: after[name] for name in ("stage", "reason", "supplier", "summary", "severity")}
    about["investigation_id"] = after["id"]
    if change == "opened":
        return InvestigationOpened(**about, opened_at=after["opened_at"])
    about |= {"count": after["event_count"], "by": step.actor, "note": step.note}
    if change == "reopened":
        return InvestigationReopened(**about, cause=step.cause, reopened_at=step.at)
    return InvestigationResolved(**about, resolved_at=step.at)
