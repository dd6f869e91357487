"""One slice in memory: the bytes of a block become records to load and row errors. Pure, and safe in a thread."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol
from uuid import UUID

from services.processor.checking import Checker, Fault, Staged
from shared.contracts.datasets import Dataset, datasets
from shared.contracts.dialect import Dialect
from shared.reading.batch import Checkpoint, RecordBatch
from shared.reading.records import RecordReader

# A file of two-byte records has four million of them in 8 MiB: this bounds what a slice takes of memory and time.
RECORDS_A_SLICE = 200_000
RAW_SHOWN = 4_000  # characters of a record kept with a row error
VALUE_SHOWN = 500  # characters of the value at fault


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


class Taken(Protocol):
    """A record that was not loaded as its key was taken, and who has the key: a record of an import, if known."""

    row_number: int
    key: str
    holder_import: UUID | None
    holder_row: int | None


@dataclass
class Slice:
    """What was read of one block.

    Attributes:
        key_position: Where the key is in a record, from 0.
        records: Data records read.
        staged: Those to load.
        errors: The faults of the others, in file order.
        rejected: How many records have faults.
        checkpoint: Where the next slice begins.
        at_end: Whether the file ends with this block.
    """

    encoding: str
    key_position: int
    at_end: bool = False
    records: int = 0
    rejected: int = 0
    staged: list[Staged] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    batches: list[RecordBatch] = field(default_factory=list, repr=False)

    def duplicate_errors(
        self, dataset: Dataset, import_id: UUID, taken: Sequence[Taken]
    ) -> Iterator[RowError]:
        """A row error for each record in `taken`: row_number, key, holder_import, holder_row."""
        title = dataset.field(dataset.key).title
        for row in taken:
            batch, index = self._place_of(row.row_number)
            fault = Fault(
                "duplicate_key",
                f"{title} {row.key} is already there: {_holder(row, import_id)}",
                dataset.key,
                batch.fields[index][self.key_position].strip(),
                "remove the record, or correct its key",
            )
            yield self._error(batch, index, 0, fault)

    def _place_of(self, row_number: int) -> tuple[RecordBatch, int]:
        for batch in self.batches:
            if batch.first_number <= row_number < batch.first_number + len(batch):
                return batch, row_number - batch.first_number
        raise LookupError(f"record {row_number} is not in this slice")

    def _error(self, batch: RecordBatch, index: int, ordinal: int, fault: Fault) -> RowError:
        return RowError(
            row_number=batch.first_number + index,
            ordinal=ordinal,
            line_number=batch.line_numbers[index],
            byte_offset=batch.offsets[index],
            column_name=fault.column,
            code=fault.code,
            message=fault.message,
            value=_storable(fault.value, VALUE_SHOWN),
            raw_data=_storable(
                batch.raw(index)[: 4 * RAW_SHOWN].decode(self.encoding, "replace").rstrip("\r\n"), RAW_SHOWN
            )
            or "",
            hint=fault.hint,
        )

    def add(self, batch: RecordBatch, checker: Checker, *, errors_wanted: int) -> None:
        """Take the records of `batch` in, keeping at most `errors_wanted` row errors in all."""
        self.batches.append(batch)
        self.records += len(batch)
        self.checkpoint = batch.checkpoint
        numbers = range(batch.first_number, batch.first_number + len(batch))
        if batch.faults:
            good = [index for index in range(len(batch)) if index not in batch.faults]
            checked = checker.check(
                [batch.fields[index] for index in good], [numbers[index] for index in good]
            )
            faults = {good[place]: found for place, found in checked.faults.items()}
            faults |= {
                index: [Fault(fault.code, fault.message, hint=fault.hint)]
                for index, fault in batch.faults.items()
            }
        else:
            checked = checker.check(batch.fields, numbers)
            faults = checked.faults
        self.staged += checked.staged
        self.rejected += len(faults)
        for index in sorted(faults):
            if len(self.errors) >= errors_wanted:
                break
            self.errors += [
                self._error(batch, index, ordinal, fault) for ordinal, fault in enumerate(faults[index])
            ]


class SliceReader:
    """Reads and checks one slice, fed with the file's bytes from `checkpoint` on.

    One block is enough, unless a record is longer than it: then `moved` stays false and more must follow.
    """

    def __init__(
        self,
        *,
        dataset: str,
        dialect: Dialect,
        columns: dict[str, int],
        column_count: int,
        checkpoint: Checkpoint,
        errors_wanted: int,
    ) -> None:
        self.slice = Slice(
            encoding=dialect.encoding, key_position=columns[datasets()[dataset].key], checkpoint=checkpoint
        )
        self._start = checkpoint
        self._errors_wanted = errors_wanted
        self._checker = Checker(datasets()[dataset], columns, column_count)
        self._reader = RecordReader(dialect, checkpoint)

    @property
    def moved(self) -> bool:
        """Whether the next slice would begin further on."""
        return self.slice.checkpoint != self._start

    def feed(self, block: bytes, *, at_end: bool) -> None:
        """Take in the records that are complete with `block`; the file ends behind it if `at_end`."""
        for batch in chain(self._reader.feed(block), self._reader.finish() if at_end else ()):
            if not batch.is_header:
                self.slice.add(batch, self._checker, errors_wanted=self._errors_wanted)
            if self.slice.records >= RECORDS_A_SLICE:
                self.slice.checkpoint = batch.checkpoint
                return
        self.slice.at_end = at_end
        self.slice.checkpoint = self._reader.checkpoint


def _holder(row: Taken, import_id: UUID) -> str:
    if row.holder_import is None:
        return "it is in the table"
    if row.holder_import == import_id:
        return f"record {row.holder_row} of this file has it"
    return f"record {row.holder_row} of import {row.holder_import} brought it"


def _storable(value: str | None, most: int) -> str | None:
    """`value` as PostgreSQL text can hold it: without NUL, and not longer than `most` characters."""
    if value is None:
        return None
    value = value.replace("\0", "\N{SYMBOL FOR NULL}")
    return value if len(value) <= most else value[: most - 1] + "…"
