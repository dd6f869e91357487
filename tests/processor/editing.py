"""Edits as the processor gets them: somebody asks, holding the lock that says so, and reads the reply."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from services.processor.editing.editor import Editor
from shared.contracts.events import AnyEvent, EventData, event_of
from shared.contracts.record_edits import edit_locks
from shared.platform.bus import Later
from shared.platform.database import advisory_key
from tests.processor.conftest import Mill


@dataclass(frozen=True)
class Reply:
    outcome: str
    record: dict[str, Any] | None
    etag: str | None
    deleted: int | None
    problem: dict[str, Any] | None

    @property
    def code(self) -> str | None:
        return self.problem and self.problem["code"]


@dataclass
class Asker:
    """Somebody who asks for edits, one after the other, on a session of their own."""

    mill: Mill
    session: "asyncpg.Connection[Any]"
    editor: Editor

    async def __call__(self, kind: type[EventData], tenant: str = "acme", **data: Any) -> Reply:
        command = command_of(kind, tenant, **data)
        async with self.waiting_for(command.data.edit_id):
            await self.hear(command)
            reply = await self.reply(command.data.edit_id)
        assert reply is not None
        return reply

    async def hear(self, command: AnyEvent) -> None:
        """Have the editor hear of it as from the bus: again, later, if it wants to."""
        while True:
            try:
                return await self.editor.handle(command)
            except Later as later:
                await asyncio.sleep(later.seconds)

    @asynccontextmanager
    async def waiting_for(self, edit_id: UUID) -> AsyncIterator[None]:
        key = advisory_key(edit_locks(edit_id).asked)
        await self.session.execute("SELECT pg_advisory_lock($1)", key)
        yield
        await self.session.execute("SELECT pg_advisory_unlock($1)", key)

    async def reply(self, edit_id: UUID) -> Reply | None:
        row = await self.session.fetchrow(
            "SELECT outcome, record, etag, deleted, problem FROM processor.replies WHERE edit_id = $1",
            edit_id,
        )
        if row is None:
            return None
        record, problem = (row[name] and json.loads(row[name]) for name in ("record", "problem"))
        return Reply(row["outcome"], record, row["etag"], row["deleted"], problem)


@asynccontextmanager
async def asking(mill: Mill) -> AsyncIterator[Asker]:
    session = await asyncpg.connect(mill.database_url)
    yield Asker(mill, session, Editor(mill.engine, mill.bus))
    await session.close()


def command_of(kind: type[EventData], tenant: str = "acme", **data: Any) -> AnyEvent:
    values = {"edit_id": uuid4(), "dataset": "products", "requested_by": "ann"} | data
    return event_of(kind(**values), tenant=tenant, subject=values["edit_id"], service="results")
