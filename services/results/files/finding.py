"""One record of a file, found by its number: a slice is read from where it began, as the processor has read it."""

import asyncio
from collections.abc import Iterable
from itertools import chain

from services.results.files.ranges import ByteRange
from services.results.files.resources import Place, Search
from shared.contracts.problems import NotFound
from shared.platform.objects import ObjectMissing, Objects
from shared.reading.batch import RecordBatch
from shared.reading.records import RecordReader

BLOCK_BYTES = 1024**2
# A slice has 8 MiB unless the processor is set otherwise. Further than this goes only who looks in an import from before
# the beginnings of slices were kept, or for a record that lost its end: a few seconds.
MOST_BYTES = 256 * 1024**2


async def find(objects: Objects, search: Search) -> Place:
    """The place of the record.

    Raises:
        NotFound: `row_not_found`: it would take too long.
        ObjectMissing: the file is not in the store, or not whole.
        StoreUnavailable: the store does not answer.
    """
    file = search.file
    reader = RecordReader(file.dialect, search.start, width=file.width)
    begin = offset = search.start.byte_offset
    while offset < file.size:
        if offset - begin >= MOST_BYTES:
            raise _too_far(search)
        block = await objects.read(file.object_key, offset, min(BLOCK_BYTES, file.size - offset))
        if not block:
            break
        offset += len(block)
        at_end = offset == file.size
        place = await asyncio.to_thread(_place, reader, block, search.row_number, at_end=at_end)
        if place is not None:
            return place
    raise ObjectMissing(
        f"object {file.object_key!r} ends at byte {offset}, before record {search.row_number}"
    )


def _too_far(search: Search) -> NotFound:
    return NotFound(
        "row_not_found",
        f"record {search.row_number} does not end within {MOST_BYTES} bytes of byte {search.start.byte_offset},"
        " from where it is looked for",
        hint="ask for that part of the file, by `Range`, at the import's link `file`",
    )


def _place(reader: RecordReader, block: bytes, row_number: int, *, at_end: bool) -> Place | None:
    batches: Iterable[RecordBatch] = reader.feed(block)
    if at_end:
        batches = chain(batches, reader.finish())
    for batch in batches:
        index = row_number - batch.first_number
        if not batch.is_header and index < len(batch):
            return Place(batch.line_numbers[index], ByteRange(batch.offsets[index], batch.ends[index]))
    return None
