"""The processor without its consumer: imports are taken on and their slices done one by one."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.processor import repository
from services.processor.consumer import subscriptions
from services.processor.pipeline import Pipeline
from shared.contracts.datasets import datasets
from shared.contracts.dialect import Dialect
from shared.contracts.events import (
    AnyEvent,
    ImportCancel,
    ImportRetry,
    ImportUploaded,
    SliceProcess,
    event_from,
    event_of,
)
from shared.contracts.options import ImportOptions
from shared.platform.bus import Bus
from shared.platform.database import engine_for
from shared.platform.objects import Objects
from shared.reading.dialect import HEAD_BYTES, detect
from shared.reading.header import columns_of, match_header
from shared.reading.records import RecordReader

LINE_END = re.compile("\r\n|\r|\n")
HEADERS = {"books": "title,author,isbn,publication_year", "products": "sku,name,description"}


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(database_url, "processor", pool_size=8)
    yield engine
    await engine.dispose()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


class Change(NamedTuple):
    """What an import did to one record; `before` has the columns that it wrote over."""

    dataset: str
    kind: str
    row: int
    key: str
    before: dict[str, Any] | None


@dataclass
class Mill:
    """One processor process, and what can be seen of its work from outside."""

    database_url: str
    engine: AsyncEngine
    database: "asyncpg.Connection[Any]"
    objects: Objects
    store: Path
    bus: Bus

    def pipeline(self, *, bus: Bus | None = None, **settings: Any) -> Pipeline:
        """A pipeline whose slices may be as small as a test needs."""
        defaults = {"slice_bytes": 256, "lease_seconds": 60.0, "row_errors_kept": 10_000}
        defaults |= {"run_seconds": 0.0}  # a slice a command
        return Pipeline(self.engine, bus or self.bus, self.objects, **defaults | settings)

    async def take_on(
        self, content: bytes | str, *, dataset: str = "books", tenant: str = "acme", **changes: Any
    ) -> UUID:
        """Store a file and take its import on, as if it had just been uploaded.

        `dialect` is found out unless it is given; `options` are those of a request; what else is given replaces what
        the upload would have said.
        """
        uploaded = await self.upload(content, dataset=dataset, **changes)
        async with self.engine.begin() as connection:
            await repository.add_import(connection, tenant, uploaded)
        return uploaded.import_id

    async def upload(
        self,
        content: bytes | str,
        *,
        dataset: str = "books",
        dialect: Dialect | None = None,
        options: dict[str, Any] | None = None,
        **changes: Any,
    ) -> ImportUploaded:
        body = content.encode() if isinstance(content, str) else content
        import_id = uuid4()
        await self.objects.put(f"uploads/{import_id}", _once(body))
        said = uploaded(import_id, body, dataset, dialect)
        return said.model_copy(update={"options": ImportOptions(**options or {})} | changes)

    async def finish(self, import_id: UUID, pipeline: Pipeline | None = None, *, most: int = 1000) -> Any:
        """Do slices, one after the other, until the import has ended; its last state is returned."""
        pipeline = pipeline or self.pipeline()
        for _ in range(most):
            work = await self.work(import_id)
            if work["status"] != "processing":
                return work
            await pipeline.process(command(import_id, work["commanded"]))
        pytest.fail(f"the import has not ended after {most} slices")

    async def begin(self, import_id: UUID, pipeline: Pipeline, *, records: int = 1) -> Any:
        """Do slices until `records` have been read, but not the import's last; its state is returned."""
        for _ in range(1000):
            work = await self.work(import_id)
            assert work["status"] == "processing", "the file is too short for what the test wants"
            if work["rows_processed"] >= records:
                return work
            await pipeline.process(command(import_id, work["commanded"]))
        pytest.fail(f"{records} records were not read within 1000 slices")

    async def cancel(self, import_id: UUID, pipeline: Pipeline | None = None) -> None:
        """Have the consumer hear that the import is to end."""
        await self._hear(cancel_command(import_id), pipeline)

    async def hear_uploaded(self, said: ImportUploaded, *, tenant: str = "acme") -> None:
        """Have the consumer hear of a new import."""
        imports, _ = subscriptions(self.engine, self.bus, self.pipeline())
        event = event_of(said, tenant=tenant, subject=said.import_id, service="upload")
        await imports.handlers[event.type](event)

    async def retry(self, import_id: UUID, pipeline: Pipeline | None = None) -> None:
        """Have the consumer hear that the failed import is to go on."""
        await self._hear(retry_command(import_id), pipeline)

    async def _hear(self, command: AnyEvent, pipeline: Pipeline | None) -> None:
        _, commands = subscriptions(self.engine, self.bus, pipeline or self.pipeline())
        await commands.handlers[command.type](command)

    async def load(self, content: bytes | str, pipeline: Pipeline | None = None, **options: Any) -> Any:
        return await self.finish(await self.take_on(content, **options), pipeline)

    async def work(self, import_id: UUID) -> Any:
        return await self.database.fetchrow("SELECT * FROM processor.imports WHERE import_id = $1", import_id)

    async def errors(self, import_id: UUID) -> list[dict[str, Any]]:
        rows = await self.database.fetch(
            "SELECT * FROM processor.row_errors WHERE import_id = $1 ORDER BY row_number, ordinal", import_id
        )
        return [dict(row) for row in rows]

    async def changes(self, import_id: UUID) -> list[Change]:
        """What `processor.changes` has, a record each, by dataset and row number."""
        rows = await self.database.fetch(
            "SELECT * FROM processor.changes WHERE import_id = $1 ORDER BY dataset, slice, first_row",
            import_id,
        )
        return sorted(
            (change for row in rows for change in _changes_of(row)), key=attrgetter("dataset", "row")
        )

    async def error_file(self, import_id: UUID) -> bytes:
        """All parts of the error file, in order."""
        parts = await self.database.fetch(
            "SELECT object_key, size FROM processor.error_files WHERE import_id = $1 ORDER BY part", import_id
        )
        return b"".join([await self.objects.read(part["object_key"], 0, part["size"]) for part in parts])

    async def error_counts(self, import_id: UUID) -> dict[tuple[str, str], int]:
        rows = await self.database.fetch(
            "SELECT code, column_name, count FROM processor.error_counts WHERE import_id = $1", import_id
        )
        return {(row["code"], row["column_name"]): row["count"] for row in rows}

    async def stages(self) -> list[str]:
        """The tables in which imports keep their records until the end."""
        rows = await self.database.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'processor' AND tablename LIKE 'stage%'"
        )
        return [row["tablename"] for row in rows]

    async def records(self, dataset: str = "books", *, tenant: str = "acme") -> list[dict[str, Any]]:
        rows = await self.database.fetch(
            f'SELECT * FROM data.{dataset} WHERE tenant = $1 ORDER BY key COLLATE "C"', tenant
        )
        return [dict(row) for row in rows]

    async def events(self, *types: str) -> list[AnyEvent]:
        """What waits in the outbox, in the order it was published; each once, whatever its queues."""
        rows = await self.database.fetch("SELECT payload FROM bus.outbox ORDER BY id")
        found = {event.id: event for event in (event_from(row["payload"]) for row in rows)}
        return [event for event in found.values() if not types or event.type in types]


@pytest.fixture
async def mill(
    database_url: str, engine: AsyncEngine, database: "asyncpg.Connection[Any]", tmp_path: Path
) -> AsyncIterator[Mill]:
    bus = Bus("processor", database_url=database_url)
    await bus.presence.start([])
    store = tmp_path / "store"
    yield Mill(database_url, engine, database, Objects(f"file://{store}"), store, bus)
    await bus.presence.stop()


@pytest.fixture
async def observers(mill: Mill, database_url: str) -> AsyncIterator[None]:
    """The mill's own connection answers one question at a time; with this many ask side by side."""
    one, pool = mill.database, await asyncpg.create_pool(database_url, min_size=2, max_size=6)
    mill.database = pool
    yield
    mill.database = one
    await pool.close()


@pytest.fixture
async def another_process(database_url: str) -> AsyncIterator[Bus]:
    """The bus of a second processor that is alive; stop its presence to kill it."""
    bus = Bus("processor", database_url=database_url)
    await bus.presence.start([])
    yield bus
    await bus.presence.stop()


@pytest.fixture
def soon() -> Callable[[Callable[[], Awaitable[object]]], Awaitable[None]]:
    """Waits until a query is true."""

    async def wait(true: Callable[[], Awaitable[object]]) -> None:
        for _ in range(1000):
            if await true():
                return
            await asyncio.sleep(0.01)
        pytest.fail("still not so after 10 s")

    return wait


def command(import_id: UUID, slice_number: int, *, tenant: str = "acme") -> AnyEvent:
    data = SliceProcess(import_id=import_id, slice=slice_number)
    return event_of(data, tenant=tenant, subject=import_id, service="processor")


def cancel_command(import_id: UUID) -> AnyEvent:
    return event_of(ImportCancel(import_id=import_id), tenant="acme", subject=import_id, service="upload")


def retry_command(import_id: UUID) -> AnyEvent:
    return event_of(ImportRetry(import_id=import_id), tenant="acme", subject=import_id, service="upload")


def uploaded(import_id: UUID, body: bytes, dataset: str, dialect: Dialect | None) -> ImportUploaded:
    columns = columns_of(datasets()[dataset])
    if dialect is None:
        dialect = detect(body[:HEAD_BYTES], complete=len(body) <= HEAD_BYTES, expected=columns).dialect
    reader = RecordReader(dialect)
    [first, *_] = [*reader.feed(body[:HEAD_BYTES]), *reader.finish()]
    header = first.fields[0] if dialect.header_rows else []
    text = str(body, dialect.encoding, "replace")
    lines = len(LINE_END.findall(text)) + (not text.endswith(("\r", "\n")))
    return ImportUploaded(
        import_id=import_id,
        dataset=dataset,
        source="partner",
        file_name="file.csv",
        file_size=len(body),
        sha256="ab" * 32,
        object_key=f"uploads/{import_id}",
        dialect=dialect,
        columns=dict(match_header(header, columns).columns) if header else {},
        column_count=len(first.fields[0]),
        header=tuple(header),
        lines_detected=lines,
        rows_detected=0,
        uploaded_at=datetime.now(UTC),
    )


def _changes_of(row: Any) -> Iterator[Change]:
    before = None if row["before"] is None else json.loads(row["before"], parse_float=Decimal)
    for place, (number, key) in enumerate(zip(row["row_numbers"], row["keys"], strict=True)):
        old = None if before is None else {column: values[place] for column, values in before.items()}
        yield Change(row["dataset"], row["kind"], number, key, old)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
