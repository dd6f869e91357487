"""One slice in memory: the bytes of a block become records to load and row errors. Pure, and safe in a thread."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Protocol
from uuid import UUID

from services.processor.checking import Checked, Checker, Fault, date_orders_of
from services.processor.checking.keys import keys_of
from services.processor.corrected import (
    LINE_UNREADABLE,
    Refused,
    Remarks,
    Sent,
    restored_batch,
    restored_cells,
)
from services.processor.error_file import ErrorFileWriter, fields_of
from services.processor.profile import Sampler, Tallies
from services.processor.staging import Staged
from shared.contracts.datasets import Dataset, datasets
from shared.contracts.dialect import Dialect
from shared.contracts.duplicates import holder_told
from shared.contracts.error_file import error_file_header, is_error_file, line_column
from shared.contracts.options import DateOrder
from shared.reading.batch import Checkpoint, RecordBatch
from shared.reading.records import RecordReader
from shared.reading.structure import own_escape

# A file of two-byte records has four million of them in 8 MiB: this bounds what a slice takes of memory and time.
RECORDS_A_SLICE = 200_000
RAW_SHOWN = 4_000  # characters of a record kept with a row error
VALUE_SHOWN = 500  # characters of the value at fault
FURTHER_TABLE = "further_table_at_line"  # a note: the number of the line behind the first table

_LINE_END = re.compile(r"(?:\r\n|\n|\r)\Z")


@dataclass(frozen=True, slots=True)
class RowError:
    """One row of `processor.row_errors`, but for the import it belongs to. Its members stand in that order."""

    row_number: int
    ordinal: int
    line_number: int
    byte_offset: int
    column_name: str | None
    code: str
    message: str
    value: str | None
    raw_data: str
    hint: str | None
    rule: str | None


class Duplicate(Protocol):
    """A record that was not loaded as its key was taken, and who has the key: a record of an import, if known."""

    row_number: int
    line_number: int
    byte_offset: int
    raw: str
    key: str
    holder_import: UUID | None
    holder_row: int | None


@dataclass(frozen=True)
class Source:
    """What a slice is read with: the same for all slices of an import.

    Attributes:
        columns: Position of each dataset column in a record, from 0.
        width: Columns of the header.
        header: Its names; empty if the file has none.
        date_order: The one that the request asked for.
        corrects: Whether the file is to mend the row errors of an earlier import.
    """

    dataset: Dataset
    dialect: Dialect
    columns: Mapping[str, int]
    width: int
    header: Sequence[str]
    date_order: DateOrder | None
    corrects: bool = False

    @cached_property
    def restores(self) -> bool:
        """Whether the file's cells stand there as an error file has them."""
        return is_error_file(self.header, corrects=self.corrects)

    @cached_property
    def remarks(self) -> Remarks:
        """Where a record has what an error file says of it."""
        return Remarks(self.header)

    @cached_property
    def line_column(self) -> int | None:
        """Where a record says which line it corrects; None: no record corrects any."""
        return line_column(self.header) if self.corrects else None

    def cells_of(self, raw: str) -> Sequence[str]:
        """The cells of a record from its text in the file."""
        cells = fields_of(raw, self.dialect)
        return restored_cells(cells, self.remarks) if self.restores else cells

    def error_file(self) -> ErrorFileWriter:
        """A writer for a part of the import's error file."""
        return ErrorFileWriter(self.dialect, self.width, self.header, restores=self.restores)

    def error_file_header(self) -> bytes:
        """The first line of the whole error file."""
        return error_file_header(self.header, self.columns, self.width, self.dialect.delimiter)


@dataclass
class Slice:
    """What was read of one block.

    Attributes:
        checkpoint: Where the next slice begins.
        at_end: Whether the table ends with this block.
        records: Data records read.
        rejected: How many of them have faults.
        staged: Those to load.
        errors: The faults of the others, in file order, as many as were wanted.
        error_text: The part of the error file with all of them, in pieces.
        error_counts: How many faults there are by code and column (empty for the whole record).
        refused: Where the records with faults stand.
        sent: Which lines of the corrected import the records to load correct.
        notes: Remarks on the file, counted.
        date_orders: How each date column's values are read; None until a record was seen.
        tallies: What a sample of the records has, by column.
    """

    checkpoint: Checkpoint
    at_end: bool = False
    records: int = 0
    rejected: int = 0
    staged: Staged = field(default_factory=Staged)
    errors: list[RowError] = field(default_factory=list)
    error_text: list[bytes] = field(default_factory=list)
    error_counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Refused = field(default_factory=Refused)
    sent: Sent = field(default_factory=Sent)
    notes: Counter[str] = field(default_factory=Counter)
    date_orders: Mapping[str, DateOrder] | None = None
    tallies: Tallies = field(default_factory=dict)


class SliceReader:
    """Reads and checks one slice, fed with the file's bytes from `checkpoint` on.

    One block is enough, unless a record is longer than it: then `moved` stays false and more must follow.

    Args:
        source: How to read.
        checkpoint: Where the slice begins.
        errors_wanted: Row errors to keep at most; the error file and the counts have all.
        date_orders: What the first slice with records found; None before it.
    """

    def __init__(
        self,
        source: Source,
        checkpoint: Checkpoint,
        *,
        errors_wanted: int,
        date_orders: Mapping[str, DateOrder] | None,
    ) -> None:
        self.slice = Slice(checkpoint, date_orders=date_orders)
        self._source = source
        self._start = checkpoint
        self._errors_wanted = errors_wanted
        self._reader = RecordReader(source.dialect, checkpoint, width=source.width)
        self._scout: RecordReader | None = None
        self._errors = source.error_file()
        self._sampler = Sampler(source.dataset, source.columns)
        self._keeps_origin = source.dataset.on_duplicate == "reject"
        self._checker: Checker | None = None

    @property
    def moved(self) -> bool:
        """Whether the next slice would begin further on."""
        return self.slice.checkpoint != self._start

    def feed(self, block: bytes, *, at_end: bool) -> None:
        """Take in the records that are complete with `block`; the file ends behind it if `at_end`."""
        batches = chain(self._reader.feed(block), self._reader.finish() if at_end else ())
        if self.slice.date_orders is None:
            self._decide_date_orders(block, at_end=at_end)
        for batch in (batch for batch in batches if not batch.is_header):
            self._add(batch)
            if self.slice.records >= RECORDS_A_SLICE:
                self.slice.checkpoint = batch.checkpoint
                self._finish()
                return
        end = self._reader.table_end
        if end is not None:
            self.slice.notes[FURTHER_TABLE] = end.line_number
        self.slice.at_end = at_end or end is not None
        self.slice.checkpoint = self._reader.checkpoint
        self._finish()

    def _finish(self) -> None:
        self.slice.staged.sort()
        self.slice.tallies = self._sampler.tallies()

    def _decide_date_orders(self, block: bytes, *, at_end: bool) -> None:
        """Read the block once before: its dates are read as all of it, not its first record, says they are."""
        source = self._source
        if self._scout is None:
            self._scout = RecordReader(source.dialect, self._start, width=source.width)
        batches = chain(self._scout.feed(block), self._scout.finish() if at_end else ())
        restores = source.restores
        remarks = source.remarks
        records = (
            restored_batch(batch, remarks) if restores else batch for batch in batches if not batch.is_header
        )
        first = next(records, None)
        if first is not None:
            self.slice.date_orders = date_orders_of(
                source.dataset, source.columns, source.width, chain((first,), records), source.date_order
            )

    def _checker_now(self) -> Checker:
        if self._checker is None:
            source = self._source
            self._checker = Checker(
                source.dataset,
                source.columns,
                source.width,
                header=source.header,
                date_orders=self.slice.date_orders or {},
            )
        return self._checker

    def _add(self, came: RecordBatch) -> None:
        batch = restored_batch(came, self._source.remarks) if self._source.restores else came
        checker = self._checker_now()
        checked = checker.check(batch)
        self._sampler.add(batch)
        self.slice.records += len(batch)
        self.slice.notes.update(checked.notes)
        columns = [*checked.columns, *self._references(checker, checked)]
        origins = self._origins(batch, checked.numbers) if self._keeps_origin else ()
        self.slice.staged.add(checked.numbers, checked.keys, columns, origins)
        lines = self._lines_corrected(batch)
        if lines:
            self._add_sent(batch, checked.numbers, lines)
        if checked.faults:
            self._add_faults(batch, checked.faults, lines)

    def _lines_corrected(self, batch: RecordBatch) -> Mapping[int, int]:
        """Which line records correct, by index in the batch."""
        if self._source.line_column is None:
            return {}
        remarks, lines = self._source.remarks, {}
        for index, cells in enumerate(batch.fields):
            try:
                line = remarks.line_in(cells)
            except ValueError:
                self.slice.notes[LINE_UNREADABLE] += 1
            else:
                if line is not None:
                    lines[index] = line
        return lines

    def _add_sent(self, batch: RecordBatch, numbers: Sequence[int], lines: Mapping[int, int]) -> None:
        sent = self.slice.sent
        for number in numbers:
            line = lines.get(number - batch.first_number)
            if line is not None:
                sent.row_numbers.append(number)
                sent.of_lines.append(line)

    def _references(self, checker: Checker, checked: Checked) -> list[Sequence[str | None]]:
        """The keys of records that these refer to in other datasets."""
        names = [declared.name for declared in checker.fields]
        return [
            keys_of(datasets()[target], checked.columns[names.index(name)])
            for name, target in self._source.dataset.references.items()
            if name in names
        ]

    def _origins(self, batch: RecordBatch, numbers: Sequence[int]) -> list[Sequence[str]]:
        indexes = [number - batch.first_number for number in numbers]
        return [
            [str(batch.line_numbers[index]) for index in indexes],
            [str(batch.offsets[index]) for index in indexes],
            [self._raw(batch, index) for index in indexes],
        ]

    def _add_faults(
        self, batch: RecordBatch, faults: Mapping[int, Sequence[Fault]], lines: Mapping[int, int]
    ) -> None:
        self.slice.rejected += len(faults)
        counts, refused = self.slice.error_counts, self.slice.refused
        for index in sorted(faults):
            found = faults[index]
            refused.line_numbers.append(batch.line_numbers[index])
            refused.of_lines.append(lines.get(index))
            for fault in found:
                counts[fault.code, fault.column or ""] += 1
            self._errors.add(batch, index, found)
            if len(self.slice.errors) < self._errors_wanted:
                self.slice.errors += self._row_errors(batch, index, found)
        self.slice.error_text.append(self._errors.take())

    def _row_errors(self, batch: RecordBatch, index: int, faults: Sequence[Fault]) -> list[RowError]:
        raw = self._raw(batch, index, most=4 * RAW_SHOWN)
        return [
            row_error(
                fault,
                ordinal,
                row_number=batch.first_number + index,
                line_number=batch.line_numbers[index],
                byte_offset=batch.offsets[index],
                raw=raw,
            )
            for ordinal, fault in enumerate(faults)
        ]

    def _raw(self, batch: RecordBatch, index: int, most: int | None = None) -> str:
        return raw_text(batch.raw(index)[:most], self._source.dialect)


def raw_text(raw: bytes, dialect: Dialect) -> str:
    """A record's text without the line end behind it; what does not decode is replaced."""
    text = raw.decode(dialect.encoding, "replace")
    bare = _LINE_END.sub("", text)
    # Where nothing is quoted a line end may be escaped: then it is data, also at the end of the file.
    escape = "" if dialect.quote else own_escape(dialect)
    escapes = len(bare) - len(bare.rstrip(escape)) if escape else 0
    return text if escapes % 2 else bare


def row_error(
    fault: Fault, ordinal: int, *, row_number: int, line_number: int, byte_offset: int, raw: str
) -> RowError:
    """The row error for fault number `ordinal` (from 0) of a record; `raw` is its text."""
    return RowError(
        row_number=row_number,
        ordinal=ordinal,
        line_number=line_number,
        byte_offset=byte_offset,
        column_name=fault.column,
        code=fault.code,
        message=fault.message,
        value=_storable(fault.value, VALUE_SHOWN),
        raw_data=_storable(raw, RAW_SHOWN) or "",
        hint=fault.hint,
        rule=fault.rule,
    )


def duplicate_fault(dataset: Dataset, import_id: UUID, duplicate: Duplicate, *, value: str | None) -> Fault:
    """Why a record whose key is taken was not loaded: names the record that has it. `value` is its key as it came."""
    titles = " and ".join(dataset.field(name).title for name in dataset.primary_key)
    key = duplicate.key.replace("\x1f", ", ")
    holder = holder_told(duplicate.holder_row, duplicate.holder_import, own=import_id)
    return Fault(
        "duplicate_key",
        f"{titles} {key} is already there: {holder}",
        column=dataset.primary_key[0],
        value=value,
        rule="unique",
        hint="remove the record, or correct its key",
    )


def _storable(value: str | None, most: int) -> str | None:
    """`value` as PostgreSQL text can hold it: without NUL, and not longer than `most` characters."""
    if value is None:
        return None
    value = value.replace("\0", "\N{SYMBOL FOR NULL}")
    return value if len(value) <= most else value[: most - 1] + "…"
