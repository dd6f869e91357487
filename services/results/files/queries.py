"""The verb of files: know which file an import is of, and where to look for a record of it. All for one tenant."""

from typing import NoReturn
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.results.files import repository
from services.results.files.resources import Search, StoredFile, file_not_found, file_removed
from services.results.imports.queries import import_row
from services.results.imports.resources import ENDED
from services.results.tables import AnyRow
from shared.contracts.dialect import Dialect
from shared.contracts.problems import NotFound
from shared.reading.batch import Checkpoint


async def get_file(connection: AsyncConnection, tenant: str, import_id: UUID) -> StoredFile:
    """The file of an import.

    Raises:
        NotFound: `import_not_found`; `file_not_found`.
        Removed: `file_removed`.
    """
    await import_row(connection, tenant, import_id)
    row = await repository.find_file(connection, tenant, import_id)
    if row is None:
        raise file_not_found(import_id)
    if row.file_removed_at is not None:
        raise file_removed(import_id, row.file_removed_at)
    return StoredFile(
        import_id=import_id,
        name=row.file_name,
        object_key=row.object_key,
        size=row.file_size,
        sha256=row.sha256,
        dialect=Dialect.model_validate(row.dialect),
        width=row.column_count,
    )


async def search_for(connection: AsyncConnection, tenant: str, import_id: UUID, row_number: int) -> Search:
    """Where to look for a record of an import.

    Raises:
        NotFound: as `get_file`; `row_not_read_yet`: the file is not read so far; `row_not_found`: it has fewer.
    """
    file = await get_file(connection, tenant, import_id)
    reading = await repository.find_reading(connection, tenant, import_id)
    if reading is None or row_number > reading.record_number:
        _refuse(reading, row_number)
    start = await repository.find_slice_start(connection, tenant, import_id, row_number)
    checkpoint = (
        Checkpoint(start.byte_offset, start.record_number, start.line_number) if start else Checkpoint()
    )
    return Search(file, row_number, checkpoint)


def _refuse(reading: AnyRow | None, row_number: int) -> NoReturn:
    read = reading.record_number if reading else 0
    if reading is not None and reading.is_read:
        raise NotFound(
            "row_not_found",
            f"there is no record {row_number}: the file has {read}",
            hint="`row_number` counts data records from 1, without the header",
        )
    if reading is not None and reading.status in ENDED:
        hint = "the whole file is at the import's link `file`"
    else:
        hint = "ask again later; the import's `rows_processed` tells how far it is"
    raise NotFound("row_not_read_yet", f"record {row_number} is not read: {read} are so far", hint=hint)
