"""Cutting the changes of an import into batches: so many items of one type at most, so many bytes. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from services.notifier.messages.payloads import ITEMS_BYTES

MAX_ITEMS = 500


@dataclass
class Batch:
    """Items of one type, JSON objects each, and the rows of the file that they come from."""

    event_type: str
    rows: list[int] = field(default_factory=list)
    items: list[bytes] = field(default_factory=list)
    size: int = 0  # bytes, with a comma behind each item


class Cutter:
    """Gathers items, and gives batches back in order of their first rows.

    Args:
        most: Items of a batch.
        room: Bytes of a batch, a comma behind each item counted; no single item may have more.
    """

    def __init__(self, *, most: int = MAX_ITEMS, room: int = ITEMS_BYTES + 1) -> None:
        self._most = most
        self._room = room
        self._open: dict[str, Batch] = {}

    def add(self, event_type: str, row: int, item: bytes) -> Iterator[Batch]:
        """Take in an item, whose row is behind those of its type before: the batches that are complete with that."""
        batch = self._open.get(event_type)
        size = len(item) + 1
        closed: Iterator[Batch] = iter(())
        if batch is not None and (len(batch.items) >= self._most or batch.size + size > self._room):
            closed = self._closed(batch.rows[0])
            batch = None
        if batch is None:
            batch = self._open[event_type] = Batch(event_type)
        batch.rows.append(row)
        batch.items.append(item)
        batch.size += size
        return closed

    def rest(self) -> Iterator[Batch]:
        """The batches that are begun."""
        return self._closed(max((batch.rows[0] for batch in self._open.values()), default=0))

    def _closed(self, first_row: int) -> Iterator[Batch]:
        """Those that begin at that row or before it."""
        begun = sorted(self._open.values(), key=lambda batch: (batch.rows[0], batch.event_type))
        closed = [batch for batch in begun if batch.rows[0] <= first_row]
        for batch in closed:
            del self._open[batch.event_type]
        return iter(closed)
