"""What an edit did to records, told: to one of them, or to all of a dataset."""

from datetime import timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.messages import repository
from services.notifier.messages.event_types import patterns_for
from services.notifier.messages.fanout import Message, fan_out
from services.notifier.messages.payloads import all_deleted_body, deleted_item, edit_body, record_item
from shared.contracts.datasets import Dataset, datasets
from shared.contracts.events import AnyEvent
from shared.contracts.record_edits import record_path
from shared.contracts.record_keys import record_key


async def tell_change(connection: AsyncConnection, event: AnyEvent, *, retention: timedelta) -> None:
    """Tell that an edit created or updated a record, which is told as it is now."""
    dataset = datasets()[event.data.dataset]
    event_type = f"{dataset.noun}.{'created' if event.data.created else 'updated'}"
    if not await repository.asked(connection, event.tenant, patterns_for(event_type), retention):
        return
    key = record_key(dataset, event.data.record_id)
    [shown] = await repository.shown(connection, dataset, event.tenant, [key])
    message = _of_one(event, event_type, record_item(dataset, key, shown))
    await _tell(connection, event, message, _of_record(dataset, key), retention)


async def tell_deletion(connection: AsyncConnection, event: AnyEvent, *, retention: timedelta) -> None:
    """Tell that an edit deleted a record, or all of a dataset."""
    dataset, data = datasets()[event.data.dataset], event.data
    event_type = f"{dataset.noun}.deleted"
    if data.record_id is None:
        body = all_deleted_body(
            event_type, event.time, dataset=dataset.name, edit_id=data.edit_id, count=data.deleted
        )
        await _tell(connection, event, Message(event_type, body), None, retention)
        return
    message = _of_one(event, event_type, deleted_item(data.record_id))
    key = record_key(dataset, data.record_id)
    await _tell(connection, event, message, _of_record(dataset, key), retention)


def _of_one(event: AnyEvent, event_type: str, item: bytes) -> Message:
    data = event.data
    body = edit_body(event_type, event.time, dataset=data.dataset, edit_id=data.edit_id, item=item)
    return Message(event_type, body)


def _of_record(dataset: Dataset, key: str) -> UUID:
    """What edits of a record have in common."""
    return uuid5(NAMESPACE_URL, record_path(dataset, key))


async def _tell(
    connection: AsyncConnection,
    event: AnyEvent,
    message: Message,
    ordered_by: UUID | None,
    retention: timedelta,
) -> None:
    await fan_out(
        connection,
        tenant=event.tenant,
        event_id=event.id,
        messages=[message],
        dataset=event.data.dataset,
        ordered_by=ordered_by,
        retention=retention,
    )
