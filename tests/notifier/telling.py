"""What endpoints are told: made by the consumer's handlers from what a real processor did, and read from the database."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from services.results.records.statements import one
from shared.contracts.datasets import datasets
from shared.contracts.events import AnyEvent
from shared.platform.bus import Later, Subscription
from tests.processor.conftest import Mill

TOLD = """
    SELECT m.body, d.sequence, d.ordered_by, d.held, d.status FROM notifier.deliveries d
    JOIN notifier.messages m ON m.id = d.message_id WHERE d.endpoint_id = $1 ORDER BY d.sequence
"""


@dataclass
class Telling:
    """The notifier's consumer, whose handlers are called by hand, beside a processor."""

    mill: Mill
    consumer: Subscription
    database: "asyncpg.Connection[Any]"

    async def endpoint(self, *event_types: str, tenant: str = "acme", **values: Any) -> UUID:
        """A webhook endpoint, with further columns."""
        columns = {"tenant": tenant, "url": "https://8.8.8.8/", "secret": "whsec_", **values}
        columns["event_types"] = list(event_types) or ["*"]
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        statement = f"INSERT INTO notifier.endpoints ({', '.join(columns)}) VALUES ({places}) RETURNING id"
        made: UUID = await self.database.fetchval(statement, *columns.values())
        return made

    async def hear(self, *events: AnyEvent) -> None:
        """Have the consumer handle these, as they are."""
        for event in events:
            await self.consumer.handlers[event.type](event)

    async def hear_all(self, *types: str) -> list[AnyEvent]:
        """Have it handle what the processor has published, in that order."""
        events = [
            event for event in await self.mill.events() if event.type in (types or self.consumer.handlers)
        ]
        await self.hear(*events)
        return events

    async def hear_patiently(self, event: AnyEvent) -> None:
        """As the bus does: again, later, if it wants to."""
        while True:
            try:
                return await self.hear(event)
            except Later:
                pass

    async def told(self, endpoint_id: UUID) -> list[dict[str, Any]]:
        """The payloads for an endpoint, in order of their numbers, which have no gap."""
        rows = await self.database.fetch(TOLD, endpoint_id)
        assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
        assert all(len(row["body"]) < 256 * 1024 for row in rows)
        return [json.loads(row["body"]) for row in rows]

    async def shown(self, dataset: str, key: str, tenant: str = "acme") -> Any:
        """A record as `GET` shows it."""
        statement = one(datasets()[dataset], tenant, key)
        names = list(statement.parameters)
        sql = statement.sql
        for place, name in reversed(list(enumerate(names, 1))):
            sql = sql.replace(f":{name}", f"${place}")
        values = [statement.parameters[name].value for name in names]
        return json.loads((await self.database.fetchrow(sql, *values))["shown"])


def items_of(payloads: Sequence[dict[str, Any]], event_type: str) -> list[dict[str, Any]]:
    """All items of the payloads of a type, in order."""
    return [
        item for payload in payloads if payload["type"] == event_type for item in payload["data"]["items"]
    ]
