"""The edits: each checks what it is asked for, changes the records, keeps what it did and puts its event on the bus.

A single edit takes no lock on the table, as the slices of imports do among themselves: it locks its one row, and waits a
moment for a slice that has it. A slice that meets an edit finds a changed row, which it judges anew, or a key just
taken, and is done again. Only to delete all waits until no slice is being loaded: then what an import loaded before is
gone, and what it loads behind it stays.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from services.processor.editing import repository
from services.processor.editing.repository import Stored
from services.processor.editing.values import Written, checked, values_in
from shared.contracts.datasets import Dataset, datasets
from shared.contracts.events import (
    AnyEvent,
    Event,
    EventData,
    RecordCreate,
    RecordDelete,
    RecordPatch,
    RecordReplace,
    RecordsChanged,
    RecordsDeleteAll,
    RecordsDeleted,
)
from shared.contracts.problems import (
    Conflict,
    NotFound,
    PreconditionFailed,
    Problem,
    Unprocessable,
)
from shared.contracts.record_edits import record_path
from shared.contracts.record_etag import ANY, etag_header
from shared.contracts.record_keys import record_id

Named = RecordReplace | RecordPatch | RecordDelete
Outcome = Literal["created", "updated", "unchanged", "deleted", "all_deleted", "refused"]


@dataclass(frozen=True)
class Edited:
    """What became of an edit.

    Attributes:
        stored: The record as it is now.
        before: The row as it was, as PostgreSQL's JSON.
        key: Of the one record.
        records: How many were changed.
        told: The event that says so.
        problem: Why nothing was done.
    """

    outcome: Outcome
    stored: Stored | None = None
    before: str | None = None
    key: str | None = None
    records: int = 0
    told: EventData | None = None
    problem: Problem | None = None


async def edit(connection: AsyncConnection, command: AnyEvent) -> Edited:
    """Do what the command asks for, or find why not; then nothing was written.

    Raises:
        LookupError: the dataset is none whose records are edited here. Who asks knows that, unless it is newer.
    """
    dataset = datasets().get(command.data.dataset)
    if dataset is None or not dataset.editable:
        raise LookupError(f"the records of dataset {command.data.dataset!r} are not edited")
    try:
        return await _EDITS[type(command.data)](connection, dataset, command)
    except Problem as problem:
        return Edited("refused", problem=problem)


async def _create(connection: AsyncConnection, dataset: Dataset, command: Event[RecordCreate]) -> Edited:
    written = checked(dataset, command.data.values)
    stored = await repository.add(connection, dataset, command.tenant, written)
    if stored is None:
        taken = record_id(dataset, written.key)
        raise Conflict(
            "record_exists",
            f"there is a {dataset.noun} {taken!r} already",
            hint="change it with PUT or PATCH at `links.record`",
            id=taken,
            links={"record": record_path(dataset, written.key)},
        )
    told = _told(command, dataset, written.key, created=1)
    return Edited("created", stored, key=written.key, records=1, told=told)


async def _replace(connection: AsyncConnection, dataset: Dataset, command: Event[RecordReplace]) -> Edited:
    before = await _wanted(connection, dataset, command)
    return await _changed(connection, dataset, command, checked(dataset, command.data.values), before)


async def _patch(connection: AsyncConnection, dataset: Dataset, command: Event[RecordPatch]) -> Edited:
    before = await _wanted(connection, dataset, command)
    whole = values_in(dataset, before.row) | command.data.values
    return await _changed(connection, dataset, command, checked(dataset, whole), before)


async def _changed(
    connection: AsyncConnection, dataset: Dataset, command: Event[Any], written: Written, before: Stored
) -> Edited:
    if written.key != command.data.key:
        raise _other_key(dataset, command.data.key, written.key)
    stored = await repository.change(connection, dataset, command.tenant, written)
    if stored is None:
        return Edited("unchanged", before, key=written.key)
    told = _told(command, dataset, written.key, updated=1)
    return Edited("updated", stored, before=before.row, key=written.key, records=1, told=told)


def _told(
    command: Event[Any], dataset: Dataset, key: str, *, created: int = 0, updated: int = 0
) -> RecordsChanged:
    return RecordsChanged(
        dataset=dataset.name,
        created=created,
        updated=updated,
        edit_id=command.data.edit_id,
        record_id=record_id(dataset, key),
    )


async def _delete(connection: AsyncConnection, dataset: Dataset, command: Event[RecordDelete]) -> Edited:
    before = await _wanted(connection, dataset, command)
    key = command.data.key
    await repository.remove(connection, dataset, command.tenant, key)
    told = RecordsDeleted(
        dataset=dataset.name, edit_id=command.data.edit_id, deleted=1, record_id=record_id(dataset, key)
    )
    return Edited("deleted", before=before.row, key=key, records=1, told=told)


async def _delete_all(
    connection: AsyncConnection, dataset: Dataset, command: Event[RecordsDeleteAll]
) -> Edited:
    count = await repository.remove_all(connection, dataset, command.tenant)
    if not count:
        return Edited("all_deleted")
    edit_id = command.data.edit_id
    told = RecordsDeleted(dataset=dataset.name, edit_id=edit_id, deleted=count, whole_dataset=True)
    return Edited("all_deleted", records=count, told=told)


_EDITS: Mapping[type[EventData], Callable[..., Awaitable[Edited]]] = MappingProxyType(
    {
        RecordCreate: _create,
        RecordReplace: _replace,
        RecordPatch: _patch,
        RecordDelete: _delete,
        RecordsDeleteAll: _delete_all,
    }
)


async def _wanted(connection: AsyncConnection, dataset: Dataset, command: Event[Any]) -> Stored:
    """The record that the command names, locked, if it is as the command says.

    Raises:
        NotFound: `record_not_found`.
        PreconditionFailed: `record_changed`.
    """
    named: Named = command.data
    stored = await repository.find(connection, dataset, command.tenant, named.key)
    if stored is None:
        raise NotFound(
            "record_not_found",
            f"dataset {dataset.name!r} has no record {record_id(dataset, named.key)!r}",
            hint=f"the id is what `id` says in GET /api/v1/records/{dataset.name}",
        )
    if named.if_match is None or ANY in named.if_match or stored.etag in named.if_match:
        return stored
    raise PreconditionFailed(
        "record_changed",
        f"the {dataset.noun} {record_id(dataset, named.key)!r} is not the one that If-Match names: it was changed meanwhile",
        hint="read it again, and send If-Match with the ETag that it has now",
        etag=etag_header(stored.etag),
    )


def _other_key(dataset: Dataset, key: str, given: str) -> Unprocessable:
    field = dataset.field(dataset.primary_key[0])
    made, named = record_id(dataset, given), record_id(dataset, key)
    message = f"{field.title} makes this the record {made!r}, and the path names {named!r}"
    return Unprocessable(
        "record_key_differs",
        message,
        hint="a record keeps its key; to give it another one, create that record and delete this one",
        errors=[{"field": field.name, "code": "record_key_differs", "message": message, "hint": None}],
    )
