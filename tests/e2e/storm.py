"""Imports under a storm: kill -9 of Penstock's processes and of its PostgreSQL at random moments, again and again."""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import asyncpg

from tests.e2e.files import KINDS, File, write
from tests.e2e.model import World
from tests.e2e.stack import Server, Stack, until
from tests.notifier.receiver import Receiver

REMARK_LENGTH = 400  # so that a file of 20,000 records is some 10 MB: half a dozen slices
HITS = 2  # kills in the middle of each run of each import
MOST_KILLS = 30
SHORT_WAIT = 0.15
LONGEST_WAIT = 0.6  # seconds from the moment that a processor takes an import in hand to the kill
# What a query may end with when its server is killed under it; the last one is the driver's, cut short in a handshake.
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
CALM_SECONDS = 150  # for an import to end, on a slow machine too
# Files that are there before: of the datasets that an import of the key's writes or looks into.
BEFORE: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "products": {"products": 4_000},
        "books": {"books": 4_000},
        "sales": {"products": 1_500, "sales": 2_000},
        "parts": {"parts": 4_000},
        "quotes": {"quotes": 3_000},
        "stock-codes": {"parts": 1_500, "quotes": 3_000},
    }
)


@dataclass
class Case:
    """One import of a tenant of its own, and how it is to go.

    Attributes:
        options: Of the upload.
        drive: Does what a user does while it goes on, until it has ended for good.
        world: What the tenant's tables must hold before it.
        seen: How many of its records were visible, each time somebody looked.
        hits: The kills while a processor had it in hand.
    """

    name: str
    dataset: str
    options: Mapping[str, str] = field(default_factory=dict)
    records: int = 20_000
    drive: Callable[["Case"], Coroutine[Any, Any, None]] = field(default=lambda case: case.ended())
    world: World = field(default_factory=World)
    seen: set[int] = field(default_factory=set)
    hits: int = 0
    stack: Stack = field(init=False)
    file: File = field(init=False)
    secret: str = field(init=False)
    import_id: str = field(init=False)

    @property
    def tenant(self) -> str:
        return f"tenant-{self.name}"

    async def prepare(self, stack: Stack, receiver: Receiver, chance: Random) -> None:
        """Write the files, and load those that are there before."""
        self.stack = stack.as_tenant(self.tenant)
        for dataset, count in BEFORE[self.dataset].items():
            path = stack.folder / f"{self.name}-{dataset}-before.csv"
            file = await asyncio.to_thread(
                write, path, KINDS[dataset], chance, count, again=False, remark_length=9
            )
            accepted = await self.stack.upload(path, dataset)
            await self.stack.finished(accepted["id"])
            self.world.load(dataset, accepted["id"], file.records)
        path = stack.folder / f"{self.name}.csv"
        self.file = await asyncio.to_thread(
            write, path, KINDS[self.dataset], chance, self.records, remark_length=REMARK_LENGTH
        )
        self.secret = (await self.stack.webhook(receiver.url, "import.*"))["secret"]

    async def begin(self) -> None:
        accepted = await self.stack.upload(self.file.path, self.dataset, **self.options)
        self.import_id = accepted["id"]

    async def state(self) -> asyncpg.Record | None:
        """How it stands; None while nobody knows, or can say."""
        with suppress(*AWAY):
            query = "SELECT * FROM processor.imports WHERE import_id = $1"
            return next(iter(await self.stack.rows(query, self.import_id)), None)
        return None

    async def ended(self, *, run: int = 1) -> None:
        state: asyncpg.Record | None = None

        async def has_ended() -> bool:
            nonlocal state
            state = await self.state()
            return state is not None and state["run"] == run and state["status"] != "processing"

        def what() -> str:
            logs = "\n".join(f"--- {name}\n{self.stack.log(name)}" for name in self.stack.names)
            return f"{self.name} did not end: {state}\n{logs}"

        await until(has_ended, CALM_SECONDS, what=what)


async def watched(case: Case) -> None:
    """Look what can be seen of the import's records until it has ended."""
    table = f"data.{case.dataset.replace('-', '_')}"
    ending = asyncio.create_task(case.ended())
    while not ending.done():
        with suppress(*AWAY):
            [row] = await case.stack.rows(
                f"SELECT count(*) FROM {table} WHERE import_id = $1", case.import_id
            )
            case.seen.add(row[0])
        await asyncio.sleep(0.02)
    await ending


async def cancelled(case: Case) -> None:
    """Cancel it when some is done, and the storm has hit it; the rest of its file is away until that is known."""

    async def has_begun() -> bool:
        state = await case.state()
        return state is not None and state["rows_processed"] > 0 and case.hits > 0

    async def is_told() -> bool:
        state = await case.state()
        return state is not None and (state["cancel_requested"] or state["status"] == "cancelled")

    await until(has_begun, CALM_SECONDS)
    # A service that was just killed may take the command later than the rest of the file takes to load.
    stored = case.stack.stored(case.import_id)
    away = stored.rename(f"{stored}.away")
    try:
        response = await case.stack.patiently("POST", f"/uploads/{case.import_id}/cancel")
        assert response.status_code == 202, response.text
        await until(is_told, CALM_SECONDS)
    finally:
        away.rename(stored)
    await case.ended()


async def failed_and_tried_again(case: Case) -> None:
    """Lose the end of the stored file, and bring it back when the import has failed."""
    stored = case.stack.stored(case.import_id)
    os.truncate(stored, stored.stat().st_size * 3 // 5)
    await case.ended()
    state = await case.state()
    assert state is not None
    assert (state["status"], state["error_code"]) == ("failed", "file_truncated")
    whole = Path(f"{stored}.whole")
    shutil.copyfile(case.file.path, whole)
    whole.replace(stored)
    response = await case.stack.patiently("POST", f"/uploads/{case.import_id}/retry")
    # If the first answer was lost in a kill, the second says that it has been taken up already.
    assert response.status_code in {202, 409}, response.text
    await case.ended(run=2)


@dataclass
class Storm:
    """Kills until each run of each import was hit in the middle of its work, or `calm` is set.

    Attributes:
        cases: By the ids of their imports.
        kills: What was killed.
    """

    stack: Stack
    server: Server
    chance: Random
    cases: Mapping[str, Case]
    kills: list[str] = field(default_factory=list)
    calm: asyncio.Event = field(default_factory=asyncio.Event)
    _hits_of_runs: Counter[tuple[str, int]] = field(default_factory=Counter)
    _fences: dict[str, int] = field(default_factory=dict)

    async def rage(self) -> None:
        while not self.calm.is_set():
            self._supervise()
            in_hand = await self._in_hand()
            spared = [work for work in in_hand if not self.cases[str(work["import_id"])].hits]
            if spared or (in_hand and len(self.kills) < MOST_KILLS):
                # One that was never hit may be over soon.
                await asyncio.sleep(self.chance.uniform(0, SHORT_WAIT if spared else LONGEST_WAIT))
                await self._strike()
            await asyncio.sleep(0.02)
        self._supervise()

    def _supervise(self) -> None:
        """Start what has ended by itself, as Docker or Kubernetes does: so ends what finds no database at its start."""
        for name in [name for name, process in self.stack.running.items() if process.poll() is not None]:
            self.stack.start(name)

    async def _in_hand(self) -> list[asyncpg.Record]:
        """Imports that a processor has taken in hand since the last kill that hit them, unless they had enough."""
        with suppress(*AWAY):
            leased = await self.stack.rows(
                "SELECT import_id, run, fence FROM processor.imports"
                " WHERE status = 'processing' AND lease_owner IS NOT NULL AND import_id = ANY($1)",
                list(self.cases),
            )
            return [work for work in leased if self._may_be_hit(work)]
        return []

    def _may_be_hit(self, work: asyncpg.Record) -> bool:
        name = str(work["import_id"])
        return self._hits_of_runs[name, work["run"]] < HITS and work["fence"] > self._fences.get(name, 0)

    async def _strike(self) -> None:
        for work in await self._in_hand():
            name = str(work["import_id"])
            self.cases[name].hits += 1
            self._hits_of_runs[name, work["run"]] += 1
            self._fences[name] = work["fence"]
        victim = self.chance.choice(["processor", "processor", "all", "postgres"])
        self.kills.append(victim)
        if victim == "postgres":
            self.server.kill()
            await asyncio.sleep(self.chance.uniform(0.2, 0.6))
            await self.server.start()
        else:
            await self._restart(self.stack.names if victim == "all" else [self._processor])

    @property
    def _processor(self) -> str:
        return "processor" if self.stack.bus_url else "all"

    async def _restart(self, names: list[str]) -> None:
        for name in names:
            self.stack.kill(name)
        await asyncio.sleep(self.chance.uniform(0, 0.2))
        self.stack.start(*names)


async def begin_together(stack: Stack, cases: list[Case]) -> None:
    """Upload all files before the first is processed: none may have ended when the storm begins."""
    connection = await asyncpg.connect(stack.database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE processor.imports IN SHARE MODE")  # none can be taken on
            await asyncio.gather(*(case.begin() for case in cases))
    finally:
        await connection.close()


async def weather(storm: Storm) -> None:
    """Have all imports go on through the storm until each has ended, and everything runs again."""
    raging = asyncio.create_task(storm.rage())
    try:
        async with asyncio.TaskGroup() as driving:
            for case in storm.cases.values():
                driving.create_task(case.drive(case))
    finally:
        storm.calm.set()
        await raging
    for name in storm.stack.names:
        await storm.stack.ready(name)


async def terminal_events(case: Case, receiver: Receiver, count: int) -> list[Any]:
    """What the tenant's webhook endpoint was told of the import's ends, each event once, when `count` have come."""

    def told() -> dict[str, Any]:
        mine = [received for received in receiver.received if case.import_id.encode() in received.body]
        return {received.headers["webhook-id"]: received.verified(case.secret) for received in mine}

    async def enough() -> bool:
        return len(told()) >= count

    await until(enough, 60, what=lambda: f"{case.name}: {told()}")
    return list(told().values())
