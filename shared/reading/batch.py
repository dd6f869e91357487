"""Records as they come out of a file, with the place of each. Columns of numbers, not an object a record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shared.reading.errors import ReadFault


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place between two records from which reading may go on; the default is the file's start.

    Attributes:
        byte_offset: Bytes of the file before it, the byte order mark included.
        record_number: Data records before it; blank lines and the header are none.
        line_number: Physical lines before it.
    """

    byte_offset: int = 0
    record_number: int = 0
    line_number: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record starts.

    Attributes:
        record_number: Data records from 1; the header is 0.
        line_number: Physical lines from 1; LF, CRLF and a lone CR each end one, also inside quotes.
        byte_offset: Bytes of the file before it.
    """

    record_number: int
    line_number: int
    byte_offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record and its place.

    Attributes:
        fields: The values. With a fault they are for showing, not for loading; empty if it is too large.
        byte_length: Length in the file, line end included.
        raw: These bytes as they are in the file; only the first `max_record_bytes` of a record too large.
    """

    position: Position
    fields: list[str]
    byte_length: int
    fault: ReadFault | None
    raw: bytes


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Successive records in parallel lists; index i is the same record in each. Also a sequence of `Record`.

    Attributes:
        fields: The values of each record.
        first_number: Record number of the first one; the others follow without a gap. 0: this is the header,
            alone in its batch.
        line_numbers: Physical line where each starts, from 1.
        offsets: Byte offset in the file where each starts.
        ends: Byte offset just behind each, line end included.
        faults: What is wrong, by index; a record that is not in it was read well.
        checkpoint: Where to go on after the last of these records.
    """

    fields: list[list[str]]
    first_number: int
    line_numbers: Sequence[int]
    offsets: Sequence[int]
    ends: Sequence[int]
    faults: Mapping[int, ReadFault]
    checkpoint: Checkpoint
    data: bytes = field(repr=False)
    data_offset: int = field(repr=False)

    def __len__(self) -> int:
        return len(self.fields)

    def __iter__(self) -> Iterator[Record]:
        return map(self.record, range(len(self)))

    @property
    def is_header(self) -> bool:
        return self.first_number == 0

    def position(self, index: int) -> Position:
        """Where record `index` (from 0) of this batch starts."""
        return Position(self.first_number + index, self.line_numbers[index], self.offsets[index])

    def raw(self, index: int) -> bytes:
        """The bytes of record `index`; see `Record.raw`."""
        return self.data[self.offsets[index] - self.data_offset : self.ends[index] - self.data_offset]

    def record(self, index: int) -> Record:
        """Record `index` as one object."""
        return Record(
            self.position(index),
            self.fields[index],
            self.ends[index] - self.offsets[index],
            self.faults.get(index),
            self.raw(index),
        )

    def checkpoint_before(self, index: int) -> Checkpoint:
        """Where to go on so that record `index` comes next; an index of `len(self)` is after the last one."""
        if index == len(self):
            return self.checkpoint
        if self.first_number + index == 0:
            return Checkpoint()
        return Checkpoint(self.offsets[index], self.first_number + index - 1, self.line_numbers[index] - 1)

    def part(self, start: int, stop: int) -> "RecordBatch":
        """The records from `start` up to, not including, `stop`, as a batch with its own checkpoint."""
        return RecordBatch(
            fields=self.fields[start:stop],
            first_number=self.first_number + start,
            line_numbers=self.line_numbers[start:stop],
            offsets=self.offsets[start:stop],
            ends=self.ends[start:stop],
            faults={index - start: fault for index, fault in self.faults.items() if start <= index < stop},
            checkpoint=self.checkpoint_before(stop),
            data=self.data,
            data_offset=self.data_offset,
        )
