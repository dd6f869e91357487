"""`penstock imports`: those that stand still, and how to have them go on."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.operating_queues import age, moment
from services.processor import standing as processor
from services.processor.standing import Standing
from services.upload import untaken as upload
from shared.contracts.events import FINAL_ERROR_CODES, AnyEvent, SliceProcess, event_of
from shared.contracts.topology import PROCESSOR_IMPORTS
from shared.platform.bus.letters import send_to
from shared.platform.database import engine_for
from shared.platform.presence import count_processes

PROCESSOR = "processor"

T = TypeVar("T")


class CannotResume(ValueError):
    """The import is not there, or has ended. Nothing was done; the message says what may be."""


@dataclass(frozen=True)
class Stuck:
    """An import that stands still, and what it waits for, in words. `standing` None: the processor has not taken it on."""

    import_id: UUID
    tenant: str
    dataset: str
    file_name: str
    still_seconds: float
    waits_for: str
    standing: Standing | None = None

    def cells(self) -> tuple[str, ...]:
        slice_, tries = (str(self.standing.slice), str(self.standing.tries)) if self.standing else ("-", "-")
        return (
            *(str(self.import_id), self.tenant, self.dataset, age(self.still_seconds)),
            *(slice_, tries, self.waits_for),
        )

    def document(self) -> dict[str, Any]:
        """What JSON says of it."""
        said = asdict(self) | {"import_id": str(self.import_id)}
        if self.standing:
            known = asdict(self.standing) | {"import_id": str(self.import_id)}
            known["leased_until"] = self.standing.leased_until and self.standing.leased_until.isoformat()
            if self.standing.command:
                known["command"]["due_at"] = self.standing.command.due_at.isoformat()
            said["standing"] = known
        return said


def stuck(database_url: str, seconds: float) -> list[Stuck]:
    """The imports that have not moved for so long, those that were not taken on first."""

    async def wait(connection: AsyncConnection) -> list[Stuck]:
        running = (await count_processes(connection, [PROCESSOR]))[PROCESSOR]
        return [_taken_on(each, running) for each in await processor.standing(connection, seconds)]

    def of_upload(row: Any) -> Stuck:
        waits = "the processor to hear of it: no processor has taken it on; `penstock imports resume` tells it again"
        return Stuck(row.import_id, row.tenant, row.dataset, row.file_name, row.still_seconds, waits)

    async def untaken(connection: AsyncConnection) -> list[Stuck]:
        return [of_upload(row) for row in await upload.untaken(connection, seconds)]

    return [*_as("upload", database_url, untaken), *_as(PROCESSOR, database_url, wait)]


def resume(database_url: str, import_id: UUID) -> str:
    """Ask for the next slice of the import, or have it taken on: what was done, in a sentence.

    Raises:
        CannotResume: there is nothing to go on with.
    """

    async def ask(connection: AsyncConnection) -> str | None:
        work = await processor.find(connection, import_id)
        if work is None:
            return None
        if work.status != "processing":
            raise CannotResume(_why_not(import_id, work.status, work.error_code))
        command = SliceProcess(import_id=import_id, slice=work.commanded)
        await _send(connection, event_of(command, tenant=work.tenant, subject=import_id, service=PROCESSOR))
        return f"Slice {work.commanded} of import {import_id} is asked for again."

    async def tell(connection: AsyncConnection) -> str:
        event = await upload.uploaded_again(connection, import_id)
        if event is None:
            raise CannotResume(
                f"there is no import {import_id}; `penstock imports stuck` lists those that stand still"
            )
        await _send(connection, event)
        return f"The processor is told again that import {import_id} came in."

    return _as(PROCESSOR, database_url, ask) or _as("upload", database_url, tell)


async def _send(connection: AsyncConnection, event: AnyEvent) -> None:
    await send_to(connection, PROCESSOR_IMPORTS, event)


def _why_not(import_id: UUID, status: str, error_code: str | None) -> str:
    if status != "failed":
        return f"import {import_id} is {status}; there is nothing to go on with"
    if error_code in FINAL_ERROR_CODES:
        return f"import {import_id} failed with {error_code}, and would again: mend the file and upload it"
    return f"import {import_id} has failed ({error_code}); take it up with: penstock retry {import_id}"


def _taken_on(each: Standing, running: int) -> Stuck:
    waits = "; ".join(_reasons(each, running))
    return Stuck(each.import_id, each.tenant, each.dataset, each.file_name, each.still_seconds, waits, each)


def _reasons(each: Standing, running: int) -> Sequence[str]:
    reasons = []
    if not running:
        reasons.append("a processor: none runs")
    if each.owner_alive:
        where = f" at {each.owner_address}" if each.owner_address else ""
        reasons.append(f"process {each.lease_owner}{where}, which lives and has it in hand")
        if each.blocker:
            since = age(each.blocker.seconds)
            reasons.append(
                f"a session of the processors waits for PostgreSQL's process {each.blocker.pid}"
                f" ({each.blocker.application}, {each.blocker.state}, since {since})"
            )
    elif each.lease_owner is not None:
        until = f" until {moment(each.leased_until)}" if each.leased and each.leased_until else ""
        reasons.append(f"process {each.lease_owner}, which is dead and had it leased{until}")
    command = each.command
    if command is None:
        reasons.append("its command, which PostgreSQL does not keep: it is on RabbitMQ, or lost")
    elif command.queue.startswith("relay."):
        reasons.append(f"RabbitMQ to take its command from {command.queue}")
    elif command.scheduled:
        reasons.append(f"its command, tried {command.attempts} times, next at {moment(command.due_at)}")
    elif not command.in_hand:
        reasons.append("its command, which waits in its queue")
    if each.dead_letter is not None:
        reasons.append(f"dead letter {each.dead_letter} is about it")
    return reasons


def _as(service: str, database_url: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async def run() -> T:
        engine = engine_for(database_url, service, pool_size=1)
        try:
            async with engine.begin() as connection:
                return await work(connection)
        finally:
            await engine.dispose()

    return asyncio.run(run())
