"""What an import changed, told in batches: each change once, in order of the file, whichever events come, and when.

An event of an import is but a hint that there may be more: what there is stands in `processor.changes_v1`, where slices
appear one after the other, and `notifier.expansions` has how many of its rows are told. One process at a time goes on with
an import, in steps, each of them a transaction. What ends an import does this first, so that it comes behind the records.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notifier.messages import repository
from services.notifier.messages.batches import MAX_ITEMS, Batch, Cutter
from services.notifier.messages.event_types import patterns_for
from services.notifier.messages.fanout import Message, Stored, add_messages, deliver
from services.notifier.messages.payloads import batch_body, record_item
from services.notifier.messages.repository import Asked, Change, Told
from shared.contracts.datasets import datasets
from shared.contracts.events import AnyEvent
from shared.platform.bus import Later
from shared.platform.logs import get_logger

CHANGES_A_STEP = 8  # of up to 5,000 records: about a second
STEPS_AT_ONCE = 10  # far below the 30 s after which the bus gives the event to another worker
RECORDS_READ_AT_ONCE = MAX_ITEMS  # 60 MB, if all are as large as a record may be
MESSAGES_WRITTEN_AT_ONCE = 16  # 4 MB at most
LATER_SECONDS = 0.3  # a step takes longer, and the bus may take a second to look

_TOLD_AS = {"created": "created", "updated": "updated", "repeated": "updated"}
_DATASET_OF = {
    f"{dataset.noun}.{what}": dataset.name
    for dataset in datasets().values()
    for what in set(_TOLD_AS.values())
}

log = get_logger(__name__)


async def tenants_that_ask(
    connection: AsyncConnection, tenants: Iterable[str], retention: timedelta
) -> set[str]:
    """Those of `tenants` one of whose endpoints asks for any records."""
    return await repository.tenants_that_ask(connection, tenants, _record_patterns(), retention)


async def expand(
    engine: AsyncEngine, event: AnyEvent, *, retention: timedelta, wake: Callable[[], None]
) -> None:
    """Tell all that the import of `event` has changed by now and that is not told yet, if anybody asks for it.

    Raises:
        Later: somebody else is at it, or there is so much that others go first.
    """
    for _ in range(STEPS_AT_ONCE):
        if not await _step(engine, event, retention):
            return
        wake()
    raise Later(LATER_SECONDS)


async def _step(engine: AsyncEngine, event: AnyEvent, retention: timedelta) -> bool:
    """Tell some of it; whether there was any."""
    import_id: UUID = event.data.import_id
    async with engine.begin() as connection:
        asked = await repository.asked(connection, event.tenant, _record_patterns(), retention)
        if not asked:
            return False
        told = await repository.take(connection, event.tenant, import_id)
        if told is None:
            raise Later(LATER_SECONDS)
        found = await repository.next_changes(
            connection, event.tenant, import_id, behind=told.changes, limit=CHANGES_A_STEP
        )
        if not found:
            return False
        stretches = _whole(_stretches(found), more=len(found) == CHANGES_A_STEP)
        step = _Step(connection, event, told.batches)
        for stretch in stretches:
            await step.tell(_wanted(stretch, asked))
        await step.finish()
        await deliver(
            connection,
            tenant=event.tenant,
            event_id=event.id,
            stored=step.stored,
            ordered_by=import_id,
            retention=retention,
        )
        done = told.changes + sum(map(len, stretches))
        await repository.keep(connection, import_id, Told(done, step.batches))
    log.debug("import.told", import_id=str(import_id), changes=done, batches=step.batches)
    return True


def _record_patterns() -> list[str]:
    """What an endpoint may ask for to be told of any record that an import changed."""
    return list(dict.fromkeys(pattern for name in _DATASET_OF for pattern in patterns_for(name)))


def _event_type(change: Change) -> str:
    return f"{datasets()[change.dataset].noun}.{_TOLD_AS[change.kind]}"


def _wanted(changes: Iterable[Change], asked: Sequence[Asked]) -> list[Change]:
    return [
        change for change in changes if any(one.wants(_event_type(change), change.dataset) for one in asked)
    ]


def _stretches(changes: Iterable[Change]) -> list[list[Change]]:
    """Changes, which come by their first rows, in groups of those whose rows lie among one another."""
    stretches: list[list[Change]] = []
    last_row = -1
    for change in changes:
        if stretches and min(change.row_numbers) <= last_row:
            stretches[-1].append(change)
        else:
            stretches.append([change])
        last_row = max(last_row, *change.row_numbers)
    return stretches


def _whole(stretches: list[list[Change]], *, more: bool) -> list[list[Change]]:
    """Those of which nothing may be missing, though more changes follow: never none."""
    return stretches[:-1] if more and len(stretches) > 1 else stretches


@dataclass
class _Step:
    """The batches of one step, as they come.

    Attributes:
        batches: How many the import has by now.
        stored: Those of this step, in order.
    """

    connection: AsyncConnection
    event: AnyEvent
    batches: int
    stored: list[Stored] = field(default_factory=list)
    _cutter: Cutter = field(default_factory=Cutter)
    _waiting: list[Batch] = field(default_factory=list)

    async def tell(self, changes: Iterable[Change]) -> None:
        """Make batches of these changes, whose rows are all behind those of the changes before."""
        records = sorted(
            (
                (row, change.dataset, _event_type(change), key)
                for change in changes
                for row, key in zip(change.row_numbers, change.keys, strict=True)
            ),
        )
        for start in range(0, len(records), RECORDS_READ_AT_ONCE):
            for event_type, row, item in await self._items(records[start : start + RECORDS_READ_AT_ONCE]):
                self._waiting += self._cutter.add(event_type, row, item)
            while len(self._waiting) >= MESSAGES_WRITTEN_AT_ONCE:
                await self._write()

    async def finish(self) -> None:
        """Make batches of what is left."""
        self._waiting += self._cutter.rest()
        while self._waiting:
            await self._write()

    async def _items(self, records: Sequence[tuple[int, str, str, str]]) -> list[tuple[str, int, bytes]]:
        found = {}
        for name in {name for _, name, _, _ in records}:
            keys = [key for _, dataset, _, key in records if dataset == name]
            shown = await repository.shown(self.connection, datasets()[name], self.event.tenant, keys)
            found[name] = iter(shown)
        return [
            (event_type, row, record_item(datasets()[name], key, next(found[name]), row))
            for row, name, event_type, key in records
        ]

    async def _write(self) -> None:
        batches = self._waiting[:MESSAGES_WRITTEN_AT_ONCE]
        del self._waiting[: len(batches)]
        messages = [self._message(batch) for batch in batches]
        self.stored += await add_messages(self.connection, messages)

    def _message(self, batch: Batch) -> Message:
        self.batches += 1
        dataset = _DATASET_OF[batch.event_type]
        body = batch_body(
            batch.event_type,
            self.event.time,
            dataset=dataset,
            import_id=self.event.data.import_id,
            number=self.batches,
            rows=batch.rows,
            items=batch.items,
        )
        event = self.event
        return Message.of(event, batch.event_type, body, part=self.batches, dataset=dataset)
