"""What results hears: facts that move the read model, and live progress on the side."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.results.imports import merging
from services.results.tables import inbox
from shared.contracts.events import (
    AnyEvent,
    ImportCancelled,
    ImportCompleted,
    ImportFailed,
    ImportProgressed,
    ImportResumed,
    ImportUploaded,
)
from shared.contracts.topology import RESULTS_IMPORTS
from shared.platform.bus import Handler, Subscription, once

Wake = Callable[[str, UUID], None]


def subscription(engine: AsyncEngine, wake: Wake) -> Subscription:
    """The consumer of `results.imports`; calls `wake(tenant, import_id)` when the read model has changed."""

    def handler(merge: Callable[[AsyncConnection, AnyEvent], Awaitable[None]]) -> Handler:
        merge_once = once(engine, inbox, RESULTS_IMPORTS, merge)

        async def handle(event: AnyEvent) -> None:
            await merge_once(event)
            wake(event.tenant, event.data.import_id)

        return handle

    return Subscription(
        RESULTS_IMPORTS,
        {
            ImportUploaded.type: handler(_on_uploaded),
            ImportResumed.type: handler(_on_resumed),
            ImportCompleted.type: handler(_on_completed),
            ImportFailed.type: handler(_on_failed),
            ImportCancelled.type: handler(_on_cancelled),
        },
    )


def live_listener(engine: AsyncEngine, wake: Wake) -> Callable[[AnyEvent], Awaitable[None]]:
    """The listener to live events. Every process writes what it hears: each can, and only the first one changes a row."""

    async def hear(event: AnyEvent) -> None:
        if not isinstance(event.data, ImportProgressed):
            return
        async with engine.begin() as connection:
            await merging.add_progress(connection, event.tenant, event.data, event.time)
        wake(event.tenant, event.data.import_id)

    return hear


async def _on_uploaded(connection: AsyncConnection, event: AnyEvent) -> None:
    await merging.add_uploaded(connection, event.tenant, event.data)


async def _on_resumed(connection: AsyncConnection, event: AnyEvent) -> None:
    await merging.add_resumed(connection, event.tenant, event.data)


async def _on_completed(connection: AsyncConnection, event: AnyEvent) -> None:
    await merging.add_completed(connection, event.tenant, event.data)


async def _on_failed(connection: AsyncConnection, event: AnyEvent) -> None:
    await merging.add_failed(connection, event.tenant, event.data)


async def _on_cancelled(connection: AsyncConnection, event: AnyEvent) -> None:
    await merging.add_cancelled(connection, event.tenant, event.data)
