"""What the processor hears: a new import begins with slice 0, each slice asks for the next one."""

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.processor import repository
from services.processor.pipeline import Pipeline
from services.processor.tables import inbox
from shared.contracts.events import AnyEvent, Event, ImportUploaded, SliceProcess
from shared.contracts.topology import PROCESSOR_IMPORTS
from shared.platform.bus import Bus, Subscription, once


def subscription(engine: AsyncEngine, bus: Bus, pipeline: Pipeline) -> Subscription:
    """The processor's consumer."""

    async def on_uploaded(connection: AsyncConnection, event: Event[ImportUploaded]) -> None:
        uploaded = event.data
        await repository.add_import(connection, event.tenant, uploaded)
        command = SliceProcess(import_id=uploaded.import_id, slice=0)
        await bus.publish(connection, bus.event(command, tenant=event.tenant, subject=uploaded.import_id))

    async def on_slice(event: Event[SliceProcess]) -> None:
        # Not `once`: the slice number is what makes it idempotent, and its work is no single transaction.
        await pipeline.process(event)

    async def on_exhausted(event: AnyEvent, error: BaseException) -> None:
        await pipeline.give_up(event, error)

    return Subscription(
        PROCESSOR_IMPORTS,
        handlers={
            "import.uploaded": once(engine, inbox, PROCESSOR_IMPORTS, on_uploaded),
            "slice.process": on_slice,
        },
        on_exhausted=on_exhausted,
    )
