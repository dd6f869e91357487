"""Whoever works through investigations: errors are logged, people act by the API, and nothing else happens."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notifier.investigations.grouping import Reported
from services.notifier.logbook.logbook import Logbook
from shared.contracts.events import AnyEvent, event_from
from shared.platform.bus import Bus

if TYPE_CHECKING:
    from tests.notifier.conftest import Notifier

SCOPES = ("investigations:read", "investigations:write", "investigations:admin")


class _Clock:
    now = datetime.now(UTC).replace(microsecond=0)


def begin_now() -> None:
    """Begin a test: the moment that `ago` and `ahead` mean. It stands still in a test, and is its own for each."""
    _Clock.now = datetime.now(UTC).replace(microsecond=0)


def ahead(**time: float) -> datetime:
    return _Clock.now + timedelta(**time)


def ago(**time: float) -> datetime:
    return _Clock.now - timedelta(**time)


@dataclass
class Desk:
    service: "Notifier"
    engine: AsyncEngine
    database: "asyncpg.Connection[Any]"
    bus: Bus
    tenant: str = "acme"
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    _numbers: Any = field(default_factory=lambda: count(1))

    async def report(self, detail: str = "no attachment", **values: Any) -> UUID:
        """Log an error, or that one is over: the investigation that it is in."""
        known = {
            "event_id": f"{self.tenant}-{next(self._numbers)}",
            "occurred_at": ago(),
            "supplier": "mill & co",
            "stage": "load_mail",
            "reason": "file_read",
            "severity": "error",
            "summary": detail,
            "detail": detail,
            "digest": None,
            "origin": "analysis",
        }
        async with self.engine.begin() as connection:
            logbook = Logbook(self.bus.publish, self.zone, quota=1000)
            [logged] = await logbook.log(connection, self.tenant, [Reported(**(known | values))])
        return logged.investigation_id

    async def ask(self, path: str = "", **parameters: Any) -> httpx.Response:
        return await self.service.call(
            "GET", f"/investigations{path}", tenant=self.tenant, scopes=SCOPES, params=parameters
        )

    async def get(self, path: str = "", **parameters: Any) -> Any:
        response = await self.ask(path, **parameters)
        assert response.status_code == 200, response.text
        return response.json()

    async def ids(self, **parameters: Any) -> list[UUID]:
        """Those that a list has, all pages of two."""
        found, cursor = [], None
        while True:
            page = await self.get(limit=2, **({"cursor": cursor} if cursor else {}), **parameters)
            found += [UUID(item["id"]) for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    async def act(self, what: UUID | None, step: str, /, **body: Any) -> httpx.Response:
        path = f"/investigations/{what}/{step}" if what else "/investigations/actions"
        return await self.service.call("POST", path, tenant=self.tenant, scopes=SCOPES, json=body or None)

    async def done(self, what: UUID, step: str, /, **body: Any) -> Any:
        response = await self.act(what, step, **body)
        assert response.status_code == 200, response.text
        return response.json()

    async def history(self, what: UUID) -> list[dict[str, Any]]:
        """What happened, the oldest first."""
        return (await self.get(f"/{what}/history"))["items"][::-1]

    async def published(self) -> list[AnyEvent]:
        rows = await self.database.fetch("SELECT payload FROM bus.outbox ORDER BY id")
        return [event_from(row["payload"]) for row in rows]
