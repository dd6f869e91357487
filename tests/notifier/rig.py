"""The delivery engine by itself: a worker on a real database, whose clock can be moved, and deliveries made by hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.notifier.delivery.sender import Sender
from services.notifier.delivery.signing import new_secret
from services.notifier.delivery.worker import DeliveryWorker
from services.notifier.targets.guard import Guard
from services.notifier.targets.policy import TargetPolicy
from services.notifier.targets.resolver import Resolver
from shared.contracts.events import AnyEvent
from shared.platform.database import engine_for
from shared.platform.presence import Presence
from shared.platform.service import Stopping

INSERT = """
    INSERT INTO notifier.deliveries
        (tenant, endpoint_id, message_id, event_id, event_type, sequence, ordered_by, held)
    VALUES ('acme', $1, $2, $3, 'import.completed', $4, $5, $6) RETURNING id
"""


@dataclass
class Rig:
    """One process's engine. `published` are the events that it put on the bus."""

    database_url: str
    database: "asyncpg.Connection[Any]"
    ahead: timedelta = timedelta()
    published: list[AnyEvent] = field(default_factory=list)
    worker: DeliveryWorker | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[DeliveryWorker]:
        """Another process of the notifier, as far as deliveries go."""
        presence = Presence(self.database_url, "notifier")
        engine = engine_for(self.database_url, "notifier", pool_size=5)
        guard = Guard(TargetPolicy(allow_private=True), Resolver())

        async def publish(_: Any, event: AnyEvent) -> None:
            self.published.append(event)

        worker = DeliveryWorker(
            engine,
            Sender(guard),
            Stopping(),
            owner=presence.instance,
            publish=publish,
            ahead=lambda: self.ahead,
        )
        await presence.start([])
        worker.start()
        try:
            yield worker
        finally:
            await worker.stop(3)
            await guard.close()
            await presence.stop()
            await engine.dispose()

    async def endpoint(self, url: str, **values: Any) -> UUID:
        """A webhook endpoint of tenant acme, with further columns."""
        columns = {"url": url, "secret": new_secret(), **values}
        names = ", ".join(columns)
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        return await self.database.fetchval(
            f"INSERT INTO notifier.endpoints (tenant, event_types, {names}) VALUES ('acme', '{{*}}', {places}) RETURNING id",
            *columns.values(),
        )

    async def deliver(
        self, endpoint_id: UUID, count: int = 1, *, ordered_by: UUID | None = None
    ) -> Sequence[UUID]:
        """Make deliveries as the consumer does; of those with `ordered_by` all but the first are held."""
        made = []
        async with self.database.transaction():
            last = await self.database.fetchval(
                "UPDATE notifier.endpoints SET last_sequence = last_sequence + $2 WHERE id = $1 RETURNING last_sequence",
                endpoint_id,
                count,
            )
            for nth in range(count):
                body = json.dumps({"type": "import.completed", "data": {"nth": nth}}).encode()
                event_id = uuid4()
                message_id = await self.database.fetchval(
                    "INSERT INTO notifier.messages (tenant, event_id, part, event_type, body)"
                    " VALUES ('acme', $1, 0, 'import.completed', $2) RETURNING id",
                    event_id,
                    body,
                )
                held = ordered_by is not None and nth > 0
                values = (endpoint_id, message_id, event_id, last - count + nth + 1, ordered_by, held)
                made.append(await self.database.fetchval(INSERT, *values))
        if self.worker:
            self.worker.wake()
        return made

    def later(self, **time: float) -> None:
        """Let time pass."""
        self.ahead += timedelta(**time)
        if self.worker:
            self.worker.wake()

    async def due_in(self, delivery_id: UUID) -> float:
        """Seconds until the next attempt."""
        return await self.database.fetchval(
            "SELECT extract(epoch FROM next_attempt_at - now() - $2)::float8 FROM notifier.deliveries WHERE id = $1",
            delivery_id,
            self.ahead,
        )

    async def counts(self, endpoint_id: UUID) -> dict[str, int]:
        """Deliveries by status."""
        rows = await self.database.fetch(
            "SELECT status, count(*) FROM notifier.deliveries WHERE endpoint_id = $1 GROUP BY 1", endpoint_id
        )
        return {row[0]: row[1] for row in rows}

    async def until(self, query: str, *arguments: Any, gives: Any) -> None:
        for _ in range(3000):
            if (last := await self.database.fetchval(query, *arguments)) == gives:
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"{query} never gave {gives!r}, but {last!r}")

    async def attempted(self, delivery_id: UUID, times: int) -> None:
        """Wait until so many attempts have been written down."""
        await self.until(
            "SELECT attempts_made FROM notifier.deliveries WHERE id = $1 AND lease_owner IS NULL",
            delivery_id,
            gives=times,
        )
