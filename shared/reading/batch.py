"""Records as they come out of a file, with the place of each. Columns of values, not an object a record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shared.reading.errors import ReadFault
from shared.reading.places import Places, RegularPlaces
from shared.reading.splitting import Cells


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
        record_number: Data records from 1; each record of the header is 0.
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


@dataclass(frozen=True)
class RecordBatch:
    """Successive records, index i being the same record everywhere. Also a sequence of `Record`.

    What few records need (rows, places) is made on first use and kept, so that good records in even columns cost
    no object each.

    Attributes:
        first_number: Record number of the first one; the others follow without a gap. 0: this is a record of
            the header, alone in its batch.
        faults: What is wrong, by index; a record that is not in it was read well.
        checkpoint: Where to go on after the last of these records.
    """

    values: list[list[str]] | Cells = field(repr=False)
    first_number: int
    faults: Mapping[int, ReadFault]
    checkpoint: Checkpoint
    places: Places | RegularPlaces = field(repr=False)
    data: bytes = field(repr=False)
    data_offset: int = field(repr=False)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Record]:
        return map(self.record, range(len(self)))

    @property
    def is_header(self) -> bool:
        return self.first_number == 0

    @cached_property
    def fields(self) -> list[list[str]]:
        """The values of each record."""
        return self.values.rows() if isinstance(self.values, Cells) else self.values

    def columns(self, width: int) -> Sequence[Sequence[str]] | None:
        """The values by column; None if a record has not exactly `width` fields, or a fault."""
        if self.faults:
            return None
        if isinstance(self.values, Cells):
            return self.values.columns() if self.values.width == width else None
        if set(map(len, self.values)) != {width}:
            return None
        return list(zip(*self.values, strict=True))

    @property
    def line_numbers(self) -> Sequence[int]:
        """Physical line where each record starts, from 1."""
        return self._places.line_numbers

    @property
    def offsets(self) -> Sequence[int]:
        """Byte offset in the file where each record starts."""
        return self._places.offsets

    @property
    def ends(self) -> Sequence[int]:
        """Byte offset just behind each record, line end included."""
        return self._places.ends

    @cached_property
    def _places(self) -> Places:
        return self.places.found(self.data) if isinstance(self.places, RegularPlaces) else self.places

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
        values = self.values
        return RecordBatch(
            values=values.part(start, stop) if isinstance(values, Cells) else values[start:stop],
            first_number=self.first_number + start,
            faults={index - start: fault for index, fault in self.faults.items() if start <= index < stop},
            checkpoint=self.checkpoint_before(stop),
            places=self._places.part(start, stop),
            data=self.data,
            data_offset=self.data_offset,
        )
