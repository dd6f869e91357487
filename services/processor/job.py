"""One import in hand: its next step is prepared outside of any transaction, and done inside of one."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.processor import corrections, repository
from services.processor.limits import excess
from services.processor.loading import (
    Loaded,
    Loader,
    drop_stage,
    keep_for_the_end,
    load_all_at_once,
    stage_of_import,
)
from services.processor.merging import merge_of
from services.processor.profile import added
from services.processor.reasons import ImportBroken
from services.processor.repository import Work
from services.processor.slices import (
    RowError,
    Slice,
    SliceReader,
    Source,
    duplicate_fault,
    row_error,
)
from shared.contracts.datasets import datasets
from shared.contracts.dialect import Dialect
from shared.contracts.events import Counts
from shared.contracts.options import DateOrder, ImportOptions
from shared.platform.objects import Objects
from shared.reading.batch import Checkpoint

RECORD_SOUGHT_BYTES = 4 * 1024**3  # the end of a record is sought no further: within a lease on a local disk
FILED_AT_ONCE = 20_000  # duplicates written into the error file by one step, if they have at most
FILED_AT_ONCE_BYTES = 8 * 1024**2

DUPLICATE = "duplicate_key"


@dataclass(frozen=True)
class Step:
    """What one transaction will do.

    Attributes:
        slice: What was read, in the phase `reading`.
        filed_up_to: The last duplicate whose error file is written, in the phase `filing`.
        error_file: Key and bytes of the part of the error file that was written for this step.
    """

    slice: Slice | None = None
    filed_up_to: int | None = None
    error_file: tuple[str, int] | None = None


@dataclass(frozen=True)
class Done:
    """A step that was done.

    Attributes:
        work: The import as it is now.
        beside: As `Loaded` has it.
    """

    work: Work
    beside: Mapping[str, Counter[str]]


@dataclass(frozen=True)
class _Outcome:
    """What a step has done, to be counted and kept with the import: as `repository.advance` takes it.

    Attributes:
        beside: As `Loaded` has it.
    """

    balance: Counts
    changes: dict[str, Any]
    beside: Mapping[str, Counter[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Start:
    """Where a slice begins, and what is known there."""

    checkpoint: Checkpoint
    date_orders: Mapping[str, DateOrder] | None
    errors_wanted: int


def phase_due(work: Work) -> str:
    """The phase of the next step: a cancelled import loads nothing more, and files what it has found."""
    return "filing" if work.cancel_requested else str(work.phase)


class Job:
    """The work on one import, under one lease. Steps are prepared and done in turn; a slice may be read ahead."""

    def __init__(
        self, work: Work, engine: AsyncEngine, objects: Objects, *, slice_bytes: int, row_errors_kept: int
    ) -> None:
        self._engine = engine
        self._objects = objects
        self._slice_bytes = slice_bytes
        self._row_errors_kept = row_errors_kept
        self._object_key: str = work.object_key
        self._file_size: int = work.file_size
        self._options = ImportOptions.model_validate(work.options)
        self._dataset = datasets()[work.dataset]
        self._source = Source(
            dataset=self._dataset,
            dialect=Dialect.model_validate(work.dialect),
            columns=work.columns,
            width=work.column_count,
            header=work.header,
            date_order=self._options.date_order,
            corrects=work.corrects is not None,
        )
        stage = stage_of_import(work.import_id) if self._options.all_at_once else "stage"
        self._merge = merge_of(self._dataset, work.columns, stage)
        self._loader = Loader(self._dataset, self._merge)
        self._ahead: asyncio.Task[Slice] | None = None

    def is_loaded(self, work: Work) -> bool:
        """Whether all is loaded that is to be: not so where an import was refused as a whole."""
        return work.phase == "filing" and self._excess(work) is None

    def is_filed(self, work: Work) -> bool:
        """Whether the import ends well, or cancelled, once no duplicate waits."""
        return bool(work.cancel_requested) or self.is_loaded(work)

    async def next(self, work: Work) -> Step:
        """Prepare the step that is due.

        Raises:
            ImportBroken: too many records were refused, or the stored file is not what it was.
            ObjectMissing: the file is not in the store, or not at present.
            StoreUnavailable: the store does not answer.
        """
        phase = phase_due(work)
        if phase == "filing":
            filing = await self._next_filing(work)
            if self.is_filed(work) or filing.filed_up_to is not None:
                return filing
        if too_many := self._excess(work):
            raise ImportBroken("too_many_rejected", too_many)
        return await self._next_slice(work) if phase == "reading" else Step()

    def read_ahead(self, work: Work, step: Step) -> None:
        """Begin to read the slice behind the one that `step` will load."""
        done = step.slice
        if done is None or done.at_end:
            return
        room = max(0, self._room(work) - len(done.errors))
        self._ahead = asyncio.create_task(self._read(_Start(done.checkpoint, done.date_orders, room)))

    async def close(self) -> None:
        """Give up what was read ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)

    async def do(
        self, connection: AsyncConnection, work: Work, step: Step, *, lease_seconds: float | None
    ) -> Done:
        """Do a prepared step; `lease_seconds` as in `repository.advance`."""
        match phase_due(work):
            case "reading":
                outcome = await self._load_slice(connection, work, step)
            case "applying":
                outcome = await self._apply(connection, work)
            case _:
                outcome = await self._file(connection, work, step)
        changes = outcome.changes
        if step.error_file is not None:
            await repository.add_error_file(connection, work, *step.error_file)
            changes = changes | {"error_parts": work.error_parts + 1}
        moved = await repository.advance(
            connection, work, outcome.balance, changes=changes, lease_seconds=lease_seconds
        )
        return Done(moved, outcome.beside)

    # Reading.

    async def _next_slice(self, work: Work) -> Step:
        ahead, self._ahead = self._ahead, None
        done = await (ahead or self._read(await self._start(work)))
        return Step(slice=done, error_file=await self._write_errors(work, done.error_text))

    async def _start(self, work: Work) -> _Start:
        checkpoint = Checkpoint(work.byte_offset, work.record_number, work.line_number)
        return _Start(checkpoint, await self._date_orders(work), self._room(work))

    async def _date_orders(self, work: Work) -> Mapping[str, DateOrder] | None:
        """The date orders known before a record is read: a correction's dates are read as those they stood among."""
        if work.date_orders is not None or work.corrects is None or self._options.date_order is not None:
            known: Mapping[str, DateOrder] | None = work.date_orders
            return known
        async with self._engine.connect() as connection:
            return await corrections.find_date_orders(connection, work)

    async def _read(self, start: _Start) -> Slice:
        reader = SliceReader(
            self._source,
            start.checkpoint,
            errors_wanted=start.errors_wanted,
            date_orders=start.date_orders,
        )
        begin = offset = start.checkpoint.byte_offset
        while not (reader.moved or reader.slice.at_end):
            if offset - begin > RECORD_SOUGHT_BYTES:
                raise ImportBroken(
                    "record_endless",
                    f"behind byte {begin} no record ends within {RECORD_SOUGHT_BYTES} bytes",
                )
            block = await self._block(offset)
            offset += len(block)
            await asyncio.to_thread(reader.feed, block, at_end=offset >= self._file_size)
        return reader.slice

    async def _block(self, offset: int) -> bytes:
        length = min(self._slice_bytes, self._file_size - offset)
        if length == 0:
            return b""  # the slice before was full just where the file ends
        block = await self._objects.read(self._object_key, offset, length)
        if len(block) < length:
            end = offset + len(block)
            raise ImportBroken("file_truncated", f"the stored file ends at byte {end} of {self._file_size}")
        return block

    async def _load_slice(self, connection: AsyncConnection, work: Work, step: Step) -> _Outcome:
        done = step.slice
        assert done is not None
        staged = 0
        if self._options.all_at_once:
            await keep_for_the_end(connection, work, self._merge, done.staged)
            loaded, staged = Loaded(), len(done.staged)
        else:
            loaded = await self._loader.load(connection, work, done.staged)
        kept = await self._add_errors(
            connection, work, done.errors, done.error_counts, loaded, from_row=work.record_number + 1
        )
        notes = done.notes + await self._correct(connection, work, done, loaded)
        if not done.at_end:
            await repository.add_slice_start(connection, work, done.checkpoint)
        after = "applying" if self._options.all_at_once else "filing"
        changes = asdict(done.checkpoint) | {
            "phase": after if done.at_end else "reading",
            "rows_staged": work.rows_staged + staged,
            "row_errors_kept": work.row_errors_kept + kept,
            "date_orders": done.date_orders,
            "notes": dict(Counter(work.notes) + notes),
            "profile": added(work.profile, done.tallies),
        }
        balance = _balance(loaded, processed=done.records, rejected=done.rejected)
        return _Outcome(balance, changes, loaded.beside)

    # Applying.

    async def _apply(self, connection: AsyncConnection, work: Work) -> _Outcome:
        loaded = None
        while loaded is None:
            if refused := await self._refused_by_duplicates(connection, work):
                return refused
            loaded = await self._load_if_tolerated(connection, work)
        kept = await self._add_errors(connection, work, [], Counter(), loaded, from_row=0)
        notes = Counter[str]()
        if not self._options.dry_run:
            notes = await self._close_errors(connection, work, loaded, from_row=0)
        await drop_stage(connection, work.import_id)
        changes = {
            "phase": "filing",
            "rows_staged": 0,
            "row_errors_kept": work.row_errors_kept + kept,
            "notes": dict(Counter(work.notes) + notes),
        }
        return _Outcome(_balance(loaded, processed=0, rejected=0), changes, loaded.beside)

    async def _load_if_tolerated(self, connection: AsyncConnection, work: Work) -> Loaded | None:
        """Load what the import's stage holds; None, and nothing was loaded, if duplicates turn out to be too many.

        A single edit, which waits for no load, may take a key between its judgement and the load.
        """
        loading = await connection.begin_nested()
        loaded = await load_all_at_once(connection, work, self._merge, dry_run=self._options.dry_run)
        if self._dataset.on_duplicate == "reject" and self._excess(work, loaded.duplicate):
            await loading.rollback()
            return None
        await loading.commit()
        return loaded

    async def _refused_by_duplicates(self, connection: AsyncConnection, work: Work) -> _Outcome | None:
        """If duplicates are what is too much, list and count them and load nothing; else None, and nothing is done."""
        options = self._options
        limited = options.max_rejected is not None or options.max_rejected_share is not None
        if not limited or self._dataset.on_duplicate != "reject":
            return None
        if not options.dry_run:
            # What is judged now must still hold when it is loaded, but for single edits.
            await repository.lock_tables(connection, work, self._merge.tables)
        judging = await connection.begin_nested()
        judged = await load_all_at_once(connection, work, self._merge, dry_run=True)
        if self._excess(work, judged.duplicate) is None:
            await judging.rollback()
            return None
        await judging.commit()
        kept = await self._add_errors(connection, work, [], Counter(), judged, from_row=0)
        changes = {
            "phase": "filing",
            "rows_staged": work.rows_staged - judged.duplicate,
            "row_errors_kept": work.row_errors_kept + kept,
        }
        return _Outcome(_balance(Loaded(duplicate=judged.duplicate), processed=0, rejected=0), changes)

    def _excess(self, work: Work, further: int = 0) -> str | None:
        """Why the import must fail, if so; `further` records with row errors are not counted yet."""
        return excess(self._options, work, self._refused(work) + further)

    def _refused(self, work: Work) -> int:
        """Records with row errors so far."""
        return self._dataset.row_errors_in(rejected=work.rows_rejected, duplicate=work.rows_duplicate)

    # Filing.

    async def _next_filing(self, work: Work) -> Step:
        async with self._engine.connect() as connection:
            waiting = await repository.list_duplicates(
                connection, work.import_id, limit=FILED_AT_ONCE, most_bytes=FILED_AT_ONCE_BYTES
            )
        if not waiting:
            return Step()
        written = await asyncio.to_thread(self._text_of, work, waiting)
        part = await self._write_errors(work, [written])
        return Step(filed_up_to=waiting[-1].row_number, error_file=part)

    def _text_of(self, work: Work, duplicates: Sequence[Any]) -> bytes:
        writer = self._source.error_file()
        for duplicate in duplicates:
            fault = duplicate_fault(self._dataset, work.import_id, duplicate, value=None)
            writer.add_raw(duplicate.raw, duplicate.line_number, [fault])
        return writer.take()

    async def _file(self, connection: AsyncConnection, work: Work, step: Step) -> _Outcome:
        if step.filed_up_to is not None:
            await repository.remove_duplicates(connection, work.import_id, up_to=step.filed_up_to)
        return _Outcome(Counts(), {})

    # Row errors.

    def _room(self, work: Work) -> int:
        return max(0, self._row_errors_kept - int(work.row_errors_kept))

    async def _write_errors(self, work: Work, written: Sequence[bytes]) -> tuple[str, int] | None:
        """Put a part of the error file into the store, under a name that no other attempt at this step uses."""
        if not written:
            return None
        header = b"" if work.error_parts else self._source.error_file_header()
        key = f"errors/{work.import_id}/{work.slice:08}-{work.fence}.csv"
        await self._objects.put(key, _pieces(header, *written))
        return key, len(header) + sum(map(len, written))

    async def _add_errors(
        self,
        connection: AsyncConnection,
        work: Work,
        errors: list[RowError],
        counts: Counter[tuple[str, str]],
        loaded: Loaded,
        *,
        from_row: int,
    ) -> int:
        """Keep the row errors there is room for, and count all. Returns how many were kept."""
        room = self._room(work)
        if loaded.duplicate and self._dataset.on_duplicate == "reject":
            taken = await repository.list_duplicates(
                connection, work.import_id, limit=room, from_row=from_row
            )
            errors = errors + await asyncio.to_thread(self._duplicate_errors, work, taken)
            counts = counts + Counter({(DUPLICATE, self._dataset.primary_key[0]): loaded.duplicate})
        await repository.add_errors(connection, work, errors[:room])
        await repository.count_errors(connection, work, counts)
        return len(errors[:room])

    async def _correct(
        self, connection: AsyncConnection, work: Work, done: Slice, loaded: Loaded
    ) -> Counter[str]:
        """Note what a later import may correct, and close what a slice has corrected of an earlier one. Returns notes."""
        if self._options.dry_run:
            return Counter()
        await corrections.note_refused(connection, work, done.refused)
        await corrections.note_sent(connection, work, done.sent)
        if self._options.all_at_once:
            return Counter()
        return await self._close_errors(connection, work, loaded, from_row=work.record_number + 1)

    async def _close_errors(
        self, connection: AsyncConnection, work: Work, loaded: Loaded, *, from_row: int
    ) -> Counter[str]:
        if loaded.duplicate and self._dataset.on_duplicate == "reject":
            await corrections.note_duplicates(connection, work, from_row=from_row)
        if self._source.line_column is None:
            return Counter()
        without = await corrections.close_errors(connection, work)
        if not without:
            return Counter()
        all_known = await corrections.knows_all(connection, work, self._dataset)
        return Counter({corrections.NO_ROW_ERROR if all_known else corrections.NOT_KNOWN: without})

    def _duplicate_errors(self, work: Work, duplicates: Sequence[Any]) -> list[RowError]:
        return [self._duplicate_error(work, duplicate) for duplicate in duplicates]

    def _duplicate_error(self, work: Work, duplicate: Any) -> RowError:
        cells = self._source.cells_of(duplicate.raw)
        value = cells[self._source.columns[self._dataset.primary_key[0]]].strip()
        return row_error(
            duplicate_fault(self._dataset, work.import_id, duplicate, value=value),
            0,
            row_number=duplicate.row_number,
            line_number=duplicate.line_number,
            byte_offset=duplicate.byte_offset,
            raw=duplicate.raw,
        )


def _balance(loaded: Loaded, *, processed: int, rejected: int) -> Counts:
    return Counts(
        rows_processed=processed,
        rows_inserted=loaded.inserted,
        rows_updated=loaded.updated,
        rows_unchanged=loaded.unchanged,
        rows_duplicate=loaded.duplicate,
        rows_rejected=rejected,
    )


async def _pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        if part:
            yield part
