"""Every service replaced, process by process, under load: no request fails, nothing is lost, nothing is done twice."""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.e2e.replicas import REPLICAS, Replicated, nginx
from tests.e2e.stack import emptied, until
from tests.notifier.receiver import receiving

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        os.environ.get("PENSTOCK_TEST_DEPLOY") != "yes", reason="takes minutes: make test-deploy"
    ),
]
log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.1  # of each caller between what it asks
ROWS = 20  # of each file
LARGE = 200_000  # records of a file that is under way meanwhile
ORDER = ("notifier", "processor", "results", "upload")  # as deploy/README.md has it


@dataclass
class Callers:
    """Clients that ask one thing after the other, without a second try."""

    stack: Replicated
    taken: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0
    done: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: "count[int]" = field(default_factory=count)

    async def ask(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        """The answer, if it is a good one; what is not is noted."""
        began = time.monotonic()
        self.asked[f"{method} {path.partition('?')[0]}"] += 1
        try:
            answer = await self.stack.http.request(method, self.stack.url(path), **request)
        except httpx.TransportError as error:
            self.failed.append(f"{method} {path}: {error!r}")
            return None
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
        if answer.is_error:
            self.failed.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
            return None
        return answer

    async def upload(self) -> None:
        number = next(self._numbers)
        lines = "".join(f"rolling-{number}-{row},Product {row},words\n" for row in range(ROWS))
        query, kind = "dataset=products&force=true", {"Content-Type": "text/csv"}
        content = f"sku,name,description\n{lines}"
        if answer := await self.ask("POST", f"/uploads?{query}", content=content, headers=kind):
            self.taken.append(answer.json()["id"])

    async def log(self) -> None:
        event_id = str(uuid4())
        event = {"event_id": event_id, "stage": "load_ftp", "reason": "file_missing", "summary": "no file"}
        if await self.ask("POST", "/investigation-events", json=event):
            self.logged.append(event_id)

    async def edit(self) -> None:
        sku = f"made-{next(self._numbers)}"
        if await self.ask("POST", "/records/products", json={"sku": sku, "name": "By hand"}):
            self.made.append(sku)

    async def look(self) -> None:
        for path in ("/imports?limit=5", "/records/products?limit=5", "/webhooks", "/investigations?limit=5"):
            await self.ask("GET", path)


@asynccontextmanager
async def calling(stack: Replicated) -> AsyncIterator[Callers]:
    callers = Callers(stack)

    async def again_and_again(do: Callable[[], Awaitable[None]]) -> None:
        while not callers.done.is_set():
            await do()
            await asyncio.sleep(PAUSE_SECONDS)

    async with asyncio.TaskGroup() as together:
        for do in (callers.upload, callers.log, callers.edit, callers.look, callers.look):
            together.create_task(again_and_again(do))
        try:
            yield callers
        finally:
            callers.done.set()


async def test_every_service_is_replaced_under_load(database_url, broker, tmp_path):
    stack = Replicated(tmp_path, database_url, await emptied(broker.url), {"PENSTOCK_SLICE_BYTES": "2097152"})
    try:
        async with receiving() as receiver:
            await stack.started()
            with nginx(stack, tmp_path):
                await stack.webhook(receiver.url, "import.*")
                path = tmp_path / "large.csv"
                lines = (f"large-{number},Name {number},{'words ' * 12}\n" for number in range(LARGE))
                path.write_text("sku,name,description\n" + "".join(lines))
                async with calling(stack) as callers:
                    large = await stack.upload(path, "products")
                    for service in ORDER:
                        for number in range(REPLICAS):
                            seconds = await stack.replace([f"{service}-{number}"])
                            log.info(
                                "%s-%d left after %.1f s; failed: %s",
                                service,
                                number,
                                seconds,
                                callers.failed,
                            )
                            assert seconds < 10
                    taken = len(callers.taken)
                    await until(lambda: some_taken(callers, taken + 3), 30)
                log.info(
                    "asked %s, failed %s, longest %.2f s", callers.asked, callers.failed, callers.longest
                )
                await all_done_once(stack, callers, large["id"])
                await until(lambda: all_told(receiver, [*callers.taken, large["id"]]), 90)
        assert callers.failed == []
    finally:
        await stack.close()


async def some_taken(callers: Callers, number: int) -> bool:
    return len(callers.taken) >= number


async def all_done_once(stack: Replicated, callers: Callers, large: str) -> None:
    assert (await stack.finished(large, seconds=200))["rows_inserted"] == LARGE
    assert {str(row[0]) for row in await stack.rows("SELECT import_id FROM upload.imports")} == {
        *callers.taken,
        large,
    }

    async def all_done() -> bool:
        query = "SELECT count(*) FROM processor.imports WHERE status = 'completed' AND rows_inserted = $1"
        return (await stack.rows(query, ROWS))[0][0] == len(callers.taken)

    await until(all_done, 150)
    [row] = await stack.rows("SELECT count(*) FROM data.products")
    assert row[0] == LARGE + ROWS * len(callers.taken) + len(callers.made)
    [row] = await stack.rows("SELECT count(*) FROM notifier.investigation_events WHERE origin = 'api'")
    assert row[0] == len(callers.logged)
    assert await stack.rows("SELECT queue, last_exception FROM bus.dead_letters") == []


async def all_told(receiver: Any, imports: list[str]) -> bool:
    told: dict[str, set[str]] = {import_id: set() for import_id in imports}
    for received in receiver.received:
        payload = received.body.decode()
        for import_id in imports:
            if import_id in payload:
                told[import_id].add(received.headers["webhook-id"])
    assert all(len(ids) <= 1 for ids in told.values())
    return all(told.values())
