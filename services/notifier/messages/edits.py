"""What an edit did to records, as a message: to one of them, or to all of a dataset."""

from datetime import timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.messages import repository
from services.notifier.messages.event_types import patterns_for
from services.notifier.messages.fanout import Message
from services.notifier.messages.payloads import all_deleted_body, deleted_item, edit_body, record_item
from shared.contracts.datasets import Dataset, datasets
from shared.contracts.events import AnyEvent
from shared.contracts.record_edits import record_path
from shared.contracts.record_keys import record_key


async def told_change(
    connection: AsyncConnection, event: AnyEvent, *, retention: timedelta
) -> Message | None:
    """That an edit created or updated a record, which is told as it is now. None: nobody asks for it."""
    dataset = datasets()[event.data.dataset]
    event_type = f"{dataset.noun}.{'created' if event.data.created else 'updated'}"
    if not await repository.asked(connection, event.tenant, patterns_for(event_type), retention):
        return None
    key = record_key(dataset, event.data.record_id)
    [shown] = await repository.shown(connection, dataset, event.tenant, [key])
    return _of_one(event, dataset, event_type, record_item(dataset, key, shown), key)


def told_deletion(event: AnyEvent) -> Message:
    """That an edit deleted a record, or all of a dataset."""
    dataset, data = datasets()[event.data.dataset], event.data
    event_type = f"{dataset.noun}.deleted"
    if data.record_id is not None:
        key = record_key(dataset, data.record_id)
        return _of_one(event, dataset, event_type, deleted_item(data.record_id), key)
    body = all_deleted_body(
        event_type, event.time, dataset=dataset.name, edit_id=data.edit_id, count=data.deleted
    )
    return Message.of(event, event_type, body, dataset=dataset.name)


def _of_one(event: AnyEvent, dataset: Dataset, event_type: str, item: bytes, key: str) -> Message:
    body = edit_body(event_type, event.time, dataset=dataset.name, edit_id=event.data.edit_id, item=item)
    return Message.of(event, event_type, body, dataset=dataset.name, ordered_by=_of_record(dataset, key))


def _of_record(dataset: Dataset, key: str) -> UUID:
    """What edits of a record have in common."""
    return uuid5(NAMESPACE_URL, record_path(dataset, key))
